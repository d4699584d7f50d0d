"""Orders that the exchange says it did nothing with, one by one: what they do to others, and what becomes of them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, looking_up, order_row, traded, was_said
from tests.support.trading_room import TradingRoom
from worker.execution.doors import _IN_A_ROW, Closed
from worker.execution.submit import Executed
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import AnswerReason, classify
from worker.orders.ports import Answer
from worker.orders.terms import OrderId
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.modes import Mode as VenueMode
from worker.sandbox.exchange.orders import OrderStatus

RESTARTING = '{"error":"restarting"}'
KILL = {"action": "kill", "scope": "global", "reason": "look", "actor": "operator"}


async def test_an_order_that_the_exchange_cannot_match_in_time_holds_up_no_other(room: TradingRoom) -> None:
    plan, other = await room.plan(), await room.plan()
    room.floor.venue.faults.add(scripted(FaultName.ORDER_TIMED_OUT, times=2))
    with capture_logs() as log:
        executing = asyncio.create_task(room.executed(plan))
        await eventually(lambda: was_said(log, "order.not_sent"))
        assert dict(room.sender.doors.modes) == {}
        room.floor.venue.faults.clear()
        assert (await room.executed(other)).state is AttemptState.MATCHED
        assert (await executing).state is AttemptState.MATCHED
    assert "door.shut" not in {entry["event"] for entry in log}


async def test_an_order_that_is_turned_away_for_itself_leaves_the_lane_to_others(
    room: TradingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.execution.submit._AGAIN_FIRST_S", 30.0)
    room.floor.venue.faults.add(scripted(FaultName.ORDER_TIMED_OUT, times=None))
    plan = await room.plan()
    with capture_logs() as log:
        executing = asyncio.create_task(room.executed(plan))
        await eventually(lambda: was_said(log, "order.not_sent"))
        room.floor.venue.faults.clear()
        assert (await room.executed()).state is AttemptState.MATCHED  # and the first one is still away
    assert room.posts() == 2
    executing.cancel()


async def test_an_order_of_which_no_request_can_be_made_is_refused_and_shuts_no_door(
    room: TradingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("worker.exchange.polymarket.exchange.order_fields", lambda _: {"side": "NEITHER"})
        executed = await room.executed()
    assert (executed.answer, executed.state) == (AnswerReason.NOT_SENDABLE, AttemptState.REJECTED)
    assert dict(room.sender.doors.modes) == {}
    assert (room.posts(), await locked_usd(room)) == (0, Decimal(0))
    (attempt,) = await room.attempts()
    assert (attempt["sent_at"], attempt["sends"]) == (None, 0)
    assert (await room.executed()).state is AttemptState.MATCHED


@pytest.mark.parametrize(
    "statement",
    ["update public.lt_strategies set is_paused = true", "update public.lt_strategies set is_active = false"],
)
async def test_an_order_that_knocks_when_its_strategy_is_stopped_is_given_up_with_its_capital(
    room: TradingRoom, statement: str
) -> None:
    await _given_up_at_the_door(room, lambda: room.desk.execute(statement))


async def test_an_order_that_knocks_under_a_switch_is_given_up_with_its_capital(room: TradingRoom) -> None:
    await _given_up_at_the_door(room, lambda: room.desk.call("lt_control", KILL))


async def _given_up_at_the_door(room: TradingRoom, stop: Callable[[], Awaitable[object]]) -> None:
    plan, before = await room.plan(), await room.desk.capital()
    room.floor.venue.engine.modes.enter(VenueMode.RESTARTING)
    executing = asyncio.create_task(room.executed(plan))
    await eventually(room.posts)
    await stop()
    executed = await executing
    assert (executed.answer, executed.state) == (AnswerReason.RESTARTING, AttemptState.ABANDONED)
    room.floor.venue.engine.modes.enter(VenueMode.OPEN)
    assert room.accepted() == []
    assert (await order_row(room))["status"] == "CANCELLED"
    assert await room.desk.capital() == before


async def test_what_was_stopped_before_anything_went_out_does_not_come_back_by_itself(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    claim = room.line.hold_answers("lt_claim")
    executing = asyncio.create_task(room.executed(plan))
    await eventually(room.attempts)
    room.sender.doors.heard(
        room.floor.wallet,
        classify(Answer(425), first_send=True),
        order_id=OrderId("0xanother"),
        sent_s=room.clock.monotonic(),
        words="restarting",
    )
    await room.desk.call("lt_control", KILL)
    room.watch.slept_s = 2.0  # it has waited for longer than a switch may go unseen
    claim.set()
    executed = await executing
    assert (executed.answer, executed.state, room.posts()) == (None, AttemptState.ABANDONED, 0)
    await room.desk.call("lt_control", KILL | {"action": "arm"})
    asked = {"mode": "live", "wallets": [room.floor.wallet], "limit": 9, "retakes_most": 2, "fresh_s": 60}
    asked |= {"reprices_most": 2, "reprice_within_s": 60, "unsent_s": 3600}
    assert (await room.desk.call("lt_remainders", asked))["remainders"] == []
    (attempt,) = await room.attempts()
    assert (attempt["note"], attempt["barred"]) == ("kill of global", True)


async def test_a_database_that_stumbles_over_the_leave_is_asked_again(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.RESTARTING, times=1))
    room.line.lose_answers("lt_resend", 2)
    assert (await room.executed()).state is AttemptState.MATCHED
    assert room.line.calls["lt_resend"] >= 3


async def test_without_a_word_of_the_database_an_order_at_the_door_is_left_to_the_look_ups(
    room: TradingRoom,
) -> None:
    room.floor.venue.engine.modes.enter(VenueMode.RESTARTING)
    leave = room.line.hold("lt_resend")
    executing = asyncio.create_task(room.executed(fresh_for=timedelta(seconds=20)))
    await eventually(lambda: room.line.calls["lt_resend"])
    room.line.cut = True
    leave.set()
    await eventually(lambda: room.line.calls["lt_resend"] > 1)
    room.watch.slept_s = 21
    assert (await executing).state is AttemptState.SUBMITTING
    assert room.posts() == 1


async def test_a_leave_that_comes_after_the_signal_has_grown_old_sends_nothing(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.RESTARTING, times=1))
    leave = room.line.hold("lt_resend")
    fresh_until = room.clock.now() + timedelta(seconds=2)
    executing = asyncio.create_task(room.executed(fresh_for=timedelta(seconds=2)))
    await eventually(lambda: room.line.calls["lt_resend"])
    await eventually(lambda: room.clock.now() > fresh_until + timedelta(seconds=0.5))
    leave.set()
    assert (await executing).state is AttemptState.ABANDONED
    assert (room.posts(), room.accepted()) == (1, [])


async def test_an_order_that_is_to_be_left_alone_for_longer_than_it_is_good_for_is_given_up_at_once(
    room: TradingRoom,
) -> None:
    body = '{"error":"order timed out","retry_after_seconds":3600}'
    room.floor.venue.faults.add(Fault(action=Action.ANSWER_INSTEAD, status=500, body=body))
    executed = await room.executed()
    assert (executed.answer, executed.state) == (AnswerReason.TIMED_OUT, AttemptState.ABANDONED)
    assert room.posts() == 1
    assert await locked_usd(room) == 0


async def test_an_exchange_that_matches_nothing_in_time_shuts_the_door_and_uses_up_few_orders(
    room: TradingRoom,
) -> None:
    plans = [await room.plan() for _ in range(8)]
    room.floor.venue.faults.add(scripted(FaultName.ORDER_TIMED_OUT, times=None))
    executing = [asyncio.create_task(room.execute(plan)) for plan in plans]
    await eventually(lambda: room.sender.doors.modes)
    posts = room.posts()
    assert isinstance(await room.execute(await room.plan(), fresh_for=timedelta(seconds=5)), Closed)
    room.floor.venue.faults.clear()
    ends = await asyncio.gather(*executing)
    claimed = [end for end in ends if isinstance(end, Executed)]
    assert len(claimed) >= _IN_A_ROW
    assert {end.state for end in claimed} == {AttemptState.MATCHED}
    assert all(isinstance(end, Executed | Closed) for end in ends)
    assert posts <= len(plans) * 2
    assert dict(room.sender.doors.modes) == {}


async def test_an_order_that_was_filled_against_the_exchanges_word_is_booked_with_an_alarm(
    room: TradingRoom,
) -> None:
    order_id = await _taken_though_turned_away(room)
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: was_said(log, "fill.late"))
    assert await booked(room) == traded(room)
    assert list(traded(room)) == [order_id]
    assert (await order_row(room))["status"] == "FILLED"


async def test_an_order_that_rests_against_the_exchanges_word_is_called_off(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    plan = await room.plan()
    room.floor.offer("0.50", "0")
    order_id = await _taken_though_turned_away(room, plan)
    with capture_logs() as log:
        async with looking_up(room):
            await eventually(lambda: was_said(log, "order.called_off"))
    (alarm,) = [entry for entry in log if entry["event"] == "order.called_off"]
    assert (alarm["log_level"], alarm["was"], alarm["cancelled"]) == ("critical", "abandoned", True)
    (order,) = room.floor.venue.engine.orders.values()
    assert (str(order.id), order.status) == (order_id, OrderStatus.CANCELED)
    assert traded(room) == {}
    assert (await order_row(room))["status"] == "CANCELLED"


async def _taken_though_turned_away(room: TradingRoom, plan: Plan | None = None) -> OrderId:
    """The exchange takes it and says that it did not; a switch then keeps the body from going again."""
    room.floor.venue.faults.add(Fault(action=Action.ANSWER_AFTER, status=425, body=RESTARTING))
    leave = room.line.hold("lt_resend")
    executing = asyncio.create_task(room.executed(plan))
    await eventually(lambda: room.line.calls["lt_resend"])
    await room.desk.call("lt_control", KILL)
    leave.set()
    executed = await executing
    assert executed.state is AttemptState.ABANDONED
    assert room.accepted() == [executed.envelope.order_id]
    assert await locked_usd(room) == 0
    return executed.envelope.order_id
