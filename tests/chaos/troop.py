"""Workers that are started, struck down and started again, as many at a time as were asked for.

Each life is a fork of one process that has imported everything already, so that a restart costs a start of the
daemon and not of Python. That a life ended by a kill is known from how it ended, not from what it said.
"""

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from time import monotonic

from tests.chaos.appointments import Appointments
from tests.chaos.schedule import AT_A_STOP, Blow, Misfortune, Schedule
from tests.chaos.victim import live

_LOOK_EVERY_S = 0.03
_TAKEN_OVER_AT_ONCE_SHARE = 0.75
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
    # What the program itself imports: a fork runs that once more.
    "tests.chaos.judge",
    "tests.chaos.plan",
    "tests.chaos.signals",
]
AT_RANDOM = "at random"


@dataclass(slots=True)
class Life:
    """One process of a worker."""

    name: str
    process: ForkServerProcess
    appointments: Appointments
    log_file: Path
    began_s: float

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
        appointments = Appointments(self._context.RawArray, misfortune)
        log_file = self._logs / f"{name}.log"
        log_file.touch()
        process = self._context.Process(target=live, args=(environment, log_file, appointments), name=name)
        process.start()
        life = Life(name, process, appointments, log_file, monotonic())
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

    `stop_after_s`: who is to meet it at a stop is told to stop then. `settled_after_s`: who lives on then, in a run
    that has to strike every point, dies at whichever is short that he comes by first; he who is to fall asleep, later.
    """

    life_most_s: float
    pause_s: float
    stop_after_s: float
    settled_after_s: float


class Tormentor:
    """Keeps a troop at its number while it is struck down, until there were kills enough, and enough at every point."""

    def __init__(
        self,
        troop: Troop,
        schedule: Schedule,
        *,
        workers: int,
        kills: int,
        pace: Pace,
        end_leases: Callable[[Life], Awaitable[None]],
    ) -> None:
        """`end_leases` of the dead: where every point has to be struck, most takeovers come at once."""
        self._troop = troop
        self._schedule = schedule
        self._workers = workers
        self._wanted = kills
        self._pace = pace
        self._end_leases = end_leases
        self.kills: Counter[str] = Counter()
        self.pauses = 0

    @property
    def done(self) -> int:
        return self.kills.total()

    @property
    def left(self) -> int:
        """How many kills there have to be still."""
        return max(self._wanted - self.done, sum(self._schedule.short.values()))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._fill_a_place())

    async def _fill_a_place(self) -> None:
        while self.left:
            misfortune = self._schedule.next_life()
            life = self._troop.start(misfortune)
            await self._follow(life, misfortune)

    def _at_a_stop(self, life: Life) -> Life:
        """Who is told to stop. Only he who submits has something to hand back: mostly the one who has lived longest."""
        return min(self._troop.living, key=lambda one: one.began_s) if self._schedule.short else life

    async def _follow(self, life: Life, misfortune: Misfortune) -> None:
        struck_from_outside = False
        stops = misfortune.point.step in AT_A_STOP
        settled_after_s = (
            self._pace.settled_after_s if misfortune.blow is Blow.KILL else self._pace.life_most_s / 2
        )
        while (code := life.process.exitcode) is None:
            if not self.left:
                return  # it lives on, and is replaced with the others
            age_s = monotonic() - life.began_s
            if stops and age_s > self._pace.stop_after_s:
                self._at_a_stop(life).signal(signal.SIGTERM)
                stops = False
            elif not stops and age_s > settled_after_s and (short := self._schedule.short):
                life.appointments.widen(short)
            if misfortune.blow is Blow.PAUSE and life.paused:
                self.pauses += 1
                await asyncio.sleep(self._pace.pause_s)  # the pause is what is under test
                life.signal(signal.SIGCONT)
            elif age_s > self._pace.life_most_s:
                struck_from_outside = True
                life.signal(signal.SIGKILL)
            await asyncio.sleep(_LOOK_EVERY_S)
        self._troop.bury(life)
        met = life.appointments.met
        self._schedule.life_ended(misfortune, met=met)
        if code == -signal.SIGKILL:
            assert met is not None or struck_from_outside, f"who killed {life.name}?"
            self.kills[AT_RANDOM if met is None else str(met)] += 1
            if self._schedule.short and self._schedule.strikes(_TAKEN_OVER_AT_ONCE_SHARE):
                await self._end_leases(life)
