"""Time of the simulated exchange, and the agenda of what it will do later.

The clock is injected: `SystemClock` counts the nanoseconds PostgreSQL on the same machine counts,
`ManualClock` moves only when a test moves it. The agenda runs what is due, in order of due time.
"""

import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Protocol

NANOSECONDS = 1_000_000_000


class Clock(Protocol):
    def now_ns(self) -> int:
        """Wall-clock nanoseconds since the Unix epoch."""


class SystemClock:
    def now_ns(self) -> int:
        return time.time_ns()


class ManualClock:
    """Starts at `start_s` (Unix seconds) and moves only by `advance`."""

    def __init__(self, start_s: int = 1_795_000_000) -> None:
        self._now_ns = start_s * NANOSECONDS

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * NANOSECONDS)


class Agenda:
    """What happens later: expiries, delayed matches, settlement steps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = count()
        self.on_earlier: Callable[[], None] = lambda: None  # the driver's wake-up when the head changes

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self._clock.now_ns() + round(seconds * NANOSECONDS), action)

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        entry = (due_ns, next(self._sequence), action)
        heapq.heappush(self._due, entry)
        if self._due[0] is entry:
            self.on_earlier()

    def next_due_ns(self) -> int | None:
        return self._due[0][0] if self._due else None

    def run_due(self) -> int:
        """Runs everything whose time has come, and answers how many actions that were."""
        ran = 0
        while self._due and self._due[0][0] <= self._clock.now_ns():
            _, _, action = heapq.heappop(self._due)
            action()
            ran += 1
        return ran
