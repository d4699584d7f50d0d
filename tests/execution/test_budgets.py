"""Budgets of requests: each kind of call has its own, and what the exchange's limiter says is done."""

import asyncio

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.exchange.lanes import Lane
from worker.orders.lifecycle import AttemptState
from worker.orders.terms import OrderType
from worker.sandbox.exchange.limiter import Errand
from worker.sandbox.exchange.rules import Allowance

PATIENCE_S = 20


def _narrow() -> Lane:
    """One call passes, and no other for as long as any test lasts."""
    return Lane(rate_per_s=0.001, burst=1)


async def _jam(lane: Lane, calls: int) -> list[asyncio.Task[None]]:
    """So many calls stand in it."""
    tasks = [asyncio.create_task(lane.take()) for _ in range(calls)]
    await eventually(lambda: lane.waiting == calls - 1)
    return tasks


async def test_cancels_and_look_ups_wait_behind_no_order(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    room.floor = room.floor.with_market()
    plan = await room.plan()
    assert plan.order_type is OrderType.GTC
    resting = await room.executed(plan)
    assert resting.state is AttemptState.LIVE
    wallet, order_id = room.floor.wallet, resting.envelope.order_id
    room.lanes._submit[wallet] = _narrow()
    orders = await _jam(room.lanes.submit(wallet), 200)
    async with asyncio.timeout(PATIENCE_S):
        assert (await room.exchange.lookup(wallet, order_id)).found
        assert await room.exchange.cancel(wallet, order_id)
        assert (await room.resolver.resolve(await room.open_attempt())).state is AttemptState.CANCELLED
    assert room.lanes.submit(wallet).waiting == len(orders) - 1
    for task in orders:
        task.cancel()


async def test_orders_and_cancels_wait_behind_no_look_up_and_no_warming(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    room.floor = room.floor.with_market()
    plan = await room.plan()
    room.lanes.lookup, room.lanes.background = _narrow(), _narrow()
    others = [*await _jam(room.lanes.lookup, 200), *await _jam(room.lanes.background, 200)]
    async with asyncio.timeout(PATIENCE_S):
        resting = await room.executed(plan)
        assert await room.exchange.cancel(room.floor.wallet, resting.envelope.order_id)
    for task in others:
        task.cancel()


async def test_whoever_is_throttled_leaves_the_exchange_alone_for_as_long_as_it_says(
    room: TradingRoom,
) -> None:
    plans = [await room.plan() for _ in range(2)]
    room.floor.venue.engine.limiter.allow(Errand.ORDER, Allowance(per_s=0.5, burst=1))
    done = await asyncio.gather(*(room.executed(plan) for plan in plans))
    assert {one.state for one in done} == {AttemptState.MATCHED}
    posts = room.floor.venue.journal.orders
    throttled = [one for one in posts if one.status == 429]
    assert throttled
    assert len(posts) <= 2 * len(done)
    for one in throttled:
        answered_ns = one.answered_monotonic_ns
        assert answered_ns is not None
        later = [other for other in posts if other.arrived_monotonic_ns > answered_ns]
        assert all(other.arrived_monotonic_ns - answered_ns > 0.95e9 for other in later)
