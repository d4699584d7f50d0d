"""Paper trading: like the real thing, except that nothing is sent."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.support.exchange_floor import Floor, WallClock, open_floor
from tests.support.exchange_plans import SOME_WALLET, plan
from worker.exchange.paper import PaperExchange, paper_order_id
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import Fill, Remembered
from worker.orders.terms import OrderId, OrderType, Side, TokenId, TradeId
from worker.sandbox.exchange.faults import Action, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ORDER = OrderId("0x7061706572" + "77" * 27)


@asynccontextmanager
async def paper_on(floor: Floor, **options: Any) -> AsyncIterator[PaperExchange]:
    exchange = PaperExchange(floor.settings, WallClock(), bankroll_usd=Decimal(5000), **options)
    try:
        yield exchange
    finally:
        await exchange.aclose()


async def test_nothing_that_could_trade_is_ever_sent() -> None:
    async with open_floor() as floor, paper_on(floor) as exchange:
        floor.offer("0.50", "1000")
        market = await exchange.market(floor.condition_id)
        for order_type in OrderType:
            envelope = await exchange.prepare(
                floor.wallet, plan(market, limit_price="0.50", order_type=order_type)
            )
            assert (await exchange.submit(envelope)).status == "matched"
            await exchange.lookup(floor.wallet, envelope.order_id)
            await exchange.cancel(floor.wallet, envelope.order_id)
        await exchange.balance(floor.wallet)
        asked = {(method, path) for (method, path), times in floor.venue.journal.counts.items() if times}
    assert asked == {("GET", "/book"), ("GET", "/clob-markets/"), ("GET", "/markets/")}


async def test_a_paper_id_shows_what_it_is_and_a_paper_body_is_not_signed(floor: Floor) -> None:
    async with paper_on(floor) as exchange:
        market = await exchange.market(floor.condition_id)
        envelope = await exchange.prepare(floor.wallet, plan(market, limit_price="0.50"))
    assert bytes.fromhex(envelope.order_id[2:12]) == b"paper"
    assert len(envelope.order_id) == 66
    assert "signature" not in envelope.body


async def test_the_same_order_always_has_the_same_id(floor: Floor) -> None:
    async with paper_on(floor, salt=lambda: 7, timestamp_ms=lambda: 1795361411000) as exchange:
        market = await exchange.market(floor.condition_id)
        wanted = plan(market, limit_price="0.50")
        first, second = [await exchange.prepare(floor.wallet, wanted) for _ in range(2)]
    assert first == second
    assert first.order_id == paper_order_id(first.body)


@pytest.mark.parametrize("seed", range(8))
async def test_shadow_fills_are_those_that_the_exchange_would_have_made(
    floor: Floor, exchange: PolymarketExchange, seed: int
) -> None:
    dice = random.Random(seed)
    for cents in dice.sample(range(40, 60), 6):
        floor.offer(f"0.{cents}", str(dice.randint(5, 60)))
    order_type = dice.choice([OrderType.FAK, OrderType.GTC])
    async with paper_on(floor) as paper:
        market = await paper.market(floor.condition_id)
        wanted = plan(market, limit_price=f"0.{dice.randint(45, 59)}", order_type=order_type, bet_usd="60")
        shadow = await paper.prepare(floor.wallet, wanted)
        on_paper = await paper.submit(shadow)
        shadow_view = await paper.lookup(floor.wallet, shadow.order_id)
    real = await exchange.prepare(floor.wallet, wanted)
    for_real = await exchange.submit(real)
    real_view = await exchange.lookup(floor.wallet, real.order_id)
    assert on_paper.status == for_real.status
    assert (on_paper.making_amount, on_paper.taking_amount) == (
        for_real.making_amount,
        for_real.taking_amount,
    )
    assert shadow_view.status == real_view.status
    assert _terms(shadow_view.fills) == _terms(real_view.fills)


@pytest.mark.parametrize(("left_s", "status"), [(61.5, "LIVE"), (59, "CANCELED")])
async def test_a_gtd_order_dies_a_minute_before_it_says(floor: Floor, left_s: float, status: str) -> None:
    until = WallClock().now() + timedelta(seconds=left_s)
    async with paper_on(floor) as exchange:
        market = await exchange.market(floor.condition_id)
        wanted = plan(market, limit_price="0.40", order_type=OrderType.GTD, expires_at=until)
        envelope = await exchange.prepare(floor.wallet, wanted)
        assert (await exchange.submit(envelope)).status == "live"
        assert (await exchange.lookup(floor.wallet, envelope.order_id)).status == status


async def test_paper_trades_are_final_at_once(floor: Floor) -> None:
    floor.offer("0.50", "1000")
    async with paper_on(floor) as exchange:
        market = await exchange.market(floor.condition_id)
        envelope = await exchange.prepare(floor.wallet, plan(market, limit_price="0.50"))
        answer = await exchange.submit(envelope)
        view = await exchange.lookup(floor.wallet, envelope.order_id)
    assert {fill.state for fill in view.fills} == {FillState.FINAL}
    assert tuple(fill.trade_id for fill in view.fills) == answer.trade_ids
    assert answer.fills == view.fills


async def test_without_a_ledger_an_earlier_order_is_not_found_and_its_envelope_still_opens(
    floor: Floor,
) -> None:
    floor.offer("0.50", "1000")
    async with paper_on(floor) as before:
        market = await before.market(floor.condition_id)
        envelope = await before.prepare(floor.wallet, plan(market, limit_price="0.50"))
        await before.submit(envelope)
    async with paper_on(floor) as after:
        assert not (await after.lookup(floor.wallet, envelope.order_id)).found
        assert (await after.submit(envelope)).status == "matched"


WRITTEN_DOWN = [
    (AttemptState.LIVE, "20", None, "LIVE"),
    (AttemptState.LIVE, "20", timedelta(minutes=2), "LIVE"),
    (AttemptState.LIVE, "20", timedelta(seconds=59), "CANCELED"),
    (AttemptState.LIVE, "12", None, "MATCHED"),
    (AttemptState.MATCHED, None, None, "MATCHED"),
    (AttemptState.SUBMITTING, None, None, "CANCELED"),
    (AttemptState.UNKNOWN, None, None, "CANCELED"),
]


@pytest.mark.parametrize(("state", "shares", "expires_in", "status"), WRITTEN_DOWN)
async def test_an_order_of_an_earlier_process_is_what_was_written_down_of_it(
    floor: Floor, state: AttemptState, shares: str | None, expires_in: timedelta | None, status: str
) -> None:
    now = WallClock().now()
    filled = state in {AttemptState.LIVE, AttemptState.MATCHED}
    remembered = Remembered(
        state=state,
        shares=Decimal(shares) if shares is not None else None,
        expires_at=now + expires_in if expires_in is not None else None,
        fills=(a_fill(NO_ORDER),) if filled else (),
    )

    async def recall(order_id: OrderId) -> Remembered | None:
        return remembered if order_id == NO_ORDER else None

    async with paper_on(floor, recall=recall) as exchange:
        view = await exchange.lookup(SOME_WALLET, NO_ORDER)
        assert (view.found, view.status, view.fills) == (True, status, remembered.fills)
        assert view.size_matched == (12 if filled else 0)
        assert await exchange.cancel(SOME_WALLET, NO_ORDER) is (status == "LIVE")
        assert not (await exchange.lookup(SOME_WALLET, OrderId("0x" + "11" * 32))).found


async def test_an_order_that_two_recall_at_once_stays_cancelled_for_both(floor: Floor) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    remembered = Remembered(state=AttemptState.LIVE, shares=Decimal(20), expires_at=None, fills=())
    turns = iter((first, second))

    async def recall(_: OrderId) -> Remembered:
        await next(turns).wait()
        return remembered

    async with paper_on(floor, recall=recall) as exchange, asyncio.TaskGroup() as group:
        cancelled = group.create_task(exchange.cancel(SOME_WALLET, NO_ORDER))
        looked_up = group.create_task(exchange.lookup(SOME_WALLET, NO_ORDER))
        first.set()
        assert await cancelled
        second.set()
        assert (await looked_up).status == "CANCELED"


async def test_what_rests_is_cancelled_when_its_market_closes() -> None:
    async with open_floor() as floor, paper_on(floor) as exchange:
        floor.offer("0.60", "100")
        market = await exchange.market(floor.condition_id)
        resting = await exchange.prepare(
            floor.wallet, plan(market, limit_price="0.50", order_type=OrderType.GTC)
        )
        assert (await exchange.submit(resting)).status == "live"
        remembered = Remembered(
            state=AttemptState.LIVE,
            shares=Decimal(20),
            expires_at=None,
            fills=(),
            condition_id=floor.condition_id,
        )

        async def recall(_: OrderId) -> Remembered:
            return remembered

        async with paper_on(floor, recall=recall) as later:
            for one, order_id in ((exchange, resting.order_id), (later, NO_ORDER)):
                assert (await one.lookup(floor.wallet, order_id)).status == "LIVE"
            floor.venue.backoffice.close(floor.condition_id)
            for one, order_id in ((exchange, resting.order_id), (later, NO_ORDER)):
                await one.market(floor.condition_id, anew=True)
                assert (await one.lookup(floor.wallet, order_id)).status == "CANCELED"


async def test_an_order_that_is_not_of_paper_is_refused(floor: Floor, exchange: PolymarketExchange) -> None:
    market = await exchange.market(floor.condition_id)
    signed = await exchange.prepare(floor.wallet, plan(market, limit_price="0.50"))
    async with paper_on(floor) as paper:
        answer = await paper.submit(signed)
    assert (answer.http_status, answer.connected) == (None, False)
    assert "not a paper order" in answer.error


async def test_the_real_exchange_never_sends_an_order_of_paper(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    posted = len(floor.venue.journal.orders)
    async with paper_on(floor) as paper:
        market = await paper.market(floor.condition_id)
        envelope = await paper.prepare(floor.wallet, plan(market, limit_price="0.50"))
    answer = await exchange.submit(replace(envelope, wallet=floor.wallet))
    assert (answer.http_status, answer.connected) == (None, False)
    assert len(floor.venue.journal.orders) == posted


async def test_without_a_book_to_look_at_nothing_was_sent(floor: Floor) -> None:
    async with paper_on(floor) as exchange:
        market = await exchange.market(floor.condition_id)
        envelope = await exchange.prepare(floor.wallet, plan(market, limit_price="0.50"))
        floor.venue.faults.add(Fault(action=Action.DROP_BEFORE, method="GET", path="/book"))
        answer = await exchange.submit(envelope)
    assert (answer.http_status, answer.connected) == (None, False)


async def test_the_balance_is_the_bankroll_of_any_wallet(floor: Floor) -> None:
    async with paper_on(floor) as exchange:
        balance = await exchange.balance(SOME_WALLET)
    assert balance.collateral_usd == Decimal(5000)


async def test_memory_is_bounded_and_the_oldest_order_is_forgotten_first(floor: Floor) -> None:
    floor.offer("0.50", "1000")
    async with paper_on(floor, remembers=2) as exchange:
        market = await exchange.market(floor.condition_id)
        envelopes = [await exchange.prepare(floor.wallet, plan(market, limit_price="0.50")) for _ in range(3)]
        for envelope in envelopes:
            await exchange.submit(envelope)
        found = [(await exchange.lookup(floor.wallet, envelope.order_id)).found for envelope in envelopes]
    assert found == [False, True, True]


def a_fill(order_id: OrderId) -> Fill:
    return Fill(
        trade_id=TradeId("paper-1"),
        order_id=order_id,
        role="TAKER",
        side=Side.BUY,
        token_id=TokenId("1"),
        price=Decimal("0.50"),
        shares=Decimal(12),
        fee_usd=Decimal("0.01"),
        state=FillState.FINAL,
        matched_at=WallClock().now(),
    )


def _terms(fills: tuple[Fill, ...]) -> list[tuple[Any, ...]]:
    return sorted(
        (fill.price, fill.shares, fill.fee_usd, fill.side, fill.role, fill.token_id) for fill in fills
    )
