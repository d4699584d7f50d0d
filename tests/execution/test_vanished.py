"""Orders that the exchange took and then does not know, or knows again too late: no money stays bound to them for
ever, and none is spent twice.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, looking_up, order_row, traded, was_said
from tests.support.trading_room import TradingRoom, open_room
from worker.execution.resolve import DoubtPolicy
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import LostRule
from worker.orders.terms import OrderId
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.trades import Fate
from worker.sandbox.supabase import SupabaseSandbox

DOUBT = DoubtPolicy(
    resend_for=timedelta(minutes=2),
    sends_most=2,
    lost=LostRule(lookups=4, after=timedelta(milliseconds=200)),
)


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase, doubt=DOUBT) as room:
        await room.desk.execute("update public.ft_wallets set bet_size = 50")
        yield room


async def rests(room: TradingRoom) -> OrderId:
    """Puts an order on the book that nobody meets; returns its id."""
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    plan = await room.plan()
    room.floor.offer("0.50", "0")
    executed = await room.executed(plan)
    assert executed.state is AttemptState.LIVE
    return executed.envelope.order_id


async def state(room: TradingRoom, wanted: str, *, closed: bool = True) -> bool:
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["closed_at"] is not None) == (wanted, closed)
    return True


def forgotten(room: TradingRoom) -> None:
    """From now on the exchange says "not found" of every order."""
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NOT_FOUND, times=None))


async def test_an_order_on_the_book_that_is_never_found_again_is_given_up_by_the_rule(
    room: TradingRoom,
) -> None:
    order_id = await rests(room)
    forgotten(room)
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: state(room, "lost"))
    assert len(room.floor.posts_of(order_id)) == 1  # it was taken in: its body has had its chance
    assert await locked_usd(room) == 0
    assert (await order_row(room))["status"] == "LOST"
    told = [entry["event"] for entry in log if entry.get("order_id") == order_id]
    assert told.index("order.outcome_unknown") < told.index("order.lost")


async def test_an_order_on_the_book_that_is_not_found_for_a_moment_stays_where_it_is(
    room: TradingRoom,
) -> None:
    await rests(room)
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NOT_FOUND, times=DOUBT.lost.lookups - 1))
    async with looking_up(room):
        await eventually(lambda: found_again(room))
    assert await state(room, "live", closed=False)


async def found_again(room: TradingRoom) -> bool:
    (attempt,) = await room.attempts()
    return attempt["found_at"] is not None and attempt["lookups"] >= DOUBT.lost.lookups


async def test_a_remainder_that_is_never_found_again_is_over_and_its_trades_stay(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    room.floor.offer("0.50", "5")
    forgotten(room)
    with capture_logs() as log:
        async with looking_up(room):
            order_id = (await room.executed()).envelope.order_id
            await eventually(lambda: state(room, "cancelled"))
            await eventually(lambda: was_said(log, "order.remainder_lost"))
    assert await booked(room) == traded(room) == {order_id: Decimal(5)}
    assert (await order_row(room))["status"] == "PARTIAL"
    assert await locked_usd(room) == 0
    assert "order.remainder_lost" in {entry["event"] for entry in log if entry.get("order_id") == order_id}


async def test_a_resting_order_whose_trades_are_all_that_can_be_seen_is_over_once_they_are_all_it_was_for(
    room: TradingRoom,
) -> None:
    """The exchange has been seen to forget an order that was filled."""
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    order_id = (await room.executed()).envelope.order_id
    forgotten(room)
    resolution = await room.resolver.resolve(await room.open_attempt())
    assert resolution.state is AttemptState.MATCHED
    assert await state(room, "matched")
    assert await booked(room) == traded(room)
    assert list(traded(room)) == [order_id]


async def test_an_order_that_was_given_up_and_is_alive_after_all_is_called_off(room: TradingRoom) -> None:
    order_id = await rests(room)
    forgotten(room)
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
        with capture_logs() as log:
            room.floor.venue.faults.clear()
            await eventually(lambda: state(room, "cancelled"))
            await eventually(lambda: was_said(log, "order.called_off"))
    (alarm,) = [entry for entry in log if entry["event"] == "order.called_off"]
    assert (alarm["log_level"], alarm["order_id"], alarm["was"], alarm["cancelled"]) == (
        "critical",
        order_id,
        "lost",
        True,
    )
    room.floor.offer("0.50", "1000")
    assert traded(room) == {}
    assert await locked_usd(room) == 0


async def test_what_an_order_traded_before_it_was_called_off_is_booked(room: TradingRoom) -> None:
    order_id = await rests(room)
    for hidden in (FaultName.LOOKUP_NOT_FOUND, FaultName.LOOKUP_NO_TRADES):
        room.floor.venue.faults.add(scripted(hidden, times=None))
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
        room.floor.offer("0.50", "5")
        room.floor.venue.faults.clear()
        await eventually(lambda: state(room, "cancelled"))
    assert await booked(room) == traded(room) == {order_id: Decimal(5)}
    assert (await order_row(room))["status"] == "PARTIAL"


async def test_an_order_that_must_not_rest_and_does_is_called_off(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.LIVE_FAK))
    executed = await room.executed()
    assert executed.state is AttemptState.LIVE
    async with looking_up(room):
        await eventually(lambda: state(room, "cancelled"))
    assert await locked_usd(room) == 0


async def test_a_door_that_is_closed_uses_up_no_send(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    room.floor.venue.faults.add(scripted(FaultName.RESTARTING, times=DOUBT.sends_most + 1))
    patient = DoubtPolicy(DOUBT.resend_for, DOUBT.sends_most, LostRule())
    order_id = (await room.executed()).envelope.order_id
    room.resolver._policy = patient
    async with looking_up(room):
        await eventually(lambda: state(room, "matched"))
    assert len(room.floor.posts_of(order_id)) == DOUBT.sends_most + 3
    assert (await room.attempts())[0]["sends"] == DOUBT.sends_most
    assert room.accepted() == [order_id]


async def test_a_door_that_stays_closed_ends_in_the_rule_and_not_in_endless_sends(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    room.floor.venue.faults.add(scripted(FaultName.RESTARTING, times=None))
    order_id = (await room.executed()).envelope.order_id
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
    sent = len(room.floor.posts_of(order_id))
    assert sent <= 1 + DOUBT.lost.lookups + 2
    assert room.accepted() == []
    assert await locked_usd(room) == 0


async def test_a_trade_that_fails_after_its_order_was_closed_is_no_late_fill(room: TradingRoom) -> None:
    room.floor.venue.engine.settlement.fate_of = lambda _: Fate.FAILS
    with capture_logs() as log:
        async with looking_up(room):
            await room.executed()
            await eventually(lambda: nothing_open(room))
    assert await booked(room) == {}
    assert not {"fill.late", "order.late_fill"} & {entry["event"] for entry in log}


async def nothing_open(room: TradingRoom) -> bool:
    return not await room.ledger.open_attempts(room.floor.wallet, limit=10)
