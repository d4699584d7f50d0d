"""Whether the feed delivers: judged by what arrives, not by what the connection says.

The server loses rows, or a channel for ever, without a word. Two witnesses see it: signals that the sweep found and
the feed did not bring in time, and a canary that is not heard. A deaf feed is called degraded until something arrives
in time again. It gets a fresh session at once, make before break; as most of the server's holes are not mended by
one, the next ones come ever more seldom.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.configuration.feed import FeedSettings
from worker.database.realtime import FeedState
from worker.feed.canary import Canary
from worker.handlers.intake import Item, insert_time
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.orders.ports import Clock
from worker.orders.terms import FtOrderId

log = structlog.get_logger(__name__)

# A signal that was older when the sweep found it says nothing of the feed: its strategy may have been activated since.
_YOUNG = timedelta(seconds=10)
_REMEMBERED = 4096
_BY_SWEEP = "signals are found by the sweep"


@dataclass(frozen=True, slots=True)
class _Awaited:
    inserted_at: datetime
    due_s: float


class FeedWatch:
    """`judge` is called every second; everything else tells it what happened."""

    def __init__(
        self,
        settings: FeedSettings,
        *,
        canary: Canary,
        renew: Callable[[str], None],
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        """`renew` asks the feed for a fresh session in place of the one that is live."""
        self._settings = settings
        self._late_after = timedelta(seconds=settings.late_after_s)
        self._canary = canary
        self._renew = renew
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._state = FeedState.LOST
        self._live_since: datetime | None = None
        self._down_since_s = clock.monotonic()
        self._lost_why = ""
        self._awaited: OrderedDict[FtOrderId, _Awaited] = OrderedDict()  # found by the sweep, not yet late
        self._brought: OrderedDict[FtOrderId, None] = OrderedDict()
        self._missed: OrderedDict[FtOrderId, None] = OrderedDict()
        self._newest_brought: datetime | None = None
        self._brought_s = clock.monotonic()
        self._missed_in_a_row: deque[float] = deque(maxlen=settings.missed_most)  # when, monotonic
        self._deaf_since_s: float | None = None
        self._deaf_why = ""
        self._sound_since_s = clock.monotonic()
        self._replace_due_s = clock.monotonic()
        self._replace_pause_s = settings.replace_again_after_s
        self.judged = asyncio.Event()  # it was live once, or has been called degraded

    @property
    def state(self) -> FeedState:
        return self._state

    @property
    def flows(self) -> bool:
        """Signals come by themselves, as far as anybody can tell."""
        return self._state is FeedState.LIVE and self._deaf_since_s is None

    @property
    def silent_since_s(self) -> float | None:
        """When it last brought a signal, monotonic; or began to listen. None: it is switched off."""
        return self._brought_s if self._settings.enabled else None

    # --- what happened

    def changed(self, state: FeedState, detail: str = "") -> None:
        """The feed's own word; of a loss, why."""
        if state is FeedState.LOST:
            self._lost_why = detail
        if self._state is FeedState.LIVE and state is not FeedState.LIVE:
            self._down_since_s = self._clock.monotonic()
            self._live_since = None
            self._awaited.clear()
            self._missed_in_a_row.clear()
            self._deaf_since_s = None
            self._canary.forget()
        self._state = state
        if state is FeedState.LIVE:
            self._live_since = self._live_since or self._clock.now()
        self.judge()

    def brought(self, ft_order_id: FtOrderId, inserted_at: datetime | None) -> None:
        """A signal came over the feed."""
        self._brought_s = self._clock.monotonic()
        _remember(self._brought, ft_order_id)
        self._awaited.pop(ft_order_id, None)
        if inserted_at is not None:
            self._newest_brought = max(self._newest_brought or inserted_at, inserted_at)
        if ft_order_id in self._missed:
            del self._missed[ft_order_id]
            self._metrics.feed_late.inc()
            self._forgive_old()
        elif inserted_at is not None and self._clock.now() - inserted_at <= self._late_after:
            self._missed_in_a_row.clear()
            self._canary.excuse(inserted_at)

    def found(self, item: Item) -> None:
        """The sweep, or a notice, came with a signal that the feed had not brought by then."""
        inserted_at, ft_order_id = insert_time(item.row), item.ft_order_id
        if ft_order_id in self._brought or ft_order_id in self._missed or ft_order_id in self._awaited:
            return
        if self._live_since is None or inserted_at is None or inserted_at <= self._live_since:
            return
        if item.received.at - inserted_at <= _YOUNG:
            due_s = self._clock.monotonic() + self._settings.late_after_s
            self._awaited[ft_order_id] = _Awaited(inserted_at, due_s)

    # --- what it means

    def judge(self) -> None:
        """Say how the feed does, and do something about a deaf one."""
        self._count_missed()
        if self._state is not FeedState.LIVE:
            self._judge_down()
        elif why := self._why_deaf():
            self._judge_deaf(why)
        else:
            self._judge_sound()
        self._metrics.feed_up.set(self.flows)

    def _judge_down(self) -> None:
        down_s = self._clock.monotonic() - self._down_since_s
        if not self._settings.enabled:
            self._report(Level.DEGRADED, f"switched off: {_BY_SWEEP}")
        elif down_s > self._settings.degraded_after_s:
            why = f" ({self._lost_why})" if self._lost_why else ""
            self._report(Level.DEGRADED, f"not live{why}: {_BY_SWEEP}")

    def _judge_deaf(self, why: str) -> None:
        now_s = self._clock.monotonic()
        if self._deaf_since_s is None:
            self._deaf_since_s, self._deaf_why = now_s, why
            log.warning("feed.deaf", reason=why)
        self._report(Level.DEGRADED, f"live, but deaf ({self._deaf_why}): {_BY_SWEEP}")
        if now_s >= self._replace_due_s:
            self._replace_due_s = now_s + self._replace_pause_s
            self._replace_pause_s = min(self._replace_pause_s * 2, self._settings.replace_again_most_s)
            self._renew(why)

    def _judge_sound(self) -> None:
        now_s = self._clock.monotonic()
        if self._deaf_since_s is not None:
            log.info("feed.heard_again", deaf_s=round(now_s - self._deaf_since_s, 1))
            self._deaf_since_s, self._sound_since_s = None, now_s
        if now_s - self._sound_since_s >= self._replace_pause_s:
            self._replace_pause_s = self._settings.replace_again_after_s
        latency_s = self._canary.latency_s
        self._report(Level.OK, "live" if latency_s is None else f"live, {latency_s * 1000:.0f} ms behind")

    def _report(self, level: Level, detail: str) -> None:
        self.judged.set()
        self._health.report("feed", level, detail)

    def _why_deaf(self) -> str:
        """Empty: it is not, as far as anybody can tell."""
        if self._canary.overdue:
            return "a canary is not heard"
        if len(self._missed_in_a_row) >= self._settings.missed_most:
            return f"{len(self._missed_in_a_row)} signals in a row were not brought"
        return ""

    def _forgive_old(self) -> None:
        """Something was brought, though late: what was missed long before it says nothing any more."""
        horizon_s = self._clock.monotonic() - self._settings.missed_within_s
        while self._missed_in_a_row and self._missed_in_a_row[0] < horizon_s:
            self._missed_in_a_row.popleft()

    def _count_missed(self) -> None:
        now_s = self._clock.monotonic()
        late = [one for one, awaited in self._awaited.items() if awaited.due_s <= now_s]
        for ft_order_id in late:
            inserted_at = self._awaited.pop(ft_order_id).inserted_at
            _remember(self._missed, ft_order_id)
            self._metrics.feed_missed.inc()
            # One that later signals have overtaken fell into a hole that is over.
            if self._newest_brought is None or inserted_at > self._newest_brought:
                self._missed_in_a_row.append(now_s)
                self._canary.ask()
        if late:
            expected = self._deaf_since_s is not None
            level = logging.DEBUG if expected else logging.WARNING
            log.log(level, "feed.missed", signals=len(late), in_a_row=len(self._missed_in_a_row))


def _remember(ids: OrderedDict[FtOrderId, None], ft_order_id: FtOrderId) -> None:
    ids[ft_order_id] = None
    if len(ids) > _REMEMBERED:
        ids.popitem(last=False)
