"""Orders of which nobody knows whether they exist: sent again as they are, adopted, or given up by the rule only."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.pending_desk import booked, looking_up, order_row, pending, traded, was_said
from tests.support.trading_room import TradingRoom, open_room
from worker.errors import DatabaseRefused
from worker.execution.resolve import DoubtPolicy, Resolver
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import AttemptRecord, Envelope, Granted, LostRule, Stages
from worker.orders.terms import OrderId
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.handling import Handling
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.supabase import SupabaseSandbox

DOUBT = DoubtPolicy(
    resend_for=timedelta(minutes=2),
    sends_most=3,
    lost=LostRule(lookups=4, after=timedelta(milliseconds=200)),
)


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase, doubt=DOUBT) as room:
        yield room


async def available_usd(room: TradingRoom) -> Decimal:
    return Decimal((await room.desk.capital())["available_usd"])


async def state(room: TradingRoom, wanted: str, *, closed: bool = True) -> bool:
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["closed_at"] is not None) == (wanted, closed)
    return True


async def claimed(room: TradingRoom, plan: Plan) -> Envelope:
    """What a process leaves behind that dies between its claim and its POST."""
    envelope = await room.exchange.prepare(room.floor.wallet, plan)
    lease, now = room.wallets.lease(room.floor.wallet), room.clock.now()
    assert lease is not None
    assert isinstance(await room.ledger.claim(plan, envelope, lease, Stages(now, now, now)), Granted)
    return envelope


# --- sent again ---------------------------------------------------------------------------------------------------


async def test_an_order_that_never_arrived_goes_again_in_the_same_bytes_while_its_signal_is_fresh(
    room: TradingRoom,
) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    order_id = (await room.executed()).envelope.order_id
    async with looking_up(room):
        await eventually(lambda: state(room, "matched"))
    assert len(room.floor.posts_of(order_id)) == 2
    assert len(room.floor.venue.journal.bodies_of(order_id)) == 1
    assert room.accepted() == [order_id]
    assert await booked(room) == traded(room)


async def test_nothing_is_sent_again_to_a_door_that_is_known_to_be_shut(room: TradingRoom) -> None:
    room.floor.venue.engine.modes.enter(Mode.POST_ONLY, 3600)
    assert (await room.executed()).state is AttemptState.ABANDONED
    await claimed(room, await room.plan())
    posts = room.posts()
    attempts = await room.ledger.open_attempts(room.floor.wallet, limit=10)
    (attempt,) = [attempt for attempt in attempts if not attempt.is_watched]
    resolution = await room.resolver.resolve(attempt)
    assert (resolution.state, resolution.settled) == (AttemptState.UNKNOWN, False)
    assert room.posts() == posts


async def test_an_order_whose_end_is_too_near_for_the_exchange_is_not_sent_again(room: TradingRoom) -> None:
    """A refusal would say nothing, and would bar it: the same three minutes as before the first time."""
    await room.desk.execute("update public.lt_strategies set order_type = 'GTD'")
    ends_at = room.clock.now() + timedelta(minutes=2)
    await claimed(room, replace(await room.plan(), expires_at=ends_at))
    assert (await room.resolver.resolve(await room.open_attempt())).state is AttemptState.UNKNOWN
    assert room.posts() == 0


async def test_an_order_of_an_old_signal_is_not_sent_again(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    order_id = (await room.executed()).envelope.order_id
    await room.desk.execute("update public.ft_orders set created_at = now() - interval '3 minutes'")
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
    assert len(room.floor.posts_of(order_id)) == 1


async def test_a_body_goes_out_only_so_often(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE, times=None))
    order_id = (await room.executed()).envelope.order_id
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
    assert len(room.floor.posts_of(order_id)) == DOUBT.sends_most


async def test_an_order_processed_after_we_gave_up_waiting_is_adopted_and_not_doubled(
    room: TradingRoom,
) -> None:
    room.floor.venue.faults.add(scripted(FaultName.PROCESS_LATE, seconds=0.8))
    with room.impatient(submit_timeout_s=0.3):
        executed = await room.executed()
    assert executed.state is AttemptState.UNKNOWN
    async with looking_up(room):
        await eventually(lambda: state(room, "matched"))
        await eventually(lambda: len(room.floor.venue.journal.orders[0].outcomes) == 1)
    assert room.accepted() == [executed.envelope.order_id]
    assert await booked(room) == traded(room)


async def test_a_body_that_was_killed_when_sent_again_never_goes_a_third_time(room: TradingRoom) -> None:
    before_usd = await available_usd(room)
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    order_id = (await room.executed()).envelope.order_id
    room.floor.offer("0.50", "0")
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: barred(room))
            room.floor.offer("0.50", "100000")  # a third body would trade
            await eventually(lambda: state(room, "lost"))
    assert len(room.floor.posts_of(order_id)) == 2
    assert room.accepted() == []
    assert [entry["order_id"] for entry in log if entry["event"] == "order.lost"] == [order_id]
    assert (await room.attempts())[0]["not_found"] >= DOUBT.lost.lookups
    assert (await order_row(room))["status"] == "LOST"
    assert await available_usd(room) == before_usd


async def barred(room: TradingRoom) -> bool:
    (attempt,) = await room.attempts()
    return bool(attempt["barred"])


class Late:
    """The room's clock, put forward."""

    def __init__(self, room: TradingRoom) -> None:
        self._clock = room.clock
        self.by = timedelta(0)

    def now(self) -> datetime:
        return self._clock.now() + self.by

    def monotonic(self) -> float:
        return self._clock.monotonic()


class BusyLane:
    """Its places are so sought after that the wait for one takes this long."""

    def __init__(self, clock: Late, wait: timedelta) -> None:
        self._clock = clock
        self._wait = wait
        self.taken = 0

    async def take(self) -> None:
        self._clock.by += self._wait
        self.taken += 1

    async def give_way(self, rank: float) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("wait", "posts"), [(timedelta(seconds=1), 2), (timedelta(minutes=3), 1)])
async def test_a_body_that_grew_too_old_while_it_waited_for_a_place_is_not_sent_again(
    room: TradingRoom, wait: timedelta, posts: int
) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    order_id = (await room.executed()).envelope.order_id
    clock = Late(room)
    lane = BusyLane(clock, wait)
    resolver = Resolver(
        exchange=room.exchange,
        ledger=room.ledger,
        sender=room.sender,
        lane_of=lambda _: lane,
        clock=clock,
        policy=DOUBT,
    )
    await resolver.resolve(await room.open_attempt())
    assert lane.taken == 1
    assert len(room.floor.posts_of(order_id)) == posts


# --- ended by a human -----------------------------------------------------------------------------------------------


async def test_an_order_that_a_human_ended_after_it_was_read_is_not_sent_again(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
    order_id = (await room.executed()).envelope.order_id
    read_before = await room.open_attempt()
    await room.ledger.resolve(order_id, AttemptState.KILLED, reason="seen on chain", actor="operator")
    with pytest.raises(DatabaseRefused, match="cannot go from killed"):
        await room.resolver.resolve(read_before)
    assert len(room.floor.posts_of(order_id)) == 1


async def test_the_trades_of_an_order_that_a_human_ended_are_booked_and_told_loudly_once(
    room: TradingRoom,
) -> None:
    room.floor.venue.faults.add(scripted(FaultName.DROP_AFTER))
    order_id = (await room.executed()).envelope.order_id
    await room.ledger.resolve(order_id, AttemptState.KILLED, reason="seen on chain", actor="operator")
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: looked_up_after_its_trades_are_final(room))
            await eventually(lambda: was_said(log, "fill.late"))
    assert await state(room, "killed")
    assert await booked(room) == traded(room) != {}
    assert (await order_row(room))["status"] == "FILLED"
    alarms = [entry for entry in log if entry["event"] == "fill.late"]
    assert {(alarm["log_level"], alarm["order_id"]) for alarm in alarms} == {("critical", order_id)}
    assert len(alarms) <= 3  # once for each state of its trade, however often it is looked up


async def looked_up_after_its_trades_are_final(room: TradingRoom) -> bool:
    (attempt,) = await room.attempts()
    fills = await room.desk.rows("select state from public.lt_fills")
    assert {row["state"] for row in fills} == {"final"}
    assert attempt["lookups"] >= 8
    return True


async def test_an_order_that_a_human_ended_and_that_is_alive_is_called_off(room: TradingRoom) -> None:
    await room.desk.execute("update public.ft_wallets set bet_size = 50")
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    plan = await room.plan()
    room.floor.offer("0.50", "0")
    room.floor.venue.faults.add(scripted(FaultName.DROP_AFTER))
    order_id = (await room.executed(plan)).envelope.order_id
    await room.ledger.resolve(order_id, AttemptState.REJECTED, reason="seen on chain", actor="operator")
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: called_off(room, order_id))
            await eventually(lambda: was_said(log, "order.called_off"))
    assert ("order.called_off", "critical") in {(entry["event"], entry["log_level"]) for entry in log}
    assert await state(room, "rejected")


async def called_off(room: TradingRoom, order_id: str) -> bool:
    return (await room.exchange.lookup(room.floor.wallet, OrderId(order_id))).status == "CANCELED"


# --- adopted ------------------------------------------------------------------------------------------------------


async def test_an_order_that_was_cancelled_before_anybody_asked_after_it_is_over(room: TradingRoom) -> None:
    before_usd = await available_usd(room)
    room.floor.venue.faults.add(scripted(FaultName.UNMATCHED))
    envelope = await claimed(room, await room.plan())
    await room.exchange.submit(envelope)  # by a process that died with the answer
    async with looking_up(room):
        await eventually(lambda: state(room, "cancelled"))
    assert await available_usd(room) == before_usd


# --- late -----------------------------------------------------------------------------------------------------------


async def test_a_fill_of_an_order_that_was_given_up_is_booked_and_told_loudly(room: TradingRoom) -> None:
    hidden = Handling(order_hidden_s=3600, trades_hidden_s=3600)
    room.floor.venue.faults.add(replace(scripted(FaultName.DROPPED_AND_SLOW), handling=hidden))
    order_id = (await room.executed()).envelope.order_id
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: state(room, "lost"))
            assert await booked(room) == {}
            room.floor.venue.engine.sight._orders_hidden_until_ns.clear()
            room.floor.venue.engine.sight._trades_hidden_until_ns.clear()
            await eventually(lambda: state(room, "matched"))
            await eventually(lambda: was_said(log, "fill.late"))
    assert await booked(room) == traded(room) != {}
    assert order_id in {entry["order_id"] for entry in log if entry["event"] == "fill.late"}
    assert (await order_row(room))["status"] == "FILLED"


async def test_an_order_in_the_venues_hold_that_vanishes_frees_its_capital_in_the_end(
    room: TradingRoom,
) -> None:
    before_usd = await available_usd(room)
    room.floor.venue.faults.add(scripted(FaultName.DELAYED, seconds=0.5))
    executing = asyncio.create_task(room.executed())
    await eventually(room.accepted)
    room.floor.venue.backoffice.pause(room.floor.condition_id, accepting=False)
    executed = await executing
    assert executed.state is AttemptState.DELAYED
    async with looking_up(room):
        await eventually(lambda: state(room, "lost"))
    assert len(room.floor.posts_of(executed.envelope.order_id)) == 1
    assert await available_usd(room) == before_usd


# --- after a death --------------------------------------------------------------------------------------------------


async def test_an_order_that_a_dead_process_claimed_and_never_sent_is_sent_once_by_the_next(
    room: TradingRoom,
) -> None:
    envelope = await claimed(room, await room.plan())
    heir = room.successor()
    await heir.takes_over()
    assert await pending(heir).recover() == 1
    async with looking_up(heir):
        await eventually(lambda: state(room, "matched"))
    assert len(room.floor.posts_of(envelope.order_id)) == 1
    assert room.accepted() == [envelope.order_id]
    assert await booked(room) == traded(room) != {}


async def test_an_order_that_a_dead_process_sent_without_hearing_back_is_adopted_by_the_next(
    room: TradingRoom,
) -> None:
    envelope = await claimed(room, await room.plan())
    await room.exchange.submit(envelope)
    heir = room.successor()
    await heir.takes_over()
    async with looking_up(heir):
        await eventually(lambda: state(room, "matched"))
    assert len(room.floor.posts_of(envelope.order_id)) == 1
    assert room.accepted() == [envelope.order_id]
    assert await booked(room) == traded(room) != {}


async def test_an_order_that_a_dead_process_claimed_long_ago_is_not_sent_any_more(room: TradingRoom) -> None:
    before_usd = await available_usd(room)
    await claimed(room, await room.plan())
    await room.desk.execute("update public.ft_orders set created_at = now() - interval '3 minutes'")
    heir = room.successor()
    await heir.takes_over()
    async with looking_up(heir):
        await eventually(lambda: state(room, "lost"))
    assert room.posts() == 0
    assert await available_usd(room) == before_usd


@pytest.mark.parametrize("told", [AttemptState.KILLED, AttemptState.REJECTED])
async def test_a_no_that_reaches_a_process_whose_lease_has_passed_on_closes_nothing(
    room: TradingRoom, told: AttemptState
) -> None:
    """Its successor may have sent the same body since: a no to the one says nothing about the other."""
    envelope = await claimed(room, await room.plan())
    heir = room.successor()
    await heir.takes_over()
    late = AttemptRecord(
        order_id=envelope.order_id,
        state=told,
        note="told late",
        sent_at=room.clock.now(),
        answered_at=room.clock.now(),
        barred=True,
    )
    await room.sender.record(late)
    await heir.exchange.submit(envelope)
    async with looking_up(heir):
        await eventually(lambda: state(room, "matched"))
    assert await booked(room) == traded(room) != {}
