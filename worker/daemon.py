"""The composition root of `run`: the trading half, the hearing half and the watch, started in order, drained on stop.

Ready means: configured, the schema checked, leases taken, earlier attempts looked up, the backlog queued, and the
feed live or declared degraded. Trading begins before that, with the first signal that arrives.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

import structlog

from worker import parts
from worker.adapters import Adapters, open_adapters
from worker.after import make_patterns
from worker.execution.steps import Observer
from worker.handlers.lookback import Lookback
from worker.observe.endpoints import Endpoints
from worker.observe.notify import ServiceManager
from worker.observe.vitals import Phase, Vitals
from worker.settings import Settings
from worker.supervision import Stopping, essential, restartable
from worker.trading import Trading

log = structlog.get_logger(__name__)


class Daemon:
    """Everything that runs in the process, wired once."""

    def __init__(
        self, settings: Settings, adapters: Adapters, service: ServiceManager, *, backfill: bool = True
    ) -> None:
        """`backfill` False: what was inserted before this start is left to a later one."""
        ground = parts.Ground.of(settings, adapters, service)
        self._settings = settings
        self._service = service
        self._backfill = backfill
        self.metrics = ground.metrics
        self.health = ground.health
        self._patterns = make_patterns(ground, feed_silent_since_s=lambda: self._hearing.watch.silent_since_s)
        self._trading = Trading(
            ground,
            on_decided=self._patterns.decided,
            on_due=lambda: self._hearing.sweep.ask(),  # noqa: PLW0108 - made below
        )
        self._hearing = parts.make_hearing(
            ground,
            intake=self._trading.intake,
            strategies=self._trading.strategies,
            without=self._trading.out_of_reach,
        )
        self._watch = parts.make_watch(
            ground,
            wallets=self._trading.wallets,
            sender=self._trading.sender,
            feed_watch=self._hearing.watch,
        )
        self._vitals = Vitals(
            self.health, self.metrics, still=ground.pulse.still, loop_ages=ground.pulse.ages
        )
        self.metrics.build_info.labels(version("polycopy-worker"), settings.mode).set(1)

    async def run(self, lookback: Lookback, stopping: Stopping) -> None:
        """Start, serve until a stop is asked for, then drain: also what a start that is cut off or fails has begun.

        A failed essential task ends it with that task's error. Raises `WorkerError` where it cannot start.
        """
        seen = self._see()
        try:
            async with stopping.cuts_off():
                await self._start(lookback)
            if stopping.asked.is_set():
                log.info("daemon.start_cut_off")
            else:
                await self._serve(stopping)
        finally:
            await self._trading.stop(stopping.hurry)
            for task in seen:
                task.cancel()

    def _see(self) -> list[asyncio.Task[None]]:
        """From the start to the last order of a drain a monitor is told how it stands."""
        if (port := self._settings.endpoints.port) is None:
            return []
        work = restartable("endpoints", Endpoints(port, self._vitals).run, self.metrics)
        return [asyncio.create_task(work, name="endpoints")]

    async def _start(self, lookback: Lookback) -> None:
        """Everything that must be true before the first signal is served."""
        await self._trading.start(lookback)
        await self._watch.ask_exchange()
        if not self._backfill:
            self._hearing.sweep.leave_what_came_before()
            log.warning(
                "backfill.left_out", fix="start without --no-backfill, or run --backfill-only, to decide it"
            )

    async def _serve(self, stopping: Stopping) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in self._tasks().items()]
            await stopping.asked.wait()
            self._service.stopping("draining")
            self._vitals.phase = Phase.DRAINING
            self._trading.intake.close()
            for task in tasks:
                task.cancel()

    def _tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        tasks = self._trading.tasks()
        tasks["sweep"] = essential("sweep", self._hearing.sweep.run())
        tasks["watch"] = essential("watch", self._watch.run())
        tasks["exchange-health"] = restartable("exchange-health", self._watch.run_exchange, self.metrics)
        tasks["ready"] = self._start_serving()
        if self._settings.patterns.enabled:
            tasks["patterns"] = restartable("patterns", self._patterns.run, self.metrics)
        if self._settings.feed.enabled:
            tasks["feed"] = restartable("feed", self._hearing.feed.run, self.metrics)
            tasks["canary"] = restartable("canary", self._hearing.canary.run, self.metrics)
        if self._hearing.listener is not None:
            tasks["listener"] = restartable("listener", self._hearing.listener.run, self.metrics)
            tasks["notices"] = restartable("notices", self._hearing.notices.run, self.metrics)
        return tasks

    async def _start_serving(self) -> None:
        await self._hearing.sweep.begun.wait()
        await self._watch.announce_ready()
        self._vitals.phase = Phase.SERVING


async def serve(
    settings: Settings,
    *,
    lookback: Lookback | None = None,
    backfill: bool = True,
    observer: Observer | None = None,
) -> None:
    """The whole life of `polycopy-worker run`: open, start, serve until SIGTERM or SIGINT, drain.

    The first one cuts a start short. A second stops waiting for the exchange: what is under way may stay in doubt,
    and is looked up at the next start. `observer` hears of every step that crosses to the database or the exchange
    (`execution/steps.py`).
    """
    stopping = Stopping.on_signals()
    async with AsyncExitStack() as stack:
        daemon: Daemon | None = None
        async with stopping.cuts_off():
            opened = await stack.enter_async_context(open_adapters(settings))
            daemon = Daemon(settings, opened.stepped(observer), ServiceManager(), backfill=backfill)
        if daemon is not None:
            await daemon.run(lookback or Lookback(), stopping)
