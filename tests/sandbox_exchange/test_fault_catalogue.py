"""Every fault that has a name: what a client sees of it, and whether its order exists afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.exchange_clients import Trader
from tests.support.exchange_wire import Seen, WireClient
from worker.sandbox.exchange.fault_catalogue import CATALOGUE, FaultName, scripted
from worker.sandbox.exchange.faults import Action
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import OrderStatus, Side
from worker.sandbox.exchange.server import SimulatedExchange

MARKET = synthetic_market("Catalogue")
TOKEN = MARKET.tokens[0]
PATIENCE_S = 0.3
ACCEPTED, NOT_ACCEPTED = True, False
NO_ANSWER = 0

POSTS: dict[FaultName, tuple[int, str, bool]] = {
    FaultName.DROP_BEFORE: (NO_ANSWER, "", NOT_ACCEPTED),
    FaultName.DROP_AFTER: (NO_ANSWER, "", ACCEPTED),
    FaultName.ANSWER_LATE: (NO_ANSWER, "", ACCEPTED),
    FaultName.PROCESS_LATE: (NO_ANSWER, "", ACCEPTED),
    FaultName.HANG_BEFORE: (NO_ANSWER, "", NOT_ACCEPTED),
    FaultName.HANG_AFTER: (NO_ANSWER, "", ACCEPTED),
    FaultName.ORDER_TIMED_OUT: (500, "order timed out", NOT_ACCEPTED),
    FaultName.NO_EXECUTION_BEFORE: (500, "could not run the execution", NOT_ACCEPTED),
    FaultName.NO_EXECUTION_AFTER: (500, "could not run the execution", ACCEPTED),
    FaultName.BAD_GATEWAY_BEFORE: (502, "<h1>502 Bad Gateway</h1>", NOT_ACCEPTED),
    FaultName.BAD_GATEWAY_AFTER: (502, "<h1>502 Bad Gateway</h1>", ACCEPTED),
    FaultName.GATEWAY_TIMEOUT_BEFORE: (504, "504 Gateway Time-out", NOT_ACCEPTED),
    FaultName.GATEWAY_TIMEOUT_AFTER: (504, "504 Gateway Time-out", ACCEPTED),
    FaultName.CLOUDFLARE_BLOCK: (403, "Cloudflare", NOT_ACCEPTED),
    FaultName.UNAUTHORIZED: (401, "Unauthorized/Invalid api key", NOT_ACCEPTED),
    FaultName.RATE_LIMITED: (429, "Too Many Requests", NOT_ACCEPTED),
    FaultName.TOO_MANY_BEFORE: (429, "Too Many Requests", NOT_ACCEPTED),
    FaultName.TOO_MANY_AFTER: (429, "Too Many Requests", ACCEPTED),
    FaultName.RESTARTING: (425, "service not ready", NOT_ACCEPTED),
    FaultName.POST_ONLY: (503, "'code': 'post_only_mode', 'retry_after_seconds': 1", NOT_ACCEPTED),
    FaultName.CANCEL_ONLY: (503, "Trading is currently cancel-only.", NOT_ACCEPTED),
    FaultName.DISABLED: (503, "Trading is currently disabled.", NOT_ACCEPTED),
    FaultName.NUMERIC_AMOUNTS: (200, "'makingAmount': 5.0, 'takingAmount': 10.0", ACCEPTED),
    FaultName.NULL_ARRAYS: (200, "'tradeIDs': None, 'transactionsHashes': None", ACCEPTED),
    FaultName.MISSING_FIELDS: (200, "'status': 'matched'}", ACCEPTED),
    FaultName.UNKNOWN_STATUS: (200, "'status': 'queued'", ACCEPTED),
    FaultName.NOT_JSON: (200, "<html><body>OK</body></html>", ACCEPTED),
    FaultName.SUCCESS_WITH_ERROR: (200, "'errorMsg': 'could not notify the matching engine'", ACCEPTED),
    FaultName.WRONG_ID: (200, "'status': 'matched'", ACCEPTED),
    FaultName.REFUSED_WITH_200: (
        200,
        "{'success': False, 'errorMsg': 'not enough balance / allowance', 'orderID': '', 'status': ''",
        NOT_ACCEPTED,
    ),
    FaultName.REFUSED_WITH_SUCCESS: (200, "{'success': True, 'errorMsg': 'post-only mode: ", NOT_ACCEPTED),
    FaultName.UNMATCHED: (200, "'status': 'unmatched'", ACCEPTED),
    FaultName.UNMATCHED_RESTING: (200, "'status': 'unmatched'", ACCEPTED),
    FaultName.LIVE_FAK: (200, "'status': 'live'", ACCEPTED),
    FaultName.DELAYED: (200, "'status': 'delayed'", ACCEPTED),
    FaultName.SLOW_TO_APPEAR: (200, "'status': 'matched'", ACCEPTED),
    FaultName.SLOW_TRADES: (200, "'status': 'matched'", ACCEPTED),
    FaultName.DROPPED_AND_SLOW: (NO_ANSWER, "", ACCEPTED),
}
"""Status, a part of the body, and whether the venue has the order: for a FAK that finds what it wants."""

LOOK_UPS: dict[FaultName, tuple[int, str]] = {
    FaultName.LOOKUP_NOT_FOUND: (404, "{'error': 'Order not found'}"),
    FaultName.LOOKUP_NULL: (200, "None"),
    FaultName.LOOKUP_NO_TRADES: (200, "'count': 0, 'next_cursor': 'LTE=', 'data': []"),
    FaultName.LOOKUP_SERVER_ERROR: (500, "Internal server error"),
    FaultName.LOOKUP_DROPPED: (NO_ANSWER, ""),
}


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([MARKET]) as running:
        running.quote(TOKEN, Side.SELL, "0.50", 1_000)
        yield running


@pytest.fixture
async def client(exchange: SimulatedExchange) -> AsyncIterator[WireClient]:
    async with WireClient.open(Trader(exchange), exchange.http_url) as opened:
        yield opened


LATE = {FaultName.ANSWER_LATE, FaultName.PROCESS_LATE}
NEVER_IN_TIME = {*LATE, FaultName.HANG_BEFORE, FaultName.HANG_AFTER}


async def seen_of(answer: Any, *, within_s: float | None = None) -> Seen | None:
    """What a client sees, one with little patience if so asked; None when nothing came."""
    try:
        async with asyncio.timeout(within_s):
            return await answer  # type: ignore[no-any-return]
    except (TimeoutError, httpx.TransportError):
        return None


def brief(name: FaultName) -> Any:
    """The fault once; those that take time take a little more than the client has."""
    return scripted(name, seconds=2 * PATIENCE_S if name in LATE else None)


def test_every_name_is_in_one_of_these_tables() -> None:
    assert {*POSTS, *LOOK_UPS, FaultName.CANCEL_DROP_AFTER} == set(FaultName) == set(CATALOGUE)
    assert all(fault.label == name for name, fault in CATALOGUE.items())


@pytest.mark.parametrize("name", POSTS)
async def test_a_struck_order_is_seen_as_announced_and_exists_only_if_it_was_processed(
    exchange: SimulatedExchange, client: WireClient, name: FaultName
) -> None:
    status, words, accepted = POSTS[name]
    signed = client.bid(TOKEN)
    order_id = client.id_of(signed)
    exchange.faults.add(brief(name))
    patience_s = PATIENCE_S if name in NEVER_IN_TIME else None
    seen = await seen_of(client.post_order(signed, "FAK"), within_s=patience_s)
    assert (seen.status if seen else NO_ANSWER) == status
    assert seen is None or words in str(seen.body)

    journal = exchange.journal
    if name is FaultName.PROCESS_LATE:
        assert journal.accepted_ids() == []
        await eventually(lambda: journal.accepted_ids() == [order_id])
    assert journal.accepted_ids() == ([order_id] if accepted else [])
    assert (order_id in exchange.engine.orders) is accepted
    assert CATALOGUE[name].processes is accepted
    assert journal.orders[0].fault == name
    assert exchange.faults.struck == {name.value: 1}

    again = await client.post_order(signed, "FAK")
    words = "is invalid. Duplicated." if accepted else "'status': 'matched'"
    assert words in str(again.body)
    assert journal.accepted_ids() == [order_id]
    assert [receipt.fault for receipt in journal.posts_of(order_id)] == [name, None]


@pytest.mark.parametrize("name", LOOK_UPS)
async def test_a_look_up_can_lie_about_an_order_that_was_filled(
    exchange: SimulatedExchange, client: WireClient, name: FaultName
) -> None:
    status, words = LOOK_UPS[name]
    signed = client.bid(TOKEN)
    await client.post_order(signed, "FAK")
    exchange.faults.add(scripted(name))
    path = "/data/trades" if name is FaultName.LOOKUP_NO_TRADES else f"/data/order/{client.id_of(signed)}"
    seen = await seen_of(client.send("GET", path))
    assert (seen.status if seen else NO_ANSWER) == status
    assert seen is None or words in str(seen.body)
    honest = await client.send("GET", path)
    assert honest.status == 200
    assert client.id_of(signed) in str(honest.body)


async def test_a_cancel_can_be_done_and_its_answer_lost(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    signed = client.bid(TOKEN, usd=4)
    await client.post_order(signed)
    exchange.faults.add(scripted(FaultName.CANCEL_DROP_AFTER))
    assert await seen_of(client.cancel(client.id_of(signed))) is None
    assert exchange.engine.orders[client.id_of(signed)].status is OrderStatus.CANCELED


async def test_a_wrong_id_belongs_to_no_order(exchange: SimulatedExchange, client: WireClient) -> None:
    signed = client.bid(TOKEN)
    exchange.faults.add(scripted(FaultName.WRONG_ID))
    told = (await client.post_order(signed, "FAK")).body["orderID"]
    assert told != client.id_of(signed)
    assert len(told) == len(client.id_of(signed))
    assert (await client.order(told)).status == 404
    assert exchange.journal.accepted_ids() == [client.id_of(signed)]


async def test_the_limiters_refusal_says_when_to_come_back_and_the_edges_does_not(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    for name in (FaultName.RATE_LIMITED, FaultName.TOO_MANY_BEFORE):
        exchange.faults.add(scripted(name))
    by_limiter, by_edge = [(await client.post_order(client.bid(TOKEN))).headers for _ in range(2)]
    for header in ("Poly-RateLimit-Remaining", "Retry-After"):
        assert header in by_limiter
        assert header not in by_edge


@pytest.mark.parametrize("name", [FaultName.NUMERIC_AMOUNTS, FaultName.WRONG_ID, FaultName.NOT_JSON])
async def test_a_refusal_is_not_distorted(
    exchange: SimulatedExchange, client: WireClient, name: FaultName
) -> None:
    exchange.faults.add(scripted(name))
    seen = await client.post_order(client.bid(TOKEN, usd=4), "FAK")
    assert seen.status == 400
    assert seen.body["error"].startswith("no orders found to match with FAK order.")
    assert exchange.journal.accepted_ids() == []


async def test_every_entry_of_a_batch_is_distorted(exchange: SimulatedExchange, client: WireClient) -> None:
    exchange.faults.add(scripted(FaultName.UNKNOWN_STATUS))
    batch = [client.body_of(client.bid(TOKEN)) for _ in range(2)]
    seen = await client.send("POST", "/orders", batch)
    assert [entry["status"] for entry in seen.body] == ["queued", "queued"]
    assert len(exchange.journal.accepted_ids()) == 2


async def test_a_probability_strikes_the_same_requests_for_the_same_seed() -> None:
    struck = []
    for _ in range(2):
        async with SimulatedExchange.start([MARKET], seed=7) as exchange:
            exchange.faults.add(scripted(FaultName.DROP_AFTER, times=None, probability=0.1))
            exchange.faults.add(scripted(FaultName.RESTARTING, times=None, probability=0.1))
            faults = [exchange.faults.strike("POST", "/order") for _ in range(300)]
            struck.append([fault and fault.label for fault in faults])
            assert 30 < sum(exchange.faults.struck.values()) < 90
    assert struck[0] == struck[1]


def test_only_a_fault_that_lasts_can_be_given_a_duration() -> None:
    assert scripted(FaultName.DELAYED, seconds=3).handling.delay_s == 3
    slow = scripted(FaultName.SLOW_TRADES, seconds=3).handling
    assert (slow.order_hidden_s, slow.trades_hidden_s) == (0, 3)
    assert scripted(FaultName.DROPPED_AND_SLOW, seconds=3).handling.order_hidden_s == 3
    with pytest.raises(ValueError, match="bad_gateway_after has no duration"):
        scripted(FaultName.BAD_GATEWAY_AFTER, seconds=3)


def test_a_distortion_and_its_action_belong_together() -> None:
    with pytest.raises(ValueError, match="distortion"):
        type(CATALOGUE[FaultName.DROP_AFTER])(action=Action.DISTORT)
