"""Orders that the market left behind come off the book, and are priced anew or closed: each within its limit, none twice."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from time import monotonic

import pytest

from tests.support.aftercare import RESTING, aftercare
from tests.support.eventually import eventually
from tests.support.pending_desk import QUICK, booked, locked_usd, traded
from tests.support.trading_room import TradingRoom, open_room
from worker.handlers.remainders import RemainderTiming
from worker.orders.lifecycle import AttemptState
from worker.orders.reprice import CallOff
from worker.sandbox.supabase import SupabaseSandbox

D = Decimal
ORDERS = 40
# What was called off is looked at at once: for the rest, no more often than the lane has places for forty.
SELDOM = replace(QUICK, first_s=0.5, most_s=4.0)
CHANNEL_FIRST = RemainderTiming(first_s=0.5, most_s=4.0, refresh_every_s=0.3)
EVERY_SECOND = replace(RESTING, look_every_s=1.0)
OLD = replace(RESTING, max_age_s=1000)  # nothing of a test is


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    """A strategy whose orders rest at 0.51, for nobody offers anything there."""
    async with open_room(supabase) as room:
        room.floor = room.floor.with_market()
        await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
        await room.desk.execute("update public.ft_wallets set bet_size = 6")
        yield room


@pytest.mark.timeout(120)
async def test_forty_orders_that_a_moving_market_left_behind_are_each_repriced_or_closed_and_none_twice(
    room: TradingRoom,
) -> None:
    plans = [await room.plan() for _ in range(ORDERS)]
    assert {plan.limit_price for plan in plans} == {D("0.51")}
    began_s, looked_up = monotonic(), _lookups(room)
    async with aftercare(room, rests=EVERY_SECOND, looks=SELDOM, timing=CHANNEL_FIRST):
        for plan in plans:
            assert (await room.executed(plan)).state is AttemptState.LIVE
        room.floor.offer("0.60", "5000")
        # Half of them find what they want within their next price, and one of these finds not all of it there.
        room.floor.offer("0.53", "225")
        await eventually(lambda: _nobody_offers(room, "0.53"), within_s=60, every_s=0.25)
        await eventually(lambda: _all_are_over(room), within_s=60, every_s=0.25)
    looked_up, seconds = _lookups(room) - looked_up, monotonic() - began_s
    assert looked_up <= room.floor.settings.lookups_per_s * (seconds + 1)

    attempts = await room.attempts()
    by_order = defaultdict(list)
    for attempt in attempts:
        by_order[attempt["lt_order_id"]].append(attempt)
    assert len(by_order) == ORDERS
    assert {len(one) for one in by_order.values()} <= {1, 2, 3}
    assert sum(len(one) > 1 for one in by_order.values()) >= ORDERS // 2
    assert {attempt["limit_price"] for attempt in attempts} <= {D("0.51"), D("0.53"), D("0.55")}
    assert len(room.accepted()) == room.posts() == len(attempts)
    for one in by_order.values():
        _lived_one_after_the_other(room, [attempt["exchange_order_id"] for attempt in one])
        filled = sum([await _booked_of(room, attempt["exchange_order_id"]) for attempt in one], D(0))
        assert filled <= one[0]["shares"]
    assert await booked(room) == traded(room)
    assert sum(traded(room).values()) == 225
    assert await locked_usd(room) == 0
    rows = await room.desk.rows("select distinct status from public.lt_orders")
    assert {row["status"] for row in rows} <= {"FILLED", "PARTIAL", "CANCELLED"}


async def test_a_kill_takes_everything_off_the_book_and_a_pause_only_where_it_is_set_to(
    room: TradingRoom,
) -> None:
    await room.executed()
    await room.desk.call(
        "lt_control",
        {"mode": "live", "scope": "strategy:LT_ONE", "action": "pause", "reason": "x", "actor": "x"},
    )
    async with aftercare(room, rests=OLD) as care:
        await care.resting.turn()
        assert await _states(room) == ["live"]
    async with aftercare(room, rests=replace(OLD, cancel_on_pause=True)):
        await eventually(lambda: _is_cancelled(room, "pause"), within_s=20)
    await room.desk.execute("update public.lt_controls set cleared_at = now(), cleared_by = 'x'")
    await room.executed()
    await room.desk.call(
        "lt_control", {"mode": "live", "scope": "global", "action": "kill", "reason": "x", "actor": "x"}
    )
    async with aftercare(room, rests=OLD):
        await eventually(lambda: _is_cancelled(room, "kill"), within_s=20)
    assert await _states(room) == ["cancelled", "cancelled"]
    assert await locked_usd(room) == 0


async def test_a_purchase_comes_off_the_book_when_its_trader_sells_and_not_when_another_does(
    room: TradingRoom,
) -> None:
    bought_at = datetime.now(UTC)
    await room.executed(await room.plan(order_time=bought_at))
    async with aftercare(room, rests=OLD) as care:
        sale = {"side": "SELL", "order_time": bought_at + timedelta(seconds=1)}
        await room.signal(**sale, trader_address="0x" + "99" * 20)
        await room.signal(**sale | {"order_time": bought_at - timedelta(seconds=1)})
        await care.resting.turn()
        assert await _states(room) == ["live"]
        await room.signal(**sale)
        await eventually(lambda: _is_cancelled(room, CallOff.SALE), within_s=20)
    assert len(await room.attempts()) == 1


async def test_a_process_that_died_before_it_could_cancel_leaves_an_order_that_is_found_again(
    room: TradingRoom,
) -> None:
    executed = await room.executed()
    room.floor.offer("0.60", "1000")
    assert await room.ledger.call_off(executed.envelope.order_id, CallOff.REPRICE)
    assert await _states(room) == ["cancelling"]
    async with aftercare(room, rests=replace(RESTING, reprices_most=0)):
        await eventually(lambda: _is_cancelled(room, "left_behind"), within_s=20)


async def test_one_that_is_filled_before_the_cancellation_arrives_is_booked_as_filled(
    room: TradingRoom,
) -> None:
    executed = await room.executed()
    assert await room.ledger.call_off(executed.envelope.order_id, CallOff.REPRICE)
    room.floor.offer("0.51", "1000")
    assert not await room.exchange.cancel(room.floor.wallet, executed.envelope.order_id)
    async with aftercare(room):
        await eventually(lambda: _all_are_over(room), within_s=20)
    assert await _states(room) == ["matched"]
    assert await booked(room) == traded(room)
    assert await locked_usd(room) == 0


def _lookups(room: TradingRoom) -> int:
    """Questions after orders and trades that the exchange was asked."""
    counts = room.floor.venue.journal.counts
    return sum(number for (_, path), number in counts.items() if path.startswith("/data/"))


def _lived_one_after_the_other(room: TradingRoom, order_ids: list[str]) -> None:
    orders = [room.floor.venue.engine.orders[order_id] for order_id in order_ids]  # type: ignore[index]
    for before, after in pairwise(orders):
        assert before.ended_ns is not None
        assert before.ended_ns < after.created_ns


async def _nobody_offers(room: TradingRoom, price: str) -> bool:
    book = await room.exchange.book(room.floor.yes)
    return all(level.price != D(price) for level in book.asks)


async def _all_are_over(room: TradingRoom) -> bool:
    return all(attempt["closed_at"] for attempt in await room.attempts())


async def _booked_of(room: TradingRoom, order_id: str) -> Decimal:
    return (await booked(room)).get(order_id, D(0))


async def _states(room: TradingRoom) -> list[str]:
    return [attempt["state"] for attempt in await room.attempts()]


async def _is_cancelled(room: TradingRoom, why: str) -> bool:
    *_, attempt = await room.attempts()
    assert (attempt["state"], attempt["called_off"]) == ("cancelled", why)
    return attempt["closed_at"] is not None
