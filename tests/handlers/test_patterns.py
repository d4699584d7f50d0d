"""A systematic fault is told once when it begins and once when it is over, and is seen in between."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.observe.test_health import Wristwatch
from tests.orders.test_patterns import THRESHOLDS
from worker.execution.submit import Received
from worker.handlers.ft_orders import Decided, Outcome
from worker.handlers.intake import Item, LaneName, Pair
from worker.handlers.patterns import Patterns
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.orders.lifecycle import AttemptState
from worker.orders.reasons import SkipReason
from worker.orders.terms import FtOrderId, Mode, OrderType, StrategyId

WINDOW_S = 600.0


@dataclass
class Scene:
    watch: Wristwatch = field(default_factory=Wristwatch)
    metrics: Metrics = field(default_factory=Metrics)
    signals: int = 0

    def __post_init__(self) -> None:
        self.health = Health(self.watch)
        self.heard_s = self.watch.monotonic()
        self.patterns = Patterns(
            THRESHOLDS,
            window_s=WINDOW_S,
            every_s=10,
            feed_silent_since_s=lambda: self.heard_s,
            clock=self.watch,
            health=self.health,
            metrics=self.metrics,
        )

    def decided(
        self,
        outcome: Outcome,
        reason: SkipReason | None = None,
        *,
        state: AttemptState | None = None,
        times: int = 1,
    ) -> None:
        for _ in range(times):
            self.signals += 1
            item = Item(FtOrderId(str(self.signals)), {}, None, "sweep", Received.now(self.watch))
            pair = Pair(item, StrategyId("LT_ONE"), LaneName.FRESH)
            kind = OrderType.FAK if state is not None else None
            self.patterns.decided(Decided(pair, outcome, reason, Mode.LIVE, state, kind))

    def looks(self, *, after_s: float = 10) -> list[dict[str, Any]]:
        """What a look tells."""
        self.watch.at += timedelta(seconds=after_s)
        with capture_logs() as lines:
            self.patterns.judge()
        return [dict(line) for line in lines]

    @property
    def detail(self) -> str:
        (check,) = (one for one in self.health.checks if one.name == "patterns")
        return check.detail

    def gauge(self, pattern: str) -> float | None:
        return self.metrics.registry.get_sample_value("polycopy_patterns", {"pattern": pattern})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_what_begins_is_told_once_with_its_explanation_and_what_ends_once_too(scene: Scene) -> None:
    scene.heard_s = scene.watch.monotonic() + 10_000  # the feed is no matter here
    scene.decided(Outcome.SKIPPED, SkipReason.PRICE_MOVED, times=7)
    (told,) = scene.looks()
    assert (told["event"], told["log_level"]) == ("pattern.found", "error")
    assert (told["pattern"], told["subject"], told["count"], told["of"]) == (
        "one_reason",
        "price_moved",
        7,
        7,
    )
    assert SkipReason.PRICE_MOVED.sentence in told["why"]
    assert "explain 7" in told["fix"]
    assert (scene.health.level, scene.detail) == (Level.DEGRADED, "one_reason price_moved")
    assert scene.gauge("one_reason") == 1
    scene.decided(Outcome.SKIPPED, SkipReason.PRICE_MOVED, times=3)
    assert scene.looks() == []
    assert scene.detail == "one_reason price_moved"  # the same words: a change of them would be news
    (over,) = scene.looks(after_s=WINDOW_S)
    assert (over["event"], over["lasted_s"]) == ("pattern.over", WINDOW_S + 10)
    assert (scene.health.level, scene.gauge("one_reason")) == (Level.OK, 0)


def test_one_that_comes_and_goes_is_not_cried_out_again_within_the_window(scene: Scene) -> None:
    scene.heard_s = scene.watch.monotonic() + 10_000
    levels = []
    for _ in range(3):
        scene.decided(Outcome.EXECUTED, state=AttemptState.KILLED, times=5)
        levels += [line["log_level"] for line in scene.looks() if line["event"] == "pattern.found"]
        scene.decided(Outcome.EXECUTED, state=AttemptState.MATCHED)
        assert [line["event"] for line in scene.looks()] == ["pattern.over"]
    assert levels == ["error", "debug", "debug"]


def test_a_signal_that_is_put_off_or_was_not_sent_is_no_decision_yet(scene: Scene) -> None:
    scene.heard_s = scene.watch.monotonic() + 10_000
    scene.decided(Outcome.DEFERRED, SkipReason.EXCHANGE_POST_ONLY, times=20)
    scene.decided(Outcome.ABANDONED, state=AttemptState.ABANDONED, times=20)
    assert scene.looks() == []


def test_a_feed_that_brings_nothing_while_signals_arrive_is_told_until_it_brings_one(scene: Scene) -> None:
    for _ in range(6):
        scene.decided(Outcome.EXECUTED, state=AttemptState.MATCHED)
        scene.looks(after_s=49)
    (told,) = scene.looks(after_s=10)
    assert told["pattern"] == "feed_silent"
    assert "5 minutes" in told["why"]
    scene.heard_s = scene.watch.monotonic()
    assert [line["event"] for line in scene.looks()] == ["pattern.over"]


def test_memory_of_decisions_is_bounded(scene: Scene) -> None:
    scene.decided(Outcome.SKIPPED, SkipReason.PRICE_MOVED, times=6_000)
    assert len(scene.patterns._events) == 5_000
