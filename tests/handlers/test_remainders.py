"""What a FAK or a FOK has left is taken when the market offers it: at no worse a price, no more of it, and once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.aftercare import BY_CHANNEL, BY_LOOKING, aftercare
from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, order_row, traded, was_said
from tests.support.trading_room import POLICY, TradingRoom, open_room
from worker.execution.submit import Received
from worker.handlers.judge import Case, Judge
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import classify
from worker.orders.ports import Answer, Before, Refused
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal, parse_signal
from worker.orders.terms import OrderId
from worker.sandbox.exchange.modes import Mode as VenueMode
from worker.sandbox.supabase import SupabaseSandbox

D = Decimal


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    """A market of its own, on which nobody offers anything yet. A bet is 50 dollars and at most 2.50 of fees."""
    async with open_room(supabase) as room:
        room.floor = room.floor.with_market()
        await room.desk.execute("update public.lt_strategies set order_type = 'FAK'")
        await room.desk.execute("update public.ft_wallets set bet_size = 52.5, max_bet = 1000")
        yield room


async def test_a_killed_order_is_taken_again_as_soon_as_the_market_channel_shows_its_price(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    async with aftercare(room, timing=BY_CHANNEL):
        assert (await room.executed(plan)).state is AttemptState.KILLED
        room.floor.offer("0.60", "1000")
        await eventually(lambda: room.floor.venue.streams.count("market") == 1)
        assert len(await room.attempts()) == 1
        room.floor.offer("0.51", "1000")
        await eventually(lambda: _order_is(room, "FILLED"), within_s=20)
        await eventually(lambda: room.floor.venue.streams.count("market") == 0, within_s=20)
    first, second = await room.attempts()
    assert (first["state"], second["state"]) == ("killed", "matched")
    assert (second["attempt_no"], second["limit_price"]) == (2, first["limit_price"])
    assert second["amount_usd"] == first["amount_usd"]
    assert room.accepted() == [second["exchange_order_id"]]
    assert await booked(room) == traded(room)
    assert await locked_usd(room) == 0
    (decision,) = await room.desk.rows("select state, reason from public.lt_decisions")
    assert decision == {"state": "executed", "reason": "executed"}


async def test_what_a_partly_filled_order_has_left_is_taken_within_the_cap_and_no_more_of_it(
    room: TradingRoom,
) -> None:
    room.floor.offer("0.50", "40")  # 20 of 50 dollars
    async with aftercare(room):
        plan = await room.plan()
        await room.executed(plan)
        await eventually(lambda: _attempts_are(room, 1), within_s=20)
        assert (plan.limit_price, plan.amounts.spend_usd) == (D("0.51"), D(50))
        room.floor.offer("0.52", "1000")
        await _has_looked(room)
        assert len(await room.attempts()) == 1
        room.floor.offer("0.51", "20")  # 10.20
        await eventually(lambda: _attempts_are(room, 2), within_s=20)
        room.floor.offer("0.50", "1000")
        await eventually(lambda: _order_is(room, "FILLED"), within_s=20)
        await eventually(lambda: _attempts_are(room, 3), within_s=20)
        await _has_looked(room)
    row = await order_row(room)
    attempts = await room.attempts()
    assert [attempt["amount_usd"] for attempt in attempts] == [D(50), D(30), D("19.80")]
    assert {attempt["limit_price"] for attempt in attempts} == {D("0.51")}
    assert row["executed_size_usd"] == 50
    assert await booked(room) == traded(room)
    assert await locked_usd(room) == 0


async def test_there_are_no_more_attempts_than_are_allowed(room: TradingRoom) -> None:
    async with aftercare(room, retakes_most=2):
        await room.executed()
        for attempts in (2, 3):
            room.floor.offer("0.51", "3")
            await eventually(lambda wanted=attempts: _attempts_are(room, wanted), within_s=20)  # type: ignore[misc]
        room.floor.offer("0.51", "1000")
        await _has_looked(room)
    assert len(await room.attempts()) == 3
    assert (await order_row(room))["status"] == "PARTIAL"
    assert await locked_usd(room) == 0


async def test_a_signal_that_is_fresh_no_more_is_not_tried_again(room: TradingRoom) -> None:
    await room.executed()
    async with aftercare(room, timing=replace(BY_LOOKING, refresh_every_s=60)):
        await _has_looked(room)  # by its own pace alone
    room.floor.offer("0.50", "1000")
    async with aftercare(room, fresh_for=timedelta(0)):
        await _has_looked(room)
    async with aftercare(room, retakes_most=0):
        await _has_looked(room)
    assert len(await room.attempts()) == 1
    async with aftercare(room):
        await eventually(lambda: _order_is(room, "FILLED"), within_s=20)


@pytest.mark.parametrize("ask", ["0.51", "0.52"])
async def test_an_order_that_was_given_up_at_a_shut_door_is_sent_after_all_if_it_is_still_on_offer(
    room: TradingRoom, ask: str
) -> None:
    """It has used no attempt up. By now its signal is old: what is not on offer when the door opens is not waited for."""
    await _abandoned_before_its_post(room)
    room.floor.offer(ask, "1000")
    with capture_logs() as log:
        async with aftercare(room, fresh_for=timedelta(0), retakes_most=0):
            told = "order.sent_after_all" if ask == "0.51" else "order.not_retaken"
            await eventually(lambda: was_said(log, told), within_s=20)
            room.floor.offer("0.50", "1000")
            await _has_looked(room)
    states = [attempt["state"] for attempt in await room.attempts()]
    assert states == (["abandoned", "matched"] if ask == "0.51" else ["abandoned"])
    assert len(room.accepted()) == len(states) - 1
    assert await locked_usd(room) == 0


async def test_an_order_whose_post_was_turned_away_until_it_was_old_is_never_signed_anew(
    room: TradingRoom,
) -> None:
    """Its body may go again, another one may not: the exchange's word that it did nothing is all there is."""
    modes = room.floor.venue.engine.modes
    modes.enter(VenueMode.RESTARTING)
    assert (await room.executed(fresh_for=timedelta(seconds=0.1))).state is AttemptState.ABANDONED
    modes.enter(VenueMode.OPEN)
    room.floor.offer("0.50", "1000")
    async with aftercare(room):
        await _has_looked(room)
    (attempt,) = await room.attempts()
    assert (attempt["state"], attempt["sends"]) == ("abandoned", 1)
    assert attempt["sent_at"] is not None
    assert room.accepted() == []


async def test_a_sale_has_the_rest_of_its_shares_sold_at_no_lower_a_price(room: TradingRoom) -> None:
    room.floor.offer("0.50", "100")
    async with aftercare(room):
        await room.executed()
        await eventually(lambda: _is_settled(room), within_s=20)
        room.floor.bid("0.50", "60")
        sale = await _plan_of_sale(room)
        assert (sale.amounts.shares, sale.limit_price) == (D(100), D("0.49"))
        await room.executed(sale)
        await eventually(lambda: _attempts_are(room, 2), within_s=20)
        room.floor.bid("0.48", "100")
        await _has_looked(room)
        assert len(await room.attempts()) == 2
        room.floor.bid("0.49", "1000")
        await eventually(lambda: _attempts_are(room, 3), within_s=20)
        await _has_looked(room)
    *_, second = await room.attempts()
    assert (second["side"], second["shares"], second["limit_price"]) == ("SELL", D(40), D("0.49"))
    held = await room.desk.row("select unsold_shares, sold_shares from public.lt_positions")
    assert held == {"unsold_shares": D(0), "sold_shares": D(100)}
    assert await booked(room) == traded(room)


async def test_what_a_worker_died_before_it_could_take_again_its_successors_take_once(
    room: TradingRoom,
) -> None:
    """Both of them at the same time: one that has the lease, and one that does not know yet that it has lost it."""
    await room.executed()
    later = room.successor()
    await later.takes_over()
    room.floor.offer("0.50", "40")
    async with AsyncExitStack() as both:
        for worker in (room, later):
            await both.enter_async_context(aftercare(worker))
        await eventually(lambda: _attempts_are(room, 2), within_s=20)
        room.floor.offer("0.50", "1000")
        await eventually(lambda: _order_is(room, "FILLED"), within_s=20)
        await _has_looked(room)
    attempts = await room.attempts()
    assert [attempt["amount_usd"] for attempt in attempts] == [D(50), D(50), D(30)]
    assert {attempt["worker"] for attempt in attempts[1:]} == {"worker-b"}
    assert room.accepted() == [attempt["exchange_order_id"] for attempt in attempts[1:]]


async def test_whoever_knew_of_an_earlier_attempt_only_is_refused(room: TradingRoom) -> None:
    """Between its reading and its claim another attempt began and ended: nothing is alive, and the money is spent."""
    plan = await room.plan()
    first = await room.executed(plan)
    room.floor.offer("0.50", "40")
    async with aftercare(room):
        await eventually(lambda: _attempts_are(room, 2), within_s=20)
    now = room.clock.now()

    async def claim_after(attempt_no: int) -> Refused:
        before = Before(first.granted.lt_order_id, attempt_no)
        result = await room.submitter.execute(
            plan,
            Received.now(room.clock),
            decided_at=now,
            fresh_until=now + timedelta(minutes=2),
            after=before,
        )
        assert isinstance(result, Refused), result
        return result

    assert (await claim_after(1)).reason is SkipReason.ALREADY_EXECUTED
    too_much = await claim_after(2)
    assert (too_much.reason, too_much.value) == (SkipReason.ALREADY_EXECUTED, "20.50 of 52.50 USD is spent")
    assert len(await room.attempts()) == 2


async def _has_looked(room: TradingRoom) -> None:
    """Some looks at what is left were begun and ended."""
    seen = room.line.calls["lt_remainders"]
    await eventually(lambda: room.line.calls["lt_remainders"] >= seen + 4, within_s=20)


async def _order_is(room: TradingRoom, status: str) -> Row | None:
    row = await order_row(room)
    return row if row["status"] == status else None


async def _attempts_are(room: TradingRoom, number: int) -> bool:
    """So many, and all of them over and booked."""
    attempts = await room.attempts()
    assert len(attempts) <= number
    return len(attempts) == number and all(attempt["closed_at"] for attempt in attempts)


async def _is_settled(room: TradingRoom) -> bool:
    rows = await room.desk.rows("select sellable_shares from public.lt_positions where sellable_shares > 0")
    return bool(rows)


async def _plan_of_sale(room: TradingRoom) -> Plan:
    """The trader sells all that he had bought."""
    row = await room.row(await room.signal(side="SELL", size="6.00", order_time=datetime.now(UTC)))
    signal = parse_signal(row)
    assert isinstance(signal, Signal), signal
    judge = Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)
    plan = await judge.verdict(Case(signal, await room.strategy(), None), room.clock.now())
    assert isinstance(plan, Plan), plan
    return plan


async def _abandoned_before_its_post(room: TradingRoom) -> None:
    """Its door is shut, for longer than it is fresh, between its claim and its POST; and opens again."""
    plan = await room.plan()
    gate = room.line.hold_answers("lt_claim")
    executing = asyncio.create_task(room.executed(plan, fresh_for=timedelta(seconds=30)))
    await eventually(room.attempts)
    shut = Answer(503, error="post-only mode", retry_after_s=D(60))
    doors, wallet = room.sender.doors, room.floor.wallet
    other = OrderId("0xanother")
    doors.heard(
        wallet,
        classify(shut, first_send=True),
        order_id=other,
        sent_s=room.clock.monotonic(),
        words="post-only mode",
    )
    gate.set()
    assert (await executing).state is AttemptState.ABANDONED
    assert room.posts() == 0
    taken = classify(Answer(200, status="matched"), first_send=True)
    doors.heard(wallet, taken, order_id=other, sent_s=room.clock.monotonic(), words="matched")
