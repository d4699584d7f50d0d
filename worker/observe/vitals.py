"""How the process does, for whoever asks it: whether it lives, whether it can trade now, and the figures that nobody
counts as he goes.
"""

import resource
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics

_LEVELS: Final = {Level.OK: 0, Level.DEGRADED: 1, Level.FAILING: 2}
_PAGES = Path("/proc/self/statm")


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


class Vitals:
    def __init__(
        self,
        health: Health,
        metrics: Metrics,
        *,
        still: Callable[[], list[str]],
        loop_ages: Callable[[], Mapping[str, float]],
    ) -> None:
        """`still`: the essential loops that stand still. `loop_ages`: how many seconds ago each of them turned."""
        self.phase = Phase.STARTING
        self.health = health
        self.metrics = metrics
        self._still = still
        self._loop_ages = loop_ages
        self._counted_s = 0.0

    @property
    def is_ready(self) -> bool:
        """It can trade now."""
        return self.phase is Phase.SERVING and self.health.level is not Level.FAILING

    def life(self) -> dict[str, Any]:
        """What `/livez` says: {alive, still}."""
        still = self._still()
        return {"alive": not still, "still": still}

    def state(self) -> dict[str, Any]:
        """What `/readyz` says: {ready, phase, level, sentence, checks: [{name, level, detail, since}]}."""
        checks = [
            {"name": one.name, "level": one.level, "detail": one.detail, "since": one.since.isoformat()}
            for one in self.health.checks
        ]
        return {
            "ready": self.is_ready,
            "phase": self.phase,
            "level": self.health.level,
            "sentence": self.health.sentence(),
            "checks": checks,
        }

    def refresh(self) -> None:
        """Bring the figures up to now."""
        metrics = self.metrics
        metrics.ready.set(self.is_ready)
        for check in self.health.checks:
            metrics.check_level.labels(check.name).set(_LEVELS[check.level])
        for name, age_s in self._loop_ages().items():
            metrics.loop_age_s.labels(name).set(age_s)
        used = resource.getrusage(resource.RUSAGE_SELF)
        counted_s, self._counted_s = self._counted_s, used.ru_utime + used.ru_stime
        metrics.cpu_s.inc(max(self._counted_s - counted_s, 0))
        metrics.memory_bytes.set(int(_PAGES.read_text().split()[1]) * resource.getpagesize())
