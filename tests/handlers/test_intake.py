"""The queue of pairs: none twice, fresh before backlog before deferred, the newest of each first, each strategy apart."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.eventually import eventually
from worker.execution.submit import Received
from worker.handlers.intake import Bounds, Intake, Item, LaneName, Pair, insert_time
from worker.observe.metrics import Metrics
from worker.orders.skips import Deferral
from worker.orders.terms import FtOrderId, FtWalletId, StrategyId

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ONE, TWO = StrategyId("LT_ONE"), StrategyId("LT_TWO")


def item(
    name: str,
    *strategy_ids: StrategyId,
    age_s: float = 0.0,
    source: str = "feed",
    deferred: Sequence[StrategyId] = (),
) -> Item:
    row = {
        "order_id": name,
        "wallet_id": "FT_ONE",
        "created_at": (NOON - timedelta(seconds=age_s)).isoformat(),
    }
    deferrals = {one: Deferral(3, "market_not_ready") for one in deferred}
    return Item(FtOrderId(name), row, strategy_ids or None, source, Received(NOON, 0.0), deferrals)


def followers(_: FtWalletId) -> Sequence[StrategyId]:
    return (ONE,)


def intake(waiting: int = 100, *, fresh: int = 100, backlog: int = 100, deferred: int = 100) -> Intake:
    return Intake(
        bounds=Bounds(waiting, fresh, backlog, deferred),
        following=followers,
        metrics=Metrics(),
        hold_first_s=0.02,
    )


async def taken(queue: Intake) -> list[str]:
    """Everything that is queued, in the order in which it is served."""
    return [(await queue.take()).item.ft_order_id for _ in range(len(queue))]


async def nothing_is_served(queue: Intake) -> bool:
    waiting = asyncio.create_task(queue.take())
    for _ in range(3):
        await asyncio.sleep(0)
    served = waiting.done()
    waiting.cancel()
    return not served


async def test_fresh_signals_are_served_before_the_backlog_and_the_newest_first() -> None:
    queue = intake()
    for name, age_s, fresh in (
        ("old", 900, False),
        ("older", 999, False),
        ("new", 5, True),
        ("newest", 1, True),
    ):
        queue.offer(item(name, age_s=age_s), fresh=fresh)
    assert await taken(queue) == ["newest", "new", "old", "older"]


async def test_what_was_deferred_waits_behind_the_backlog_however_young_it_is() -> None:
    queue = intake()
    queue.offer(item("deferred", ONE, deferred=[ONE]), fresh=True)
    queue.offer(item("old", ONE, age_s=900), fresh=False)
    assert await taken(queue) == ["old", "deferred"]


async def test_while_a_backlog_waits_the_deferred_come_to_their_end_one_by_one() -> None:
    queue = intake(backlog=1, deferred=4)
    for number in range(3):
        queue.offer(item(f"old {number}", age_s=900 + number), fresh=False)
        queue.offer(item(f"deferred {number}", ONE, age_s=900 + number, deferred=[ONE]), fresh=False)
    first, second = await queue.take(), await queue.take()
    assert [first.item.ft_order_id, second.item.ft_order_id] == ["old 0", "deferred 0"]
    assert await nothing_is_served(queue)
    queue.done(first)
    assert (await queue.take()).item.ft_order_id == "old 1"
    queue.done(second)
    assert (await queue.take()).item.ft_order_id == "deferred 1"


async def test_a_signal_is_queued_once_for_each_strategy_that_owes_it_a_decision() -> None:
    queue = intake()
    assert queue.offer(item("one", ONE, TWO), fresh=True) == 2
    assert queue.offer(item("one", TWO), fresh=True) == 0
    assert {(await queue.take()).strategy_id for _ in range(2)} == {ONE, TWO}


async def test_a_new_signal_is_queued_for_whoever_follows_its_wallet() -> None:
    queue = intake()
    assert queue.offer(item("one"), fresh=True) == 1
    assert (await queue.take()).strategy_id == ONE


async def test_a_pair_that_is_queued_or_being_decided_is_not_taken_in_again() -> None:
    queue = intake()
    assert queue.offer(item("one"), fresh=True)
    assert not queue.offer(item("one", source="sweep"), fresh=False)
    served = await queue.take()
    assert not queue.offer(item("one"), fresh=True)
    queue.done(served)
    assert queue.offer(item("one"), fresh=True)


async def test_a_strategy_whose_places_are_all_taken_holds_no_other_up() -> None:
    queue = intake(fresh=2)
    for number in range(5):
        queue.offer(item(f"stuck {number}", ONE), fresh=True)
    stuck = [await queue.take() for _ in range(2)]
    assert {pair.strategy_id for pair in stuck} == {ONE}
    assert await nothing_is_served(queue)
    queue.offer(item("other", TWO, age_s=60), fresh=True)
    assert (await queue.take()).strategy_id == TWO
    queue.done(stuck[0])
    assert (await queue.take()).strategy_id == ONE


async def test_a_backlog_that_is_stuck_takes_no_place_of_a_fresh_signal() -> None:
    queue = intake(fresh=1, backlog=2)
    for number in range(10):
        queue.offer(item(f"old {number}", age_s=600), fresh=False)
    assert {(await queue.take()).lane for _ in range(2)} == {LaneName.BACKLOG}
    assert await nothing_is_served(queue)
    queue.offer(item("new"), fresh=True)
    assert (await queue.take()).item.ft_order_id == "new"


async def test_a_backlog_however_long_keeps_no_fresh_signal_out() -> None:
    queue = intake(16)
    offered = [queue.offer(item(f"old {number}", age_s=600 + number), fresh=False) for number in range(40)]
    assert offered.count(1) == 16
    assert queue.full() == [ONE]
    assert queue.offer(item("new"), fresh=True)
    assert (await queue.take()).item.ft_order_id == "new"


async def test_a_full_lane_leaves_the_oldest_out_and_takes_it_when_it_is_offered_again() -> None:
    queue = intake(2)
    for name, age_s in (("older", 20), ("oldest", 30)):
        assert queue.offer(item(name, age_s=age_s), fresh=True)
    assert queue.offer(item("new"), fresh=True)
    assert not queue.offer(item("oldest", age_s=30), fresh=True)
    assert (await queue.take()).item.ft_order_id == "new"
    assert queue.offer(item("oldest", age_s=30), fresh=True)
    assert await taken(queue) == ["older", "oldest"]


async def test_one_strategys_full_lane_keeps_nothing_of_another_out() -> None:
    queue = intake(2)
    for number in range(5):
        queue.offer(item(str(number), ONE, age_s=number), fresh=False)
    assert queue.offer(item("other", ONE, TWO, age_s=99), fresh=False) == 1
    assert (queue.full(), queue.engaged()) == ([ONE], {ONE, TWO})


async def test_a_pair_that_failed_is_held_back_and_then_served_last() -> None:
    queue = intake()
    queue.offer(item("poison"), fresh=True)
    queue.done(await queue.take(), failed=True)
    assert not queue.offer(item("poison"), fresh=True)
    await eventually(lambda: queue.offer(item("poison"), fresh=True))
    queue.offer(item("old", age_s=900), fresh=False)
    assert await taken(queue) == ["old", "poison"]


async def test_whoever_asks_first_waits_until_something_comes() -> None:
    queue = intake()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.offer(item("one"), fresh=True)
    assert (await waiting).item.ft_order_id == "one"


async def test_one_who_stops_waiting_takes_nothing_with_him() -> None:
    queue = intake()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.offer(item("one"), fresh=True)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(10):
        assert (await queue.take()).item.ft_order_id == "one"


async def test_a_closed_intake_takes_nothing_in() -> None:
    queue = intake()
    queue.close()
    assert not queue.offer(item("one"), fresh=True)
    assert (len(queue), queue.busy) == (0, 0)


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-22T12:00:00+00:00",
        "2026-11-22 12:00:00+00",
        "2026-11-22T12:00:00",
        "2026-11-22T13:00:00+01:00",
    ],
)
def test_an_insert_time_is_read_however_its_source_writes_it(written: str) -> None:
    assert insert_time({"created_at": written}) == NOON


@pytest.mark.parametrize("written", [None, "", "yesterday"])
def test_an_unknown_insert_time_is_none_and_is_served_last(written: str | None) -> None:
    assert insert_time({"created_at": written}) is None


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("take"), st.just(0), st.just(False)),
        st.tuples(st.just("done"), st.integers(0, 30), st.just(False)),
    ),
    max_size=80,
)


@given(OPERATIONS)
@settings(max_examples=150, deadline=None)
def test_whatever_happens_no_pair_is_queued_twice_and_the_best_is_served_first(
    operations: list[tuple[str, int, bool]],
) -> None:
    """A number is a signal's age. A full lane keeps the youngest."""

    async def play() -> None:
        queue = intake(16)
        waiting: dict[str, bool] = {}  # name -> fresh
        serving: dict[str, Pair] = {}
        for verb, number, fresh in operations:
            name = str(number)
            match verb:
                case "offer":
                    lane = [int(one) for one in waiting if waiting[one] is fresh]
                    full = len(lane) >= 16
                    fits = name not in waiting and name not in serving and not (full and max(lane) <= number)
                    assert bool(queue.offer(item(name, age_s=number), fresh=fresh)) is fits
                    if fits:
                        if full:
                            del waiting[str(max(lane))]
                        waiting[name] = fresh
                case "take" if waiting:
                    served = await queue.take()
                    best = min(waiting, key=lambda one: (not waiting[one], int(one)))
                    assert served.item.ft_order_id == best
                    del waiting[best]
                    serving[best] = served
                case "done" if name in serving:
                    queue.done(serving.pop(name))
                case _:
                    pass
            assert len(queue) == len(waiting)
            assert queue.busy == len(waiting) + len(serving)

    asyncio.run(play())
