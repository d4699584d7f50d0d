"""A feed is judged by what it brings: missed and late signals, canaries, and a fresh session only where it may help."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.support.eventually import eventually
from worker.configuration.feed import CanarySettings, FeedSettings
from worker.database.realtime import FeedState
from worker.errors import DatabaseUnreachable
from worker.execution.submit import Received
from worker.feed.canary import Canary
from worker.feed.watch import FeedWatch
from worker.handlers.intake import Item
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.orders.terms import FtOrderId

FEED = FeedSettings()
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass
class HandClock:
    """Implements `orders.ports.Clock`; time passes when somebody says so."""

    elapsed_s: float = 1000.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s


@dataclass
class Stand:
    """A feed watch whose feed and database are the test itself."""

    settings: FeedSettings = FEED
    canaries: CanarySettings = field(default_factory=CanarySettings)
    renewals: list[str] = field(default_factory=list)
    sent: int = 0
    audible: bool = True
    outage: bool = False

    def __post_init__(self) -> None:
        self.clock = HandClock()
        self.health = Health(self.clock)
        self.metrics = Metrics()
        self.canary = Canary(
            self.canaries,
            send=self._send,
            audible=lambda: self.audible,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.watch = FeedWatch(
            self.settings,
            canary=self.canary,
            renew=self.renewals.append,
            clock=self.clock,
            health=self.health,
            metrics=self.metrics,
        )

    async def _send(self) -> int:
        if self.outage:
            raise DatabaseUnreachable("The database is away.")
        self.sent += 1
        return self.sent

    def live(self) -> "Stand":
        self.watch.changed(FeedState.LIVE)
        return self

    def after(self, seconds: float) -> None:
        """Time passes, judged every second as in production."""
        end_s = self.clock.elapsed_s + seconds
        while self.clock.elapsed_s < end_s:
            self.clock.elapsed_s = min(self.clock.elapsed_s + 1, end_s)
            self.watch.judge()

    def found(self, *, age_s: float = 0.2) -> tuple[FtOrderId, datetime]:
        """The sweep finds a new signal."""
        ft_order_id, inserted_at = FtOrderId(str(uuid.uuid4())), self.clock.now() - timedelta(seconds=age_s)
        row = {"order_id": ft_order_id, "created_at": inserted_at.isoformat()}
        received = Received(self.clock.now(), self.clock.monotonic())
        self.watch.found(Item(ft_order_id, row, None, "sweep", received))
        return ft_order_id, inserted_at

    def brought(self) -> None:
        """The feed brings a signal in time."""
        self.watch.brought(FtOrderId(str(uuid.uuid4())), self.clock.now() - timedelta(milliseconds=200))

    def goes_deaf(self) -> None:
        for _ in range(FEED.missed_most):
            self.found()
        self.after(FEED.late_after_s)
        assert not self.watch.flows

    def heard(self, canary_id: int) -> None:
        sent_at = self.clock.now() - timedelta(milliseconds=250)
        self.canary.heard({"canary_id": canary_id, "sent_at": sent_at.isoformat(), "worker": "anybody"})

    def level(self) -> Level:
        (check,) = self.health.checks
        return check.level

    def detail(self) -> str:
        (check,) = self.health.checks
        return check.detail

    def count(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"polycopy_feed_{name}_events_total") or 0.0


async def during(canary: Canary, then: Callable[[], Awaitable[object]]) -> None:
    task = asyncio.create_task(canary.run())
    try:
        await then()
    finally:
        task.cancel()


def test_a_signal_that_the_sweep_found_a_moment_before_the_feed_is_not_missed() -> None:
    stand = Stand().live()
    for _ in range(10):
        ft_order_id, inserted_at = stand.found()
        stand.clock.elapsed_s += 0.4
        stand.watch.brought(ft_order_id, inserted_at)
    stand.after(5)
    assert stand.count("missed") == 0
    assert stand.watch.flows


def test_a_signal_that_the_feed_brought_is_not_awaited_when_a_sweep_comes_back_with_it() -> None:
    stand = Stand().live()
    row = {"order_id": "one", "created_at": stand.clock.now().isoformat()}
    stand.clock.elapsed_s += 0.1
    stand.watch.brought(FtOrderId("one"), stand.clock.now())
    received = Received(stand.clock.now(), stand.clock.monotonic())
    stand.watch.found(Item(FtOrderId("one"), row, None, "sweep", received))
    stand.after(5)
    assert stand.count("missed") == 0


async def test_one_missed_signal_is_counted_and_sends_a_canary() -> None:
    stand = Stand(audible=False).live()
    stand.clock.elapsed_s += 1

    async def one_is_missed() -> None:
        await asyncio.sleep(0)  # the canary waits for its hour
        stand.audible = True
        stand.found()
        stand.after(FEED.late_after_s)
        await eventually(lambda: stand.sent)

    await during(stand.canary, one_is_missed)
    assert stand.count("missed") == 1
    assert stand.watch.flows


def test_signals_missed_in_a_row_are_a_deaf_feed_until_one_comes_in_time() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    stand.goes_deaf()
    assert stand.level() is Level.DEGRADED
    assert "deaf" in stand.detail()
    assert stand.count("missed") == FEED.missed_most
    assert stand.metrics.registry.get_sample_value("polycopy_feed_up") == 0
    stand.brought()
    stand.watch.judge()
    assert stand.watch.flows
    assert stand.level() is Level.OK
    assert stand.metrics.registry.get_sample_value("polycopy_feed_up") == 1


def test_signals_that_later_ones_have_overtaken_fell_into_a_hole_that_is_over() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    for _ in range(13):
        stand.found()
    stand.clock.elapsed_s += 0.6
    stand.brought()
    stand.after(5)
    assert stand.count("missed") == 13
    assert stand.watch.flows
    assert stand.renewals == []


def test_a_signal_that_comes_late_is_told_from_one_that_never_comes_and_heals_nothing() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    found = [stand.found() for _ in range(3)]
    stand.after(4)
    for ft_order_id, inserted_at in found[:2]:
        stand.watch.brought(ft_order_id, inserted_at)
    stand.watch.judge()
    assert (stand.count("missed"), stand.count("late")) == (3, 2)
    assert not stand.watch.flows


def test_what_was_inserted_before_the_feed_was_live_or_long_ago_says_nothing_of_it() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    stand.found(age_s=2)
    stand.clock.elapsed_s += 60
    stand.found(age_s=11)
    stand.after(5)
    assert stand.count("missed") == 0


def test_signals_missed_in_a_row_are_a_deaf_feed_however_far_apart_they_are() -> None:
    stand = Stand().live()
    for _ in range(FEED.missed_most):
        assert stand.watch.flows
        stand.clock.elapsed_s += 10 * FEED.missed_within_s
        stand.found()
        stand.after(FEED.late_after_s)
    assert not stand.watch.flows
    assert len(stand.renewals) == 1


def test_what_was_missed_long_before_a_signal_that_came_late_is_forgiven() -> None:
    stand = Stand().live()
    for _ in range(3):
        stand.clock.elapsed_s += FEED.missed_within_s + 1
        ft_order_id, inserted_at = stand.found()
        stand.after(FEED.late_after_s)
        assert stand.watch.flows
        stand.clock.elapsed_s += FEED.missed_within_s + 1
        stand.watch.brought(ft_order_id, inserted_at)
    assert (stand.count("missed"), stand.count("late")) == (3, 3)


def test_a_deaf_feed_gets_one_fresh_session_at_once_and_the_next_ones_ever_more_seldom() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    renewed_s: list[float] = []
    while len(renewed_s) < 8:
        known = len(stand.renewals)
        stand.live()  # the successor is
        stand.found()
        stand.after(1)
        if len(stand.renewals) > known:
            renewed_s.append(stand.clock.elapsed_s)
    pauses = [later - earlier for earlier, later in pairwise(renewed_s)]
    assert pauses == pytest.approx([30, 60, 120, 240, 480, 600, 600], abs=2)


def test_a_long_sound_stretch_makes_the_next_fresh_session_come_soon_again() -> None:
    stand = Stand().live()
    stand.clock.elapsed_s += 1
    for renewals in (1, 2, 3):
        stand.goes_deaf()
        assert len(stand.renewals) == renewals
        stand.brought()
        stand.after(2 * FEED.replace_again_after_s + 1)
        assert stand.watch.flows


def test_a_canary_that_is_heard_tells_how_far_the_feed_is_behind() -> None:
    stand = Stand().live()
    stand.heard(1)
    stand.watch.judge()
    assert stand.detail() == "live, 250 ms behind"
    assert stand.metrics.registry.get_sample_value("polycopy_feed_latency_seconds_sum") == 0.25


async def out(stand: Stand) -> None:
    """A canary is sent."""
    known = stand.sent
    await during(stand.canary, lambda: eventually(lambda: stand.sent > known))


async def test_a_canary_that_is_not_heard_is_a_deaf_feed_until_one_is() -> None:
    stand = Stand().live()
    await out(stand)
    stand.after(CanarySettings().patience_s)
    assert stand.watch.flows
    stand.after(1)
    assert stand.level() is Level.DEGRADED
    assert "canary" in stand.detail()
    assert len(stand.renewals) == 1
    await out(stand)
    stand.heard(2)
    stand.watch.judge()
    assert stand.level() is Level.OK


async def test_a_signal_that_comes_in_time_excuses_a_canary_that_was_sent_before_it() -> None:
    stand = Stand().live()
    await out(stand)
    stand.after(1)
    stand.brought()
    stand.after(10)
    assert stand.watch.flows


async def test_a_canary_of_a_session_that_was_lost_is_not_waited_for() -> None:
    stand = Stand().live()
    await out(stand)
    stand.watch.changed(FeedState.LOST)
    stand.after(5)
    stand.live()
    stand.after(1)
    assert stand.watch.flows
    assert stand.renewals == []


async def test_a_canary_that_was_heard_before_its_sending_was_answered_is_heard() -> None:
    stand = Stand().live()
    stand.heard(1)
    await out(stand)
    stand.after(10)
    assert stand.watch.flows


async def test_an_old_canary_that_is_swept_away_is_no_news() -> None:
    stand = Stand().live()
    await out(stand)
    stand.canary.heard({"canary_id": 1})  # of a deleted row only the key is told
    stand.after(5)
    assert not stand.watch.flows


async def test_no_canary_is_sent_that_nobody_would_hear() -> None:
    stand = Stand(audible=False, canaries=CanarySettings(every_s=0.01, again_every_s=0.01))
    await during(stand.canary, lambda: asyncio.sleep(0.1))
    assert stand.sent == 0
    stand.audible = True
    await during(stand.canary, lambda: eventually(lambda: stand.sent >= 2))


async def test_a_canary_that_cannot_be_sent_says_nothing_of_the_feed_and_is_tried_again() -> None:
    stand = Stand(outage=True, canaries=CanarySettings(every_s=0.01, again_every_s=0.01)).live()

    async def outage() -> None:
        await asyncio.sleep(0.05)
        stand.after(10)
        assert stand.watch.flows
        stand.outage = False
        await eventually(lambda: stand.sent)

    await during(stand.canary, outage)


def test_a_feed_that_is_lost_again_and_again_is_degraded_though_each_loss_is_young() -> None:
    stand = Stand()
    for _ in range(6):
        for state in (FeedState.CONNECTING, FeedState.LOST):
            stand.watch.changed(state, "the server answered HTTP 401" if state is FeedState.LOST else "")
            stand.after(1)
    assert stand.level() is Level.DEGRADED
    assert "HTTP 401" in stand.detail()
    assert stand.watch.judged.is_set()


def test_a_feed_that_comes_back_soon_was_never_degraded() -> None:
    stand = Stand().live()
    stand.watch.changed(FeedState.LOST)
    assert not stand.watch.flows
    stand.after(FEED.degraded_after_s - 1)
    stand.live()
    assert stand.level() is Level.OK
    assert stand.watch.flows


def test_a_feed_that_is_switched_off_is_said_to_be() -> None:
    stand = Stand(settings=FeedSettings(enabled=False))
    stand.watch.judge()
    assert stand.level() is Level.DEGRADED
    assert "switched off" in stand.detail()
    assert stand.watch.judged.is_set()
