"""A stop of `run --backfill-only` cuts the walk and nothing else: what was begun is brought to its end, and told."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.exchange_floor import WallClock
from worker import parts
from worker.errors import WorkerError
from worker.handlers.lookback import Lookback
from worker.orders.ports import WorkBatch
from worker.orders.terms import Mode
from worker.supervision import Stopping
from worker.verbs import backfill
from worker.verbs.backfill_report import Report, Tally


class Venue:
    """A trading half whose only task fails at once, and whose drain lasts until somebody lets it end."""

    def __init__(self, *_: object, **__: object) -> None:
        self.intake = SimpleNamespace(full=list, busy=1)
        self.draining = asyncio.Event()
        self.drained = asyncio.Event()
        self.released = False
        self.starting = asyncio.Event()
        self.started = asyncio.Event()
        self.started.set()

    async def start(self, _: Lookback) -> None:
        self.starting.set()
        await self.started.wait()

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        async def signals() -> None:
            raise WorkerError("The signals ended.")

        return {"signals": signals()}

    def out_of_reach(self) -> list[str]:
        return []

    async def stop(self, _: asyncio.Event) -> None:
        self.draining.set()
        await self.drained.wait()
        self.released = True


class Errand:
    """`run --backfill-only` at work beside the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.venue, self.stopping = Venue(), Stopping()
        adapters = SimpleNamespace(clock=WallClock(), ledger=SimpleNamespace(work=self._nothing_comes))
        ground = SimpleNamespace(adapters=adapters)
        opened: Callable[[object], AbstractAsyncContextManager[object]] = lambda _: nullcontext(adapters)  # noqa: E731
        monkeypatch.setattr(backfill, "open_adapters", opened)
        monkeypatch.setattr(parts.Ground, "of", lambda *_: ground)
        monkeypatch.setattr(backfill, "Trading", lambda *_, **__: self.venue)
        monkeypatch.setattr(Stopping, "on_signals", lambda: self.stopping)

    async def _nothing_comes(self, **_: object) -> None:
        await asyncio.Event().wait()

    def begin(self) -> "asyncio.Task[Report]":
        settings: Any = SimpleNamespace(mode=Mode.PAPER)
        return asyncio.create_task(backfill.work_off(settings, backfill.Errand(Lookback()), Tally(found=1)))


@pytest.fixture
def errand(monkeypatch: pytest.MonkeyPatch) -> Errand:
    return Errand(monkeypatch)


async def test_the_first_stop_cuts_no_drain_and_hides_no_failure(errand: Errand) -> None:
    working = errand.begin()
    await errand.venue.draining.wait()
    errand.stopping.ask()
    await asyncio.sleep(0.05)
    assert not working.done()
    errand.venue.drained.set()
    report = await working
    assert errand.venue.released
    assert isinstance(report.failure, ExceptionGroup)


async def test_a_stop_during_the_start_ends_it_and_hands_back_what_it_took(errand: Errand) -> None:
    errand.venue.started.clear()
    errand.venue.drained.set()
    working = errand.begin()
    await errand.venue.starting.wait()
    errand.stopping.ask()
    report = await working
    assert (report.interrupted, report.failure) == (True, None)
    assert errand.venue.released


async def test_a_walk_ends_though_its_bookmark_does_not_move() -> None:
    asked: list[backfill.Bookmark | None] = []

    async def ask(bookmark: backfill.Bookmark | None) -> WorkBatch:
        asked.append(bookmark)
        return WorkBatch((), more=True, bookmark={}, strategies_version="v")

    async with asyncio.timeout(20):
        assert [page async for page in backfill.pages(ask)] == [(), ()]
    assert asked == [None, {}]
