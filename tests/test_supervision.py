"""How background tasks end: an essential one takes the process with it, a restartable one begins again."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.eventually import eventually
from worker import supervision
from worker.errors import ConfigError, DatabaseUnreachable, WorkerError
from worker.observe.metrics import Metrics
from worker.supervision import Stopping, essential, restartable


async def at_once() -> None:
    return


async def with_an_error() -> None:
    raise ConfigError("A setting is wrong.")


async def test_the_end_of_an_essential_task_is_an_error_that_names_it() -> None:
    with pytest.raises(WorkerError, match="task sweep ended by itself"):
        await essential("sweep", at_once())


async def test_the_error_of_an_essential_task_is_passed_on_as_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^A setting is wrong\.$"):
        await essential("sweep", with_an_error())


async def test_the_end_of_an_essential_task_stops_the_others_of_its_group() -> None:
    others = asyncio.Event()

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            others.set()

    async def everything() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            group.create_task(essential("sweep", at_once()))

    with pytest.raises(ExceptionGroup) as stopped:
        await everything()
    assert stopped.group_contains(WorkerError)
    assert others.is_set()


class Sessions:
    """Something that ends again and again, by itself or by an error, in turn."""

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = ends
        self.metrics = Metrics()
        self.began_s: list[float] = []

    async def begin(self) -> None:
        self.began_s.append(asyncio.get_running_loop().time())
        end = self._ends[(len(self.began_s) - 1) % len(self._ends)]
        if end is not None:
            raise end

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(restartable("feed", self.begin, self.metrics))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()

    def failures(self) -> float:
        value = self.metrics.registry.get_sample_value("polycopy_task_failures_total", {"task": "feed"})
        return value or 0.0


@pytest.fixture
def brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(supervision, "_BACKOFF_MOST_S", 0.16)


@pytest.mark.parametrize("end", [None, DatabaseUnreachable("no answer"), ValueError("odd")])
async def test_whatever_ends_a_restartable_task_it_begins_again_and_is_counted(
    brief_pauses: None, end: Exception | None
) -> None:
    sessions = Sessions(end)
    async with sessions.running():
        await eventually(lambda: len(sessions.began_s) >= 3)
        assert sessions.failures() >= 2


async def test_the_pauses_between_two_beginnings_grow_to_a_limit(
    brief_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    sessions = Sessions(None)
    async with sessions.running():
        # Ten pauses: without a limit the last ones alone would take longer than this waits.
        await eventually(lambda: len(sessions.began_s) >= 11)
    pauses_s = [later - sooner for sooner, later in zip(sessions.began_s, sessions.began_s[1:], strict=False)]
    for pause_s, least_s in zip(pauses_s, (0.02, 0.04, 0.08, *[0.16] * 7), strict=False):
        assert pause_s >= least_s - 0.005


async def test_a_healthy_stretch_makes_the_next_pause_short_again(
    brief_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_HEALTHY_AFTER_S", -1.0)  # every stretch is healthy
    monkeypatch.setattr(supervision, "_BACKOFF_MOST_S", 60.0)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    sessions = Sessions(None)
    async with sessions.running():
        await eventually(lambda: len(sessions.began_s) >= 12)  # 40 s, if each pause were twice the last


async def test_a_restartable_task_can_be_cancelled_while_it_waits() -> None:
    sessions = Sessions(None)
    task = asyncio.create_task(restartable("feed", sessions.begin, sessions.metrics))
    await eventually(lambda: sessions.began_s)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_cuts_off_the_block_that_waits_and_nothing_behind_it() -> None:
    stopping = Stopping()
    asyncio.get_running_loop().call_soon(stopping.ask)
    async with stopping.cuts_off():
        await asyncio.Event().wait()
    await asyncio.sleep(0)
    assert stopping.asked.is_set()
    assert not stopping.hurry.is_set()


async def test_a_block_that_begins_after_the_stop_does_not_wait() -> None:
    stopping = Stopping()
    stopping.ask()
    async with stopping.cuts_off():
        await asyncio.Event().wait()


async def test_the_errors_of_a_block_that_may_be_cut_off_are_its_own() -> None:
    stopping = Stopping()
    with pytest.raises(TimeoutError):
        async with stopping.cuts_off():
            raise TimeoutError
    with pytest.raises(ConfigError):
        async with stopping.cuts_off():
            await with_an_error()


async def test_only_the_second_word_is_to_hurry() -> None:
    stopping = Stopping()
    async with stopping.cuts_off():
        stopping.ask()
        stopping.ask()
    assert stopping.hurry.is_set()
