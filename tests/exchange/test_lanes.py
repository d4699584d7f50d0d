"""Lanes: the budget holds over every window, and the queue is fair."""

import asyncio
import time

import pytest

from tests.support.eventually import eventually
from worker.exchange.lanes import Lane, Lanes
from worker.orders.terms import WalletAddress
from worker.settings import ExchangeSettings


async def turn_of_the_loop() -> None:
    """Whoever waits for no more than the others' turns is done after a few; whoever waits for time is not."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_burst_passes_at_once_and_the_next_call_waits_for_the_window() -> None:
    lane = Lane(rate_per_s=50, burst=5)  # five calls in any 100 ms
    started = time.monotonic()
    burst = asyncio.gather(*(lane.take() for _ in range(5)))
    await turn_of_the_loop()
    assert lane.waiting == 0
    await burst
    await lane.take()
    assert time.monotonic() - started >= 0.1


async def test_no_window_ever_holds_more_than_the_burst() -> None:
    lane = Lane(rate_per_s=100, burst=5)
    taken: list[float] = []

    async def call() -> None:
        async with lane:
            taken.append(lane._throttler._task_logs[-1])  # when the lane spent it: we may look later

    async with asyncio.TaskGroup() as group:
        for _ in range(23):
            group.create_task(call())
    spans = [later - earlier for earlier, later in zip(taken, taken[5:], strict=False)]
    assert min(spans) >= 0.05


async def test_waiters_are_served_in_the_order_in_which_they_came() -> None:
    lane = Lane(rate_per_s=200, burst=1)
    served: list[int] = []

    async def call(number: int) -> None:
        await lane.take()
        served.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(call(number))
    assert served == list(range(12))


async def test_a_steady_stream_of_newcomers_does_not_starve_the_first_waiter() -> None:
    lane = Lane(rate_per_s=40, burst=1)
    served: list[str] = []

    async def call(name: str) -> None:
        await lane.take()
        served.append(name)

    await lane.take()
    first = asyncio.create_task(call("first"))
    newcomers: list[asyncio.Task[None]] = []
    while not first.done():
        newcomers.append(asyncio.create_task(call("a newcomer")))
        await asyncio.sleep(0.002)
    for task in newcomers:
        task.cancel()
    await asyncio.gather(*newcomers, return_exceptions=True)
    assert served[0] == "first"


async def test_a_cancelled_waiter_gives_its_place_up() -> None:
    lane = Lane(rate_per_s=20, burst=1)
    await lane.take()
    impatient = asyncio.create_task(lane.take())
    patient = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    assert lane.waiting == 2
    impatient.cancel()
    async with asyncio.timeout(20):
        await patient
    assert impatient.cancelled()
    assert lane.waiting == 0


@pytest.mark.parametrize(("rate_per_s", "burst"), [(0, 1), (-1, 1), (1, 0)])
async def test_a_budget_that_lets_nothing_through_is_refused(rate_per_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match="Expected a positive rate"):
        Lane(rate_per_s, burst)


async def test_each_wallet_has_a_submit_lane_of_its_own() -> None:
    lanes = Lanes(ExchangeSettings(orders_per_s=1, orders_burst=1))
    one, other = WalletAddress("0x" + "01" * 20), WalletAddress("0x" + "02" * 20)
    await lanes.submit(one).take()
    waiting = asyncio.create_task(lanes.submit(one).take())
    taking = asyncio.create_task(lanes.submit(other).take())
    await turn_of_the_loop()
    assert (taking.done(), waiting.done()) == (True, False)
    waiting.cancel()


async def test_calls_that_can_wait_leave_room_for_one_in_a_hurry_however_many_they_are() -> None:
    lane = Lane(rate_per_s=100, burst=20)

    async def patient(rank: float) -> None:
        await lane.give_way(rank)
        await lane.take()

    waiting = [asyncio.create_task(patient(number)) for number in range(60)]
    await eventually(lambda: sum(task.done() for task in waiting) >= 15, within_s=20)
    hurried = asyncio.create_task(lane.take())
    await turn_of_the_loop()
    assert hurried.done()
    assert not all(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


async def test_of_those_that_can_wait_the_lowest_rank_is_let_in_first() -> None:
    lane = Lane(rate_per_s=200, burst=5)
    order: list[float] = []

    async def patient(rank: float) -> None:
        await lane.give_way(rank)
        order.append(rank)

    async with asyncio.TaskGroup() as group:
        for rank in (0.0, 3.0, 1.0, 2.0):
            group.create_task(patient(rank))
    assert order == [0.0, 1.0, 2.0, 3.0]


async def test_one_who_gives_up_while_he_waits_lets_the_next_one_in() -> None:
    lane = Lane(rate_per_s=100, burst=5)
    await lane.give_way()
    waiting = [asyncio.create_task(lane.give_way(number)) for number in range(3)]
    await turn_of_the_loop()
    for task in waiting[:2]:
        task.cancel()
    async with asyncio.timeout(10):
        await waiting[2]
    assert [task.cancelled() for task in waiting] == [True, True, False]


async def test_whoever_can_wait_stands_back_while_anybody_waits() -> None:
    lane = Lane(rate_per_s=5, burst=1)
    await lane.take()
    order: list[str] = []

    async def hurried() -> None:
        await lane.take()
        order.append("in a hurry")

    async def patient() -> None:
        await lane.give_way()
        order.append("can wait")

    async with asyncio.TaskGroup() as group:
        group.create_task(hurried())
        await turn_of_the_loop()
        group.create_task(patient())
    assert order == ["in a hurry", "can wait"]
