"""Workers that are started, struck down and started again, as many at a time as were asked for.

Each life is a fork of one process that has imported everything already, so that a restart costs a start of the
daemon and not of Python. Which point a life ended at is known from how it ended, not from what it said.
"""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from time import monotonic

from tests.chaos.schedule import AT_A_STOP, Blow, Misfortune, Schedule
from tests.chaos.victim import AT, live

_LOOK_EVERY_S = 0.03
_STOPPED = frozenset({"T", "t"})
# The last few are imported by the SDK and by httpx only when they are first used.
_PRELOADED = [
    "tests.chaos.victim",
    "worker.daemon",
    "worker.exchange.polymarket.exchange",
    "httpcore",
    "h2.connection",
    "anyio._backends._asyncio",
    "polymarket._internal.streams.clob.user",
]
AT_RANDOM = "at random"


@dataclass(slots=True)
class Life:
    """One process of a worker."""

    name: str
    process: ForkServerProcess
    misfortune: Misfortune | None
    log_file: Path
    began_s: float
    struck_from_outside: bool = False

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def paused(self) -> bool:
        """Whether it is stopped by SIGSTOP now."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] in _STOPPED

    @property
    def last_words(self) -> str:
        return " | ".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-3:])

    def signal(self, number: signal.Signals) -> None:
        if self.process.is_alive():
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(self.pid, number)

    async def ended(self, *, within_s: float) -> int | None:
        """Its exit code; None if it lives on."""
        await asyncio.to_thread(self.process.join, within_s)
        return self.process.exitcode


class Troop:
    def __init__(
        self,
        environment: Mapping[str, str],
        logs: Path,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._environment = environment
        self._logs = logs
        self._say = say
        self._number = 0
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self.living: list[Life] = []
        self.ended_by_themselves: Counter[int] = Counter()

    def start(self, misfortune: Misfortune | None = None) -> Life:
        self._number += 1
        name = f"life-{self._number}"
        environment = {**self._environment, "POLYCOPY_WORKER_ID": name}
        if misfortune:
            environment[AT] = misfortune.as_text()
        log_file = self._logs / f"{name}.log"
        log_file.touch()
        process = self._context.Process(target=live, args=(environment, log_file), name=name)
        process.start()
        life = Life(name, process, misfortune, log_file, monotonic())
        self.living.append(life)
        return life

    def bury(self, life: Life) -> None:
        """It has ended: forget it, and tell of an end that nobody had planned."""
        self.living.remove(life)
        code = life.process.exitcode
        if code is not None and code != -signal.SIGKILL:
            self.ended_by_themselves[code] += 1
            self._say(f"{life.name} ended by itself with code {code}: {life.last_words}")

    async def strike(self, life: Life) -> None:
        """SIGKILL, and forget it."""
        life.signal(signal.SIGKILL)
        await life.ended(within_s=5)
        self.bury(life)

    async def stop(self, *, within_s: float = 15.0) -> dict[str, int | None]:
        """SIGTERM to everyone: exit codes by name, None for those that had to be killed."""
        lives = list(self.living)
        for life in lives:
            life.signal(signal.SIGTERM)
        codes = {life.name: await life.ended(within_s=within_s) for life in lives}
        self.kill()
        return codes

    def kill(self) -> None:
        """SIGKILL to everyone who is left."""
        for life in self.living:
            life.signal(signal.SIGKILL)
            life.process.join(5)
        self.living.clear()


@dataclass(frozen=True, slots=True)
class Pace:
    """`life_most_s`: who has not met his misfortune by then is killed at random. `pause_s`: longer than a lease.

    `stop_after_s`: who is to meet it at his stop is told to stop then.
    """

    life_most_s: float
    pause_s: float
    stop_after_s: float


class Tormentor:
    """Keeps a troop at its number while it is struck down, until there were kills enough."""

    def __init__(self, troop: Troop, schedule: Schedule, *, workers: int, kills: int, pace: Pace) -> None:
        self._troop = troop
        self._schedule = schedule
        self._workers = workers
        self._wanted = kills
        self._pace = pace
        self.kills: Counter[str] = Counter()
        self.pauses = 0

    @property
    def done(self) -> int:
        return self.kills.total()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._fill_a_place())

    async def _fill_a_place(self) -> None:
        while self.done < self._wanted:
            misfortune = self._schedule.next_life()
            life = self._troop.start(misfortune)
            await self._follow(life, misfortune)

    async def _follow(self, life: Life, misfortune: Misfortune) -> None:
        stop_after_s = self._pace.stop_after_s if misfortune.point.step in AT_A_STOP else float("inf")
        while (code := life.process.exitcode) is None:
            if self.done >= self._wanted:
                return  # it lives on, and is replaced with the others
            if monotonic() - life.began_s > stop_after_s:
                life.signal(signal.SIGTERM)
                stop_after_s = float("inf")
            if misfortune.blow is Blow.PAUSE and life.paused:
                self.pauses += 1
                await asyncio.sleep(self._pace.pause_s)  # the pause is what is under test
                life.signal(signal.SIGCONT)
            elif monotonic() - life.began_s > self._pace.life_most_s:
                life.struck_from_outside = True
                life.signal(signal.SIGKILL)
            await asyncio.sleep(_LOOK_EVERY_S)
        self._troop.bury(life)
        killed = code == -signal.SIGKILL
        self._schedule.life_ended(misfortune, struck=killed and not life.struck_from_outside)
        if killed:
            self.kills[AT_RANDOM if life.struck_from_outside else str(misfortune.point)] += 1
