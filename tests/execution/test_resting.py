"""Orders that rest on the book: open until a look-up says that they are over, whatever the first answer was."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, looking_up, order_row, traded
from tests.support.trading_room import TradingRoom, open_room
from worker.orders.lifecycle import AttemptState
from worker.orders.terms import OrderType
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.modes import Mode as VenueMode
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase) as room:
        await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
        await room.desk.execute("update public.ft_wallets set bet_size = 50")
        yield room


async def test_what_was_not_filled_on_arrival_stays_open_and_its_later_fills_are_booked(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    assert plan.order_type is OrderType.GTC
    wanted = plan.amounts.shares
    assert wanted is not None
    room.floor.offer("0.50", "5")
    async with looking_up(room):
        executed = await room.executed(plan)
        assert executed.state is AttemptState.LIVE
        order_id = executed.envelope.order_id
        await eventually(lambda: _is(room, "PARTIAL", "5"))
        assert await locked_usd(room) >= (wanted - 5) * plan.limit_price
        (attempt,) = await room.attempts()
        assert (attempt["state"], attempt["closed_at"]) == ("live", None)

        room.floor.offer("0.50", "2")
        await eventually(lambda: _is(room, "PARTIAL", "7"))
        assert await locked_usd(room) >= (wanted - 7) * plan.limit_price
        (attempt,) = await room.attempts()
        assert attempt["closed_at"] is None

        room.floor.offer("0.50", "1000")
        await eventually(lambda: _is(room, "FILLED", str(wanted)))
        await eventually(lambda: _closed(room, "matched"))
    assert await booked(room) == traded(room) == {order_id: wanted}
    assert await locked_usd(room) == 0


async def test_a_remainder_of_which_only_the_trades_can_be_seen_is_not_taken_for_over(
    room: TradingRoom,
) -> None:
    room.floor.offer("0.50", "5")
    executed = await room.executed()
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NOT_FOUND, times=1))
    resolution = await room.resolver.resolve(await room.open_attempt())
    assert (resolution.state, resolution.settled) == (AttemptState.LIVE, False)
    (attempt,) = await room.attempts()
    assert attempt["closed_at"] is None
    assert await booked(room) == {executed.envelope.order_id: Decimal(5)}


async def test_a_remainder_that_was_cancelled_frees_its_capital_and_keeps_its_fills(
    room: TradingRoom,
) -> None:
    room.floor.offer("0.50", "5")
    async with looking_up(room):
        order_id = (await room.executed()).envelope.order_id
        await eventually(lambda: _is(room, "PARTIAL", "5"))
        assert await room.exchange.cancel(room.floor.wallet, order_id)
        await eventually(lambda: _closed(room, "cancelled"))
    assert await booked(room) == traded(room) == {order_id: Decimal(5)}
    assert await locked_usd(room) == 0


async def test_what_was_filled_whole_on_arrival_closes_as_filled(room: TradingRoom) -> None:
    async with looking_up(room):
        await room.executed()
        await eventually(lambda: _closed(room, "matched"))
    assert (await order_row(room))["status"] == "FILLED"
    assert await booked(room) == traded(room) != {}
    assert await locked_usd(room) == 0


async def _is(room: TradingRoom, status: str, shares: str) -> bool:
    row = await order_row(room)
    assert (row["status"], row["shares_bought"]) == (status, Decimal(shares))
    return True


async def _closed(room: TradingRoom, state: str) -> bool:
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["closed_at"] is not None) == (state, True)
    return True


async def test_an_order_whose_end_came_too_near_before_a_shut_door_is_given_up_and_not_refused(
    room: TradingRoom,
) -> None:
    """The exchange takes none that ends within three minutes. What never went out is tried again, with another end."""
    await room.desk.execute("update public.lt_strategies set order_type = 'GTD'")
    plan = replace(await room.plan(), expires_at=room.clock.now() + timedelta(seconds=186))
    modes = room.floor.venue.engine.modes
    modes.enter(VenueMode.RESTARTING)
    executed = await room.executed(plan)
    assert executed.state is AttemptState.ABANDONED
    assert {receipt.status for receipt in room.floor.posts_of(executed.envelope.order_id)} == {425}
    modes.enter(VenueMode.OPEN)
    assert (await room.executed()).state is AttemptState.LIVE
