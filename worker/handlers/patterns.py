"""What looks systematic is told once, when it begins and when it is over, and stands in the health in between.

Judged is what this process decided lately, from memory: the look costs no call, and a restart begins anew.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

import structlog

from worker.handlers.ft_orders import Decided, Outcome
from worker.handlers.intake import LaneName
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.orders.patterns import Event, Finding, Key, PatternKind, Thresholds, find
from worker.orders.ports import Clock

log = structlog.get_logger(__name__)

_EVENTS_MOST = 5000
_SAID_MOST = 3  # in the health


class Patterns:
    def __init__(
        self,
        thresholds: Thresholds,
        *,
        window_s: float,
        every_s: float,
        feed_silent_since_s: Callable[[], float | None],
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        """`feed_silent_since_s`: see `orders.patterns.find`."""
        self._thresholds = thresholds
        self._window_s = window_s
        self._every_s = every_s
        self._feed_silent_since_s = feed_silent_since_s
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._events: deque[Event] = deque(maxlen=_EVENTS_MOST)
        self._known: dict[Key, float] = {}  # since when, monotonic
        self._told: dict[Key, float] = {}

    def decided(self, decided: Decided) -> None:
        """Every decision of this process; what was put off is none yet."""
        if decided.mode is None or decided.outcome in {Outcome.DEFERRED, Outcome.ABANDONED}:
            return
        self._events.append(
            Event(
                at_s=self._clock.monotonic(),
                ft_order_id=decided.pair.item.ft_order_id,
                strategy_id=decided.pair.strategy_id,
                mode=decided.mode,
                is_fresh=decided.pair.lane is LaneName.FRESH,
                reason=decided.reason,
                state=decided.state,
                order_type=decided.order_type,
            )
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.judge()
            await asyncio.sleep(self._every_s)

    def judge(self) -> None:
        now_s = self._clock.monotonic()
        while self._events and self._events[0].at_s < now_s - self._window_s:
            self._events.popleft()
        found = {
            finding.key: finding
            for finding in find(
                self._events,
                self._thresholds,
                now_s=now_s,
                feed_silent_since_s=self._feed_silent_since_s(),
                known=self._known,
            )
        }
        for key in self._known.keys() - found.keys():
            kind, subject = key
            log.info(
                "pattern.over", pattern=kind, subject=subject, lasted_s=round(now_s - self._known.pop(key), 1)
            )
        for key, finding in found.items():
            if key not in self._known:
                self._known[key] = now_s
                self._tell(finding, now_s)
        self._report(list(found.values()))

    def _tell(self, finding: Finding, now_s: float) -> None:
        """One that has been told of within the window comes back in a low voice."""
        is_news = now_s - self._told.get(finding.key, -self._window_s) >= self._window_s
        if is_news:
            self._told[finding.key] = now_s
        (log.error if is_news else log.debug)(
            "pattern.found",
            pattern=finding.kind,
            subject=finding.subject,
            count=finding.count,
            of=finding.of,
            why=finding.why,
            fix=finding.fix,
        )

    def _report(self, found: list[Finding]) -> None:
        """In words that do not change while it lasts: each change of them is told."""
        counts = Counter(finding.kind for finding in found)
        for kind in PatternKind:
            self._metrics.patterns.labels(kind).set(counts[kind])
        said = "; ".join(f"{finding.kind} {finding.subject}".strip() for finding in found[:_SAID_MOST])
        more = f" and {len(found) - _SAID_MOST} more" if len(found) > _SAID_MOST else ""
        self._health.report("patterns", Level.DEGRADED if found else Level.OK, said + more)
