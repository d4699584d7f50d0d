"""Orders through the official SDK: what goes over the wire, and every answer that may come back."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.exchange_floor import Floor, open_floor, polymarket, prepared
from tests.support.exchange_plans import SOME_WALLET, plan
from worker.errors import ExchangeRefused
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.orders.outcomes import AnswerReason, OutcomeKind, classify
from worker.orders.ports import Answer
from worker.orders.terms import ExchangeVersion, OrderType, Side
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.units import micro

pytestmark = pytest.mark.asyncio(loop_scope="module")

V3_TOKENS = (str(0x61 << 104 | 1), str(0x62 << 104 | 2))  # bits 40 to 103 are clear
ODD_ANSWER = {
    "success": True,
    "errorMsg": "",
    "orderID": "0x" + "99" * 32,
    "status": "matched",
    "makingAmount": "5",
    "takingAmount": "10",
}


async def submitted(
    floor: Floor, exchange: PolymarketExchange, fault: Fault | None = None, **wanted: Any
) -> Answer:
    """The answer to one order that finds plenty on offer, through a fault."""
    floor.offer("0.50", "1000")
    envelope = await prepared(floor, exchange, **wanted)
    if fault is not None:
        floor.venue.faults.add(fault)
    return await exchange.submit(envelope)


# --- the wire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick", ["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001"])
@pytest.mark.parametrize("order_type", list(OrderType))
async def test_the_amounts_on_the_wire_are_the_plans_own(
    floor: Floor, exchange: PolymarketExchange, tick: str, order_type: OrderType
) -> None:
    limit = Decimal("0.5") + Decimal(tick)
    until = datetime.now(UTC) + timedelta(minutes=10) if order_type is OrderType.GTD else None
    floor = floor.with_market(tick=tick)
    floor.offer("0.5", "1000")
    market = await exchange.market(floor.condition_id)
    wanted = plan(market, limit_price=str(limit), order_type=order_type, bet_usd="49.99", expires_at=until)
    envelope = await exchange.prepare(floor.wallet, wanted)
    answer = await exchange.submit(envelope)
    (receipt,) = floor.posts_of(envelope.order_id)
    sent = json.loads(receipt.body)
    assert answer.http_status == 200, answer
    assert sent["order"]["makerAmount"] == str(wanted.amounts.maker_base_units)
    assert sent["order"]["takerAmount"] == str(wanted.amounts.taker_base_units)
    assert sent["orderType"] == order_type
    assert sent["order"]["side"] == "BUY"


@pytest.mark.parametrize(
    ("listing", "version"),
    [
        ({}, ExchangeVersion.STANDARD),
        ({"neg_risk": True}, ExchangeVersion.NEG_RISK),
        ({"tokens": V3_TOKENS}, ExchangeVersion.V3),
    ],
)
async def test_the_signature_is_good_on_every_exchange_contract(
    floor: Floor, exchange: PolymarketExchange, listing: dict[str, Any], version: ExchangeVersion
) -> None:
    floor = floor.with_market(**listing)
    floor.offer("0.50", "1000")
    envelope = await prepared(floor, exchange)
    answer = await exchange.submit(envelope)
    assert envelope.exchange_version is version
    assert (answer.status, answer.order_id) == ("matched", envelope.order_id)


async def test_shares_are_sold_for_dollars(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.venue.backoffice.fund_shares(floor.wallet, floor.yes, micro(100))
    floor.bid("0.60", "1000")
    envelope = await prepared(floor, exchange, side=Side.SELL, shares="25.5", limit_price="0.58")
    answer = await exchange.submit(envelope)
    view = await exchange.lookup(floor.wallet, envelope.order_id)
    assert (answer.making_amount, answer.taking_amount) == (Decimal("25.5"), Decimal("15.3"))
    assert {(fill.side, fill.price, fill.shares) for fill in view.fills} == {
        (Side.SELL, Decimal("0.60"), Decimal("25.5"))
    }


async def test_a_resend_is_the_same_to_the_byte_even_from_another_process() -> None:
    async with open_floor() as floor:
        floor.offer("0.50", "1000")
        async with polymarket(floor) as first:
            envelope = await prepared(floor, first)
            await first.submit(envelope)
        restored = replace(envelope, body=json.loads(json.dumps(envelope.body)))
        async with polymarket(floor) as second:
            again = await second.submit(restored)
        assert len(floor.posts_of(envelope.order_id)) == 2
        assert len(floor.venue.journal.bodies_of(envelope.order_id)) == 1
        assert len(floor.venue.journal.accepted_ids()) == 1
    assert classify(again, first_send=False).kind is OutcomeKind.DUPLICATED


async def test_an_order_is_one_request_and_no_other(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.offer("0.50", "1000")
    market = await exchange.market(floor.condition_id)
    asked = floor.calls()
    envelope = await exchange.prepare(floor.wallet, plan(market, limit_price="0.50"))
    await exchange.submit(envelope)
    assert floor.calls() == asked + 1


async def test_a_wallet_without_a_key_is_refused_before_anything_is_signed(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    market = await exchange.market(floor.condition_id)
    with pytest.raises(ExchangeRefused, match=SOME_WALLET):
        await exchange.prepare(SOME_WALLET, plan(market, limit_price="0.50"))


async def test_an_envelope_of_a_wallet_without_a_key_is_not_sent(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    envelope = replace(await prepared(floor, exchange), wallet=SOME_WALLET)
    answer = await exchange.submit(envelope)
    assert (answer.http_status, answer.connected) == (None, False)
    assert floor.posts_of(envelope.order_id) == []


# --- answers ------------------------------------------------------------------------------------------------------


async def test_a_resting_order_states_no_amounts(floor: Floor, exchange: PolymarketExchange) -> None:
    answer = await submitted(floor, exchange, limit_price="0.40", order_type=OrderType.GTC)
    assert (answer.http_status, answer.status) == (200, "live")
    assert answer.making_amount is None
    assert answer.taking_amount is None
    assert answer.trade_ids == ()


async def test_a_lack_of_money_is_answered_in_the_exchanges_words() -> None:
    async with open_floor(funds_usd=3) as floor, polymarket(floor) as exchange:
        floor.offer("0.50", "1000")
        answer = await exchange.submit(await prepared(floor, exchange))
    assert answer.http_status == 400
    assert classify(answer, first_send=True).reason is AnswerReason.BALANCE


async def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    async with AsyncExitStack() as stack:
        async with open_floor() as floor:
            exchange = await stack.enter_async_context(polymarket(floor))
            envelope = await prepared(floor, exchange)
        answer = await exchange.submit(envelope)
    assert (answer.http_status, answer.connected) == (None, False)
    assert answer.error


@pytest.mark.parametrize(("action", "accepted"), [(Action.DROP_BEFORE, 0), (Action.DROP_AFTER, 1)])
async def test_a_connection_that_breaks_answers_nothing_whether_or_not_the_order_was_taken(
    floor: Floor, exchange: PolymarketExchange, action: Action, accepted: int
) -> None:
    floor.offer("0.50", "1000")
    envelope = await prepared(floor, exchange)
    floor.venue.faults.add(Fault(action=action))
    posted = len(floor.venue.journal.orders)
    answer = await exchange.submit(envelope)
    view = await exchange.lookup(floor.wallet, envelope.order_id)
    assert len(floor.venue.journal.orders) == posted + 1  # it was not sent again behind our back
    assert (answer.http_status, answer.connected) == (None, True)
    assert view.found is bool(accepted)
    assert bool(view.fills) is bool(accepted)


async def test_an_answer_that_comes_too_late_is_no_answer() -> None:
    async with open_floor() as floor:
        impatient = floor.settings.model_copy(update={"submit_timeout_s": 0.5})
        async with polymarket(floor, settings=impatient) as exchange:
            floor.offer("0.50", "1000")
            envelope = await prepared(floor, exchange)
            floor.venue.faults.add(Fault(action=Action.HANG_AFTER))
            answer = await exchange.submit(envelope)
            view = await exchange.lookup(floor.wallet, envelope.order_id)
    assert (answer.http_status, answer.connected, answer.error) == (None, True, "TimeoutError")
    assert view.found


async def test_being_cancelled_is_the_one_thing_that_a_submission_raises(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    envelope = await prepared(floor, exchange)
    floor.venue.faults.add(Fault(action=Action.PROCESS_LATE, seconds=0.5))
    sent = len(floor.venue.journal.orders)
    sending = asyncio.create_task(exchange.submit(envelope))
    await eventually(lambda: len(floor.venue.journal.orders) > sent)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


REFUSALS = [
    (425, '{"error":"service not ready"}', {}, OutcomeKind.NOT_SENT, AnswerReason.RESTARTING),
    (503, '{"error":"later","code":"post_only_mode"}', {}, OutcomeKind.NOT_SENT, AnswerReason.POST_ONLY),
    (
        503,
        '{"error":"Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."}',
        {},
        OutcomeKind.NOT_SENT,
        AnswerReason.CANCEL_ONLY,
    ),
    (429, '{"error":"slow down"}', {}, OutcomeKind.AMBIGUOUS, AnswerReason.RATE_LIMITED),
    (
        429,
        '{"error":"Too Many Requests"}',
        {"Poly-RateLimit-Remaining": "0", "Retry-After": "2"},
        OutcomeKind.NOT_SENT,
        AnswerReason.RATE_LIMITED,
    ),
    (401, '{"error":"Unauthorized/Invalid api key"}', {}, OutcomeKind.NOT_SENT, AnswerReason.CREDENTIALS),
    (500, '{"error":"order timed out"}', {}, OutcomeKind.NOT_SENT, AnswerReason.TIMED_OUT),
    (500, '{"error":"could not run the execution"}', {}, OutcomeKind.AMBIGUOUS, AnswerReason.SERVER_ERROR),
    (400, '{"error":"order_version_mismatch"}', {}, OutcomeKind.REFUSED, AnswerReason.WRONG_VERSION),
]


@pytest.mark.parametrize(("status", "body", "headers", "kind", "reason"), REFUSALS)
async def test_a_refusal_keeps_its_status_its_words_and_its_meaning(
    floor: Floor,
    exchange: PolymarketExchange,
    status: int,
    body: str,
    headers: dict[str, str],
    kind: OutcomeKind,
    reason: AnswerReason,
) -> None:
    answer = await submitted(
        floor, exchange, Fault(action=Action.ANSWER_INSTEAD, status=status, body=body, headers=headers)
    )
    assert answer.http_status == status
    outcome = classify(answer, first_send=True)
    assert (outcome.kind, outcome.reason) == (kind, reason), answer
    assert answer.retry_after_s == (Decimal(2) if "Retry-After" in headers else None)
    assert answer.limiter_headers is ("Poly-RateLimit-Remaining" in headers)


@pytest.mark.parametrize("status", [403, 502])
async def test_a_page_in_place_of_an_answer_keeps_its_status(
    floor: Floor, exchange: PolymarketExchange, status: int
) -> None:
    page = Fault(
        action=Action.ANSWER_INSTEAD, status=status, body="<html>no</html>", content_type="text/html"
    )
    answer = await submitted(floor, exchange, page)
    assert (answer.http_status, answer.connected) == (status, True)


ODDITIES = {
    "amounts as numbers": json.dumps(ODD_ANSWER | {"makingAmount": 5, "takingAmount": 10}),
    "no trade ids": json.dumps(ODD_ANSWER | {"tradeIDs": None}),
    "no error field": json.dumps({key: value for key, value in ODD_ANSWER.items() if key != "errorMsg"}),
    "a status nobody knows": json.dumps(ODD_ANSWER | {"status": "queued"}),
    "success false without words": json.dumps(ODD_ANSWER | {"success": False, "status": "delayed"}),
    "an error nobody knows": json.dumps(ODD_ANSWER | {"errorMsg": "well, almost"}),
    "not JSON": "OK",
    "null": "null",
}


@pytest.mark.parametrize("body", ODDITIES.values(), ids=ODDITIES.keys())
async def test_an_answer_in_an_odd_shape_is_never_taken_for_a_refusal(
    floor: Floor, exchange: PolymarketExchange, body: str
) -> None:
    answer = await submitted(floor, exchange, Fault(action=Action.ANSWER_AFTER, status=200, body=body))
    assert answer.http_status == 200
    assert not answer.well_formed
    assert classify(answer, first_send=True).kind is OutcomeKind.AMBIGUOUS


async def test_an_acceptance_that_the_sdk_reports_as_a_refusal_is_an_acceptance(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    body = json.dumps(ODD_ANSWER | {"status": "unmatched", "makingAmount": "", "takingAmount": ""})
    answer = await submitted(floor, exchange, Fault(action=Action.ANSWER_AFTER, status=200, body=body))
    assert classify(answer, first_send=True).kind is OutcomeKind.UNMATCHED


async def test_a_refusal_that_comes_as_a_success_is_a_refusal(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    body = json.dumps(
        ODD_ANSWER
        | {"success": False, "orderID": "", "status": "", "errorMsg": "not enough balance / allowance"}
    )
    answer = await submitted(floor, exchange, Fault(action=Action.ANSWER_INSTEAD, status=200, body=body))
    outcome = classify(answer, first_send=True)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.REFUSED, AnswerReason.BALANCE)


async def test_a_foreign_order_id_is_passed_on_as_it_came(floor: Floor, exchange: PolymarketExchange) -> None:
    answer = await submitted(
        floor, exchange, Fault(action=Action.ANSWER_AFTER, status=200, body=json.dumps(ODD_ANSWER))
    )
    assert answer.order_id == ODD_ANSWER["orderID"]
