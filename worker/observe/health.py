"""Whether the worker can trade now, and if not, why: the one place where every part reports its state."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.orders.ports import Clock


class Level(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"  # trading, but something is slower or blinder than it should be
    FAILING = "failing"  # not trading


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    level: Level
    detail: str
    since: datetime


class Health:
    """A part reports under its own name; the worst report is the state of the whole."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._checks: dict[str, Check] = {}

    def report(self, name: str, level: Level, detail: str = "") -> bool:
        """Returns True if the level changed, so that the caller logs a change and not a heartbeat."""
        known = self._checks.get(name)
        changed = known is None or known.level is not level
        since = self._clock.now() if changed or known is None else known.since
        self._checks[name] = Check(name, level, detail, since)
        return changed

    @property
    def checks(self) -> tuple[Check, ...]:
        return tuple(self._checks.values())

    @property
    def level(self) -> Level:
        levels = {check.level for check in self._checks.values()}
        if Level.FAILING in levels:
            return Level.FAILING
        return Level.DEGRADED if Level.DEGRADED in levels else Level.OK

    def sentence(self) -> str:
        """What `systemctl status` shows: `trading`, or what is wrong."""
        wrong = [f"{check.name}: {check.detail}" for check in self.checks if check.level is not Level.OK]
        words = {Level.OK: "trading", Level.DEGRADED: "trading, degraded", Level.FAILING: "NOT trading"}
        return words[self.level] + (f" ({'; '.join(wrong)})" if wrong else "")
