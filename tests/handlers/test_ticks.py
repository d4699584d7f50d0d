"""A market whose tick changes while it trades."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.aftercare import BY_LOOKING, aftercare
from tests.support.eventually import eventually
from tests.support.trading_room import POLICY, TradingRoom, open_room
from worker.execution.submit import Executed, Received
from worker.handlers.judge import Case, Judge
from worker.handlers.ticks import is_off_tick, on_the_new_tick
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.signal import Signal, parse_signal
from worker.sandbox.exchange.units import price_of
from worker.sandbox.supabase import SupabaseSandbox

D = Decimal


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    """The market's tick is a tenth of a cent when it is first read."""
    async with open_room(supabase) as room:
        room.floor = room.floor.with_market(tick="0.001")
        room.floor.offer("0.5", "1000")
        yield room


def judge_of(room: TradingRoom) -> Judge:
    return Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)


def change_tick(room: TradingRoom, tick: str) -> None:
    room.floor.venue.backoffice.change_tick(room.floor.condition_id, price_of(tick))


async def refused_off_tick(room: TradingRoom) -> tuple[Case, Plan, Executed]:
    """An order at 0.515, made for the tick that was, on a market that has whole cents now."""
    signal = parse_signal(await room.row(await room.signal(order_time=datetime.now(UTC))))
    assert isinstance(signal, Signal), signal
    case = Case(signal, await room.strategy(), None)
    plan = await judge_of(room).verdict(case, room.clock.now())
    assert isinstance(plan, Plan), plan
    assert plan.limit_price == D("0.515")
    change_tick(room, "0.01")
    refused = await room.executed(plan)
    assert is_off_tick(refused)
    return case, plan, refused


async def repeat(room: TradingRoom, case: Case, plan: Plan, refused: Executed) -> tuple[Plan, Executed]:
    return await on_the_new_tick(
        case,
        plan,
        refused,
        Received.now(room.clock),
        judge=judge_of(room),
        submitter=room.submitter,
        clock=room.clock,
    )


async def test_an_order_that_a_changed_tick_refused_is_decided_anew_and_sent_on_the_new_one(
    room: TradingRoom,
) -> None:
    case, plan, refused = await refused_off_tick(room)
    again, executed = await repeat(room, case, plan, refused)
    assert (again.limit_price, again.market.tick_size) == (D("0.51"), D("0.01"))
    assert executed.state is AttemptState.MATCHED
    assert executed.granted.lt_order_id == refused.granted.lt_order_id
    attempts = await room.attempts()
    assert [(row["attempt_no"], row["state"]) for row in attempts] == [(1, "rejected"), (2, "matched")]
    assert room.accepted() == [executed.envelope.order_id]
    (order,) = await room.desk.rows("select lt_order_id from public.lt_orders")
    assert order["lt_order_id"] == executed.granted.lt_order_id
    # Nothing waits for another reading: the next order is made on the new tick at once. And on a finer tick than the
    # one that it was made on an order stands all the same.
    plan = await room.plan()
    assert plan.limit_price == D("0.51")
    change_tick(room, "0.0001")
    assert not is_off_tick(await room.executed(plan))


async def test_what_may_not_be_repeated_stays_refused_and_says_why(room: TradingRoom) -> None:
    case, plan, refused = await refused_off_tick(room)
    await room.desk.execute("update public.lt_strategies set is_paused = true")
    with capture_logs() as log:
        assert await repeat(room, case, plan, refused) == (plan, refused)
    room.floor.venue.backoffice.close(room.floor.condition_id)
    with capture_logs() as later:
        assert await repeat(room, case, plan, refused) == (plan, refused)
    said = [entry["why"] for entry in log + later if entry["event"] == "order.not_repeated"]
    assert said == ["strategy_paused", "market_closed"]
    (attempt,) = await room.attempts()
    assert (attempt["state"], room.accepted()) == ("rejected", [])


async def test_what_nobody_got_to_repeat_is_found_and_sent_once_on_the_tick_of_now(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = 'FAK'")
    _, _, refused = await refused_off_tick(room)
    async with aftercare(room, timing=BY_LOOKING):
        await eventually(lambda: _attempts_are(room, 2), within_s=20)
        await eventually(lambda: _is_filled(room, refused.granted.lt_order_id), within_s=20)
    first, second = await room.attempts()
    assert (first["state"], second["state"]) == ("rejected", "matched")
    assert (second["attempt_no"], second["limit_price"]) == (2, D("0.51"))
    assert second["amount_usd"] <= first["amount_usd"]


async def _attempts_are(room: TradingRoom, number: int) -> bool:
    return len(await room.attempts()) == number


async def _is_filled(room: TradingRoom, lt_order_id: str) -> bool:
    return bool((await room.desk.order(lt_order_id))["status"] == "FILLED")
