"""The queue of signals: no signal twice, fresh before backlog, the newest of each first, each lane bounded by itself."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.execution.submit import Received
from worker.handlers.intake import Intake, Item, insert_time
from worker.observe.metrics import Metrics
from worker.orders.terms import FtOrderId

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def item(name: str, *, age_s: float = 0.0, source: str = "feed") -> Item:
    row = {"order_id": name, "created_at": (NOON - timedelta(seconds=age_s)).isoformat()}
    return Item(FtOrderId(name), row, None, source, Received(NOON, 0.0))


def intake(capacity: int = 100) -> Intake:
    return Intake(capacity=capacity, metrics=Metrics())


async def taken(queue: Intake) -> list[str]:
    """Everything that is queued, in the order in which it is served."""
    return [(await queue.take()).ft_order_id for _ in range(len(queue))]


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


async def test_a_signal_that_is_queued_or_being_decided_is_not_taken_in_again() -> None:
    queue = intake()
    assert queue.offer(item("one"), fresh=True)
    assert not queue.offer(item("one", source="sweep"), fresh=False)
    served = await queue.take()
    assert not queue.offer(item("one"), fresh=True)
    queue.done(served)
    assert queue.offer(item("one"), fresh=True)


async def test_a_backlog_however_long_keeps_no_fresh_signal_out() -> None:
    queue = intake(capacity=16)
    offered = [queue.offer(item(f"old {number}", age_s=600), fresh=False) for number in range(40)]
    assert offered.count(True) == 16
    assert queue.offer(item("new"), fresh=True)
    assert (await queue.take()).ft_order_id == "new"


async def test_a_signal_that_did_not_fit_may_be_offered_again() -> None:
    queue = intake(capacity=16)
    for number in range(16):
        queue.offer(item(str(number)), fresh=True)
    assert not queue.offer(item("late"), fresh=True)
    await queue.take()
    assert queue.offer(item("late"), fresh=True)


async def test_whoever_asks_first_waits_until_something_comes() -> None:
    queue = intake()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.offer(item("one"), fresh=True)
    assert (await waiting).ft_order_id == "one"


async def test_one_who_stops_waiting_takes_nothing_with_him() -> None:
    queue = intake()
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.offer(item("one"), fresh=True)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(20):
        assert (await queue.take()).ft_order_id == "one"


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
def test_whatever_happens_no_signal_is_queued_twice_and_none_is_lost(
    operations: list[tuple[str, int, bool]],
) -> None:
    async def play() -> None:
        queue = intake(capacity=16)
        waiting: dict[str, bool] = {}  # name -> fresh
        serving: dict[str, Item] = {}
        for verb, number, fresh in operations:
            name = str(number)
            match verb:
                case "offer":
                    room = list(waiting.values()).count(fresh) < 16
                    fits = name not in waiting and name not in serving and room
                    assert queue.offer(item(name, age_s=number), fresh=fresh) is fits
                    if fits:
                        waiting[name] = fresh
                case "take" if waiting:
                    served = await queue.take()
                    best = min(waiting, key=lambda one: (not waiting[one], int(one)))
                    assert served.ft_order_id == best
                    del waiting[best]
                    serving[best] = served
                case "done" if name in serving:
                    queue.done(serving.pop(name))
                case _:
                    pass
            assert len(queue) == len(waiting)
            assert queue.busy == len(waiting) + len(serving)

    asyncio.run(play())
