"""How background tasks end: an essential one takes the process with it, a restartable one begins again, a stop is asked.

A worker that limps is worse than one that stops: systemd restarts it, and the database knows what is left to do.
"""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from worker.errors import WorkerError
from worker.observe.metrics import Metrics

log = structlog.get_logger(__name__)

_BACKOFF_FIRST_S = 0.5
_BACKOFF_MOST_S = 30.0
_HEALTHY_AFTER_S = 60.0


class Pulse:
    """Which essential loops still turn. A process that only exists is not alive."""

    def __init__(self, now_s: Callable[[], float], *, still_after_s: float) -> None:
        self._now_s = now_s
        self._still_after_s = still_after_s
        self._beats: dict[str, float] = {}

    def beat(self, name: str) -> None:
        self._beats[name] = self._now_s()

    def ages(self) -> dict[str, float]:
        """How many seconds ago each loop that has begun turned."""
        now_s = self._now_s()
        return {name: now_s - beat_s for name, beat_s in self._beats.items()}

    def still(self) -> list[str]:
        """Loops that have begun and have not turned for too long."""
        since_s = self._now_s() - self._still_after_s
        return [name for name, beat_s in self._beats.items() if beat_s < since_s]


class Stopping:
    """A stop, asked for once; and a second time, not to wait for what is under way."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self._limits: set[asyncio.Timeout] = set()

    @classmethod
    def on_signals(cls) -> "Stopping":
        """From now on SIGTERM and SIGINT ask, and do not end the process."""
        stopping, loop = cls(), asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.ask)
        return stopping

    def ask(self) -> None:
        if self.asked.is_set():
            self.hurry.set()
            return
        self.asked.set()
        for limit in self._limits:
            limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def cuts_off(self) -> AsyncIterator[None]:
        """The block ends where it is, without an error, when a stop is asked for. What stands behind it runs on."""
        limit = asyncio.timeout(0 if self.asked.is_set() else None)
        self._limits.add(limit)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            self._limits.discard(limit)


async def essential(name: str, work: Awaitable[None]) -> None:
    """Runs as long as the process does. Its end, however it comes, ends the process."""
    await work
    raise WorkerError(f"The task {name} ended by itself; the worker stops rather than limp.")


async def restartable(name: str, begin: Callable[[], Awaitable[None]], metrics: Metrics) -> None:
    """Begins again after every end, with a growing, jittered pause that a healthy stretch resets."""
    pause_s = _BACKOFF_FIRST_S
    loop = asyncio.get_running_loop()
    while True:
        began_s = loop.time()
        try:
            await begin()
            log.warning("task.ended", task=name)
        except WorkerError as error:
            log.warning("task.failed", task=name, error=str(error))
        except Exception:
            log.exception("task.failed", task=name)
        metrics.task_failures.labels(name).inc()
        if loop.time() - began_s > _HEALTHY_AFTER_S:
            pause_s = _BACKOFF_FIRST_S
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        pause_s = min(pause_s * 2, _BACKOFF_MOST_S)
