"""Work that must not be cut off in the middle, and its end at the stop."""

import asyncio

import pytest

from worker.execution.inflight import InFlight


class Errand:
    """Something that takes as long as the test wants, and says how it ended."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ended = ""

    async def run(self) -> str:
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ended = "cut off"
            raise
        self.ended = "done"
        return self.ended


async def begun(in_flight: InFlight, errand: Errand) -> asyncio.Task[str]:
    waiting = asyncio.create_task(in_flight.shielded(errand.run(), name="errand"))
    await asyncio.sleep(0)
    return waiting


async def test_whoever_waits_gets_the_result() -> None:
    in_flight, errand = InFlight(), Errand()
    waiting = await begun(in_flight, errand)
    errand.may_end.set()
    assert await waiting == "done"
    assert len(in_flight) == 0


async def test_a_cancelled_waiter_leaves_the_work_alone_and_the_drain_waits_for_it() -> None:
    in_flight, errand = InFlight(), Errand()
    waiting = await begun(in_flight, errand)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (len(in_flight), errand.ended) == (1, "")
    draining = asyncio.create_task(in_flight.drain(5))
    errand.may_end.set()
    assert await draining == 0
    assert (len(in_flight), errand.ended) == (0, "done")


async def test_what_outlasts_the_drain_is_cut_off_and_counted() -> None:
    in_flight, errand = InFlight(), Errand()
    waiting = await begun(in_flight, errand)
    waiting.cancel()
    assert await in_flight.drain(0.01) == 1
    assert (len(in_flight), errand.ended) == (0, "cut off")


async def test_an_error_reaches_the_waiter_and_nobody_else() -> None:
    in_flight = InFlight()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("of the errand")

    with pytest.raises(ValueError, match="of the errand"):
        await in_flight.shielded(fail(), name="errand")
    assert await in_flight.drain(1) == 0


async def test_with_nothing_under_way_the_drain_is_over_at_once() -> None:
    assert await InFlight().drain(60) == 0


async def test_a_witness_learns_of_all_that_was_under_way_however_short() -> None:
    in_flight, before, within = InFlight(), Errand(), Errand()
    began = await begun(in_flight, before)
    with in_flight.witnessed() as seen:
        before.may_end.set()
        await began
        within.may_end.set()
        await in_flight.shielded(within.run(), name="short errand")
        assert set(seen) == {"errand", "short errand"}
    within_after = Errand()
    within_after.may_end.set()
    await in_flight.shielded(within_after.run(), name="later errand")
    assert "later errand" not in seen
