"""Orders come off the book when a switch or a sale says so, or their market: what came of each is told by look-ups alone."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aftercare import RESTING, aftercare
from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, traded
from tests.support.trading_room import TradingRoom, open_room
from worker.orders.reprice import CallOff
from worker.sandbox.supabase import SupabaseSandbox

OLD = replace(RESTING, max_age_s=1000)  # nothing of a test is


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    """A strategy whose orders rest at 0.51, for nobody offers anything there."""
    async with open_room(supabase) as room:
        room.floor = room.floor.with_market()
        await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
        await room.desk.execute("update public.ft_wallets set bet_size = 6")
        yield room


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


async def _all_are_over(room: TradingRoom) -> bool:
    return all(attempt["closed_at"] for attempt in await room.attempts())


async def _states(room: TradingRoom) -> list[str]:
    return [attempt["state"] for attempt in await room.attempts()]


async def _is_cancelled(room: TradingRoom, why: str) -> bool:
    *_, attempt = await room.attempts()
    assert (attempt["state"], attempt["called_off"]) == ("cancelled", why)
    return attempt["closed_at"] is not None
