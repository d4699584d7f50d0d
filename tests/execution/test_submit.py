"""The only money path, driven by hand: claimed once, posted once, and every end of it written down."""

import asyncio
import json
import time
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import QUICK_LEASE, TradingRoom
from worker.exchange.lanes import Lane
from worker.execution.doors import Closed
from worker.execution.submit import Executed, NotSent
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import AnswerReason
from worker.orders.ports import Lease, Refused
from worker.orders.reasons import SkipReason
from worker.orders.terms import OrderId
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.modes import Mode as VenueMode


class CountedLane(Lane):
    """Counts its places, and gives out none while its gate is shut."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        super().__init__(rate_per_s, burst)
        self.taken = 0
        self.waits = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def take(self) -> None:
        self.waits = not self.gate.is_set()
        await self.gate.wait()
        await super().take()
        self.taken += 1


async def test_a_granted_plan_is_posted_once_and_its_answer_recorded(room: TradingRoom) -> None:
    plan = await room.plan()
    executed = await room.executed(plan)

    assert room.accepted() == [executed.envelope.order_id]
    assert room.posts() == 1
    assert (executed.answer, executed.state) == (AnswerReason.ACCEPTED, AttemptState.MATCHED)
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["exchange_order_id"]) == ("matched", executed.envelope.order_id)
    assert attempt["created_at"] <= attempt["sent_at"] <= attempt["answered_at"]
    assert Decimal(attempt["answer"]["timing"]["own_ms"]) > 0
    assert (await room.desk.decision(plan.signal.ft_order_id))["state"] == "executed"  # type: ignore[index]


async def test_what_is_posted_is_what_was_committed_before(room: TradingRoom) -> None:
    executed = await room.executed()
    (receipt,) = room.floor.posts_of(executed.envelope.order_id)
    (attempt,) = await room.attempts()
    assert attempt["signed_body"] == executed.envelope.body
    committed, posted = json.loads(attempt["signed_body"]), json.loads(receipt.body)
    assert posted["order"]["signature"] == committed["order"]["signature"]


async def test_a_refused_claim_posts_nothing(room: TradingRoom) -> None:
    plan = await room.plan()
    await room.desk.execute("update public.lt_strategies set is_paused = true")
    refused = await room.execute(plan)
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.STRATEGY_PAUSED
    assert (room.posts(), await room.attempts()) == (0, [])


async def test_the_same_plan_executed_thrice_at_once_is_posted_once(room: TradingRoom) -> None:
    plan = await room.plan()
    results = await asyncio.gather(*(room.execute(plan) for _ in range(3)))
    assert [type(result) for result in results].count(Executed) == 1
    assert [type(result) for result in results].count(Refused) == 2
    assert (room.posts(), len(room.accepted())) == (1, 1)


async def test_what_waits_for_its_claim_when_the_worker_stops_is_not_claimed_any_more(
    room: TradingRoom,
) -> None:
    plans = [await room.plan() for _ in range(3)]
    gate = room.line.hold("lt_claim")
    executing = [asyncio.create_task(room.execute(plan)) for plan in plans]
    await eventually(lambda: len(room.sender.in_flight) == 3)
    await eventually(lambda: room.line.calls["lt_claim"] == 1)
    room.sender.close()
    gate.set()
    results = await asyncio.gather(*executing)
    assert sorted(type(result).__name__ for result in results) == ["Executed", "NotSent", "NotSent"]
    assert (room.posts(), len(await room.attempts())) == (1, 1)


async def test_without_a_lease_nothing_is_claimed(room: TradingRoom) -> None:
    plan = await room.plan()
    await room.wallets.release()
    assert isinstance(await room.execute(plan), NotSent)
    assert (room.posts(), await room.attempts()) == (0, [])


async def test_a_lease_lost_between_claim_and_post_leaves_the_order_to_the_next_holder(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    gate = room.line.hold("lt_claim")
    executing = asyncio.create_task(room.execute(plan))
    await eventually(lambda: room.line.calls["lt_claim"])
    room.watch.slept_s = QUICK_LEASE.lease_ttl_s
    gate.set()
    executed = await executing
    assert isinstance(executed, Executed)
    assert (executed.answer, executed.state) == (None, AttemptState.SUBMITTING)
    assert room.posts() == 0
    assert (await room.open_attempt()).state is AttemptState.SUBMITTING


async def test_a_signal_that_grew_old_while_waiting_for_a_place_is_decided_anew(room: TradingRoom) -> None:
    result = await room.execute(await room.plan(), fresh_for=timedelta(seconds=-1))
    assert isinstance(result, NotSent)
    assert result.stale
    assert await room.attempts() == []


async def test_an_order_turned_away_at_the_door_goes_again_with_the_same_body(room: TradingRoom) -> None:
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=425, body='{"error":"restarting"}', times=2)
    )
    executed = await room.executed()
    assert (executed.answer, executed.state) == (AnswerReason.ACCEPTED, AttemptState.MATCHED)
    assert len(room.floor.posts_of(executed.envelope.order_id)) == 3
    assert len(room.floor.venue.journal.bodies_of(executed.envelope.order_id)) == 1
    assert len(room.accepted()) == 1


async def test_an_order_turned_away_until_its_signal_is_old_is_abandoned(room: TradingRoom) -> None:
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=425, body='{"error":"restarting"}', times=None)
    )
    executing = asyncio.create_task(room.executed(fresh_for=timedelta(seconds=30)))
    await eventually(lambda: room.posts() >= 2)
    room.watch.slept_s = 31  # the lease would still allow it
    executed = await executing
    assert (executed.answer, executed.state) == (AnswerReason.RESTARTING, AttemptState.ABANDONED)
    assert room.accepted() == []
    (attempt,) = await room.attempts()
    assert attempt["closed_at"] is not None


async def test_a_lost_answer_leaves_the_outcome_open_until_the_exchange_tells_it(room: TradingRoom) -> None:
    room.floor.venue.faults.add(Fault(action=Action.DROP_AFTER))
    executed = await room.executed()
    assert (executed.answer, executed.state) == (AnswerReason.NO_ANSWER, AttemptState.UNKNOWN)

    async def adopted() -> bool:
        resolution = await room.resolver.resolve(await room.open_attempt())
        assert resolution.state is AttemptState.MATCHED
        return resolution.settled

    await eventually(adopted)
    assert room.posts() == 1
    (fill,) = await room.desk.rows("select * from public.lt_fills")
    assert (fill["exchange_order_id"], fill["state"]) == (executed.envelope.order_id, "final")


async def test_an_order_that_may_never_have_arrived_stays_in_doubt(room: TradingRoom) -> None:
    room.floor.venue.faults.add(Fault(action=Action.DROP_BEFORE))
    executed = await room.executed()
    assert executed.state is AttemptState.UNKNOWN
    for _ in range(2):
        resolution = await room.resolver.resolve(await room.open_attempt())
        assert (resolution.state, resolution.settled) == (AttemptState.UNKNOWN, False)
    assert room.posts() == 1


async def test_whoever_stops_waiting_does_not_stop_the_order(room: TradingRoom) -> None:
    plan = await room.plan()
    room.floor.venue.faults.add(Fault(action=Action.PROCESS_LATE, seconds=0.2))
    gate = room.line.hold("lt_record")
    executing = asyncio.create_task(room.execute(plan))
    await eventually(room.attempts)
    executing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await executing
    assert len(room.sender.in_flight) == 1
    gate.set()
    assert await room.sender.in_flight.drain(20) == 0
    (attempt,) = await room.attempts()
    assert attempt["state"] == "matched"
    assert len(room.accepted()) == 1


async def test_an_answer_is_recorded_however_long_the_database_is_away(room: TradingRoom) -> None:
    plan = await room.plan()
    gate = room.line.hold_answers("lt_claim")
    executing = asyncio.create_task(room.executed(plan))
    await eventually(room.attempts)
    room.line.cut = True
    gate.set()
    given_up = room.metrics.task_failures.labels("record")
    await eventually(lambda: given_up._value.get() >= 2)  # asked again beyond the deadline of a call
    room.line.cut = False
    assert (await executing).state is AttemptState.MATCHED
    assert room.posts() == 1


async def test_a_claim_whose_answer_is_lost_is_asked_again_and_posted_once(room: TradingRoom) -> None:
    plan = await room.plan()
    room.line.lose_answers("lt_claim", 1)
    await room.executed(plan)
    assert room.line.calls["lt_claim"] == 2
    assert (room.posts(), len(await room.attempts())) == (1, 1)


async def test_an_order_that_comes_back_under_another_id_halts_its_wallet(room: TradingRoom) -> None:
    stranger = "0x" + "99" * 32
    body = {"success": True, "errorMsg": "", "orderID": stranger, "status": "matched"}
    body |= {"makingAmount": "6", "takingAmount": "12"}
    room.floor.venue.faults.add(Fault(action=Action.ANSWER_AFTER, status=200, body=json.dumps(body)))
    executed = await room.executed()
    assert stranger in room.sender.halted[room.floor.wallet]
    assert executed.envelope.order_id in room.sender.halted[room.floor.wallet]

    assert isinstance(await room.execute(await room.plan()), Closed)
    assert room.posts() == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, "Unauthorized/Invalid api key"), (403, "Trading restricted in your region")]
)
async def test_a_wallet_that_the_exchange_does_not_want_is_halted_and_its_order_abandoned(
    room: TradingRoom, status: int, error: str
) -> None:
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=status, body=json.dumps({"error": error}))
    )
    executed = await room.executed()
    assert executed.state is AttemptState.ABANDONED
    assert error in room.sender.halted[room.floor.wallet]
    closed = await room.execute(await room.plan())
    assert isinstance(closed, Closed)
    assert closed.reason is (SkipReason.CREDENTIALS_REFUSED if status == 401 else SkipReason.GEOBLOCKED)
    assert room.accepted() == []
    assert len(await room.attempts()) == 1


async def test_a_takeover_between_decision_and_claim_is_noticed_by_the_database(room: TradingRoom) -> None:
    plan = await room.plan()
    held = room.wallets.lease(room.floor.wallet)
    assert held is not None
    await room.ledger.release(held)
    assert isinstance(await room.rival.lease(room.floor.wallet, ttl_s=10), Lease)
    result = await room.execute(plan)
    assert isinstance(result, Refused)
    assert not result.reason.final  # the pair stays work for whoever holds the wallet now
    assert room.posts() == 0


async def test_a_queue_for_the_claims_that_outlasts_a_lease_which_was_renewed_abandons_nothing(
    room: TradingRoom,
) -> None:
    gate = room.line.hold("lt_claim")
    plans = [await room.plan() for _ in range(4)]
    executing = [asyncio.create_task(room.executed(plan)) for plan in plans]
    await eventually(lambda: room.line.calls["lt_claim"])
    room.watch.slept_s = QUICK_LEASE.lease_ttl_s - 1  # the lease that all of them began under is over
    assert room.wallets.lease(room.floor.wallet) is None
    await room.wallets.refresh()
    gate.set()
    assert {(await each).state for each in executing} == {AttemptState.MATCHED}
    assert len(room.accepted()) == 4


async def test_a_lease_that_changed_hands_between_claim_and_post_sends_nothing(room: TradingRoom) -> None:
    plan = await room.plan()
    gate = room.line.hold_answers("lt_claim")
    executing = asyncio.create_task(room.executed(plan))
    await eventually(room.attempts)
    heir = room.successor()
    await heir.takes_over()
    held = heir.wallets.lease(room.floor.wallet)
    assert held is not None
    await heir.wallets.release()
    await room.wallets.refresh()
    assert room.wallets.held  # again, but under another fence
    gate.set()
    executed = await executing
    assert (executed.answer, room.posts()) == (None, 0)
    # The successor may have sent it: only a look-up can tell what became of it.
    assert executed.state is AttemptState.SUBMITTING
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["closed_at"]) == ("submitting", None)


@pytest.mark.parametrize("mode", [VenueMode.RESTARTING, VenueMode.POST_ONLY, VenueMode.CANCEL_ONLY])
async def test_the_same_body_goes_once_the_exchange_opens_while_the_signal_is_fresh(
    room: TradingRoom, mode: VenueMode
) -> None:
    plan = await room.plan()
    modes = room.floor.venue.engine.modes
    modes.enter(mode)
    executing = asyncio.create_task(room.executed(plan))
    await eventually(room.posts)
    modes.enter(mode, 0.5)
    executed = await executing
    assert (executed.answer, executed.state) == (AnswerReason.ACCEPTED, AttemptState.MATCHED)
    receipts = room.floor.posts_of(executed.envelope.order_id)
    assert len(receipts) >= 2
    assert len({receipt.body for receipt in receipts}) == 1
    assert room.accepted() == [executed.envelope.order_id]


async def test_an_order_that_a_human_ended_while_it_waited_for_long_is_not_sent(
    room: TradingRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.execution.submit._LEAVE_AFTER_S", 0.0)
    plan = await room.plan()
    leave = room.line.hold("lt_resend")
    executing = asyncio.create_task(room.executed(plan))
    await eventually(lambda: room.line.calls["lt_resend"])
    await room.desk.execute(
        "update public.lt_order_attempts set state_changed_at = now() - interval '61 seconds'"
    )
    (attempt,) = await room.attempts()
    order_id = OrderId(attempt["exchange_order_id"])
    await room.ledger.resolve(order_id, AttemptState.KILLED, reason="seen on chain", actor="operator")
    leave.set()
    assert (await executing).answer is None
    assert room.posts() == 0


async def test_nothing_is_sent_once_the_signal_is_old_and_what_was_never_sent_frees_its_capital(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    before = await room.desk.capital()
    room.floor.venue.engine.modes.enter(VenueMode.CANCEL_ONLY)
    executing = asyncio.create_task(room.executed(plan, fresh_for=timedelta(seconds=30)))
    await eventually(lambda: room.posts() >= 2)
    room.watch.slept_s = 29.9  # no wait would end while it is fresh
    posts = room.posts()
    executed = await executing
    assert (executed.answer, executed.state) == (AnswerReason.CANCEL_ONLY, AttemptState.ABANDONED)
    assert len(room.floor.posts_of(executed.envelope.order_id)) == posts
    (order,) = await room.desk.rows("select status, outcome from public.lt_orders")
    assert (order["status"], order["outcome"]) == ("CANCELLED", "CANCELLED")
    assert await room.desk.capital() == before


async def test_a_process_that_slept_past_the_freshness_of_its_order_does_not_send_it_again(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    room.floor.venue.engine.modes.enter(VenueMode.CANCEL_ONLY)
    executing = asyncio.create_task(room.executed(plan, fresh_for=timedelta(seconds=30)))
    await eventually(room.posts)
    room.watch.slept_s = 31  # the lease would still allow it
    room.floor.venue.engine.modes.enter(VenueMode.OPEN)
    posts = room.posts()
    assert (await executing).state is AttemptState.ABANDONED
    assert room.posts() == posts
    assert room.accepted() == []


async def test_a_wait_that_would_outlast_the_freshness_is_not_even_begun(room: TradingRoom) -> None:
    plan = await room.plan()
    room.floor.venue.engine.modes.enter(VenueMode.POST_ONLY, 120)
    began_s = time.monotonic()
    executed = await room.executed(plan, fresh_for=timedelta(seconds=60))
    assert (executed.answer, executed.state) == (AnswerReason.POST_ONLY, AttemptState.ABANDONED)
    assert time.monotonic() - began_s < 30
    assert room.posts() == 1


async def test_a_storm_of_refusals_stays_within_the_budget_of_the_lane(room: TradingRoom) -> None:
    plans = [await room.plan() for _ in range(60)]
    room.floor.venue.engine.modes.enter(VenueMode.RESTARTING)
    results = await asyncio.gather(*(room.execute(plan, fresh_for=timedelta(seconds=6)) for plan in plans))
    given_up = [result for result in results if isinstance(result, Executed)]
    put_off = [result for result in results if isinstance(result, Closed)]
    assert {result.state for result in given_up} == {AttemptState.ABANDONED}
    assert {result.reason for result in put_off} == {SkipReason.EXCHANGE_RESTARTING}
    assert len(await room.attempts()) == len(given_up)  # nobody else held capital
    # Each order once at the very most, and one that knocks: when they all knocked, it was seven times as many.
    assert room.posts() < 2 * len(plans)
    assert room.accepted() == []


async def test_every_post_has_a_place_in_the_lane_also_when_it_goes_again(room: TradingRoom) -> None:
    lane = room.lanes._submit[room.floor.wallet] = CountedLane(rate_per_s=38, burst=56)
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=425, body='{"error":"restarting"}', times=3)
    )
    await room.executed()
    assert (room.posts(), lane.taken) == (4, 4)


async def test_a_lease_that_changed_hands_while_an_order_waited_for_its_place_sends_nothing_more(
    room: TradingRoom,
) -> None:
    lane = room.lanes._submit[room.floor.wallet] = CountedLane(rate_per_s=38, burst=56)
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=425, body='{"error":"restarting"}', times=None)
    )
    plan = await room.plan()
    executing = asyncio.create_task(room.executed(plan))
    await eventually(lambda: lane.taken)
    lane.gate.clear()
    await eventually(lambda: lane.waits)
    posts = room.posts()
    room.floor.venue.faults.clear()
    await room.successor().takes_over()
    await room.wallets.refresh()
    lane.gate.set()
    assert (await executing).state is AttemptState.SUBMITTING
    assert room.posts() == posts
