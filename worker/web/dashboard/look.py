"""What the pages show, read once for all who look: how trading stands, the figures of a window, a signal's story.

A page asks whenever it likes; the database is asked again only for what is older than a few seconds, and by one of them
at a time. Where it does not answer, what was read last stays on the page, which says so.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

from worker.database.reports import Reports
from worker.database.values import Row, row_of
from worker.errors import WorkerError
from worker.orders.terms import StrategyId
from worker.verbs.audit import Audit
from worker.verbs.explain import Story, read_story
from worker.verbs.standing import Standing, read_standing

_SELDOM: Final = 10.0  # a tenth of the database's time at most goes into one choice
_KEPT: Final = 32  # choices of window and strategy whose figures are kept
_STORIES_KEPT: Final = 128

_T = TypeVar("_T")
_K = TypeVar("_K")


@dataclass(frozen=True, slots=True)
class Window:
    """How far back the figures reach, and the steps in which they are drawn over time. `word`: as an address says it."""

    word: str
    label: str
    span: timedelta
    step: timedelta
    step_label: str

    @property
    def buckets(self) -> int:
        return self.span // self.step


WINDOWS: Final = (
    Window("1h", "last hour", timedelta(hours=1), timedelta(minutes=1), "1 min"),
    Window("6h", "last 6 hours", timedelta(hours=6), timedelta(minutes=5), "5 min"),
    Window("24h", "last 24 hours", timedelta(hours=24), timedelta(minutes=30), "30 min"),
    Window("7d", "last 7 days", timedelta(days=7), timedelta(hours=2), "2 h"),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a viewer has chosen to see; `strategy_id` None: all of them."""

    window: Window = WINDOWS[2]
    strategy_id: StrategyId | None = None

    @classmethod
    def of(cls, window: str, strategy: str) -> "Choice":
        """As an address says it; what it does not say, or says wrong, is the default."""
        windows = {one.word: one for one in WINDOWS}
        return cls(windows.get(window, cls().window), StrategyId(strategy) if strategy else None)

    @property
    def address(self) -> str:
        said = {"window": self.window.word} | ({"strategy": self.strategy_id} if self.strategy_id else {})
        return "/?" + urlencode(said)

    @property
    def label(self) -> str:
        return self.window.label if self.strategy_id is None else f"{self.window.label}, {self.strategy_id}"


@dataclass(frozen=True, slots=True)
class Figures:
    """`audit`: of the choice, as `polycopy-worker audit` tells it; `series`: the same, bucket by bucket."""

    choice: Choice
    metrics: Row
    audit: Audit

    @property
    def series(self) -> list[Row]:
        return list(self.metrics["series"])


class _Kept(Generic[_T]):
    """One answer, and when it was read. What takes long to read is read the more seldom."""

    __slots__ = ("_lock", "_read_at_s", "_took_s", "_value")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._value: _T | None = None
        self._read_at_s = self._took_s = 0.0

    async def get(self, ttl_s: float, read: Callable[[], Awaitable[_T]]) -> _T:
        async with self._lock:
            began_s = monotonic()
            if self._value is None or began_s - self._read_at_s > max(ttl_s, _SELDOM * self._took_s):
                self._value = await read()
                self._read_at_s = monotonic()
                self._took_s = self._read_at_s - began_s
            return self._value


class _Newest(Generic[_K, _T]):
    """An answer for each of the keys that were asked for last."""

    __slots__ = ("_kept", "_most")

    def __init__(self, most: int) -> None:
        self._kept: OrderedDict[_K, _Kept[_T]] = OrderedDict()
        self._most = most

    def of(self, key: _K) -> _Kept[_T]:
        kept = self._kept.setdefault(key, _Kept())
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return kept


@dataclass(slots=True)
class Look:
    """One for a process. What is older than `ttl_s` is read anew. Every read raises what `Reports` raises."""

    reports: Reports
    ttl_s: float
    _standing: _Kept[Standing] = field(default_factory=_Kept)
    _figures: _Newest[Choice, Figures] = field(default_factory=lambda: _Newest(_KEPT))
    _stories: _Newest[str, Story] = field(default_factory=lambda: _Newest(_STORIES_KEPT))

    async def standing(self) -> Standing:
        return await self._standing.get(self.ttl_s, lambda: read_standing(self.reports))

    async def figures(self, choice: Choice) -> Figures:
        async def read() -> Figures:
            window = choice.window
            metrics = await self.reports.metrics(window.span, choice.strategy_id, buckets=window.buckets)
            return Figures(choice, metrics, Audit.of(row_of(metrics, "funnel")))

        return await self._figures.of(choice).get(2 * self.ttl_s, read)

    async def story(self, asked: str) -> Story:
        """`asked`: as of `read_story`."""
        return await self._stories.of(asked).get(self.ttl_s, lambda: read_story(self.reports, asked))

    def forget(self) -> None:
        """After something was changed: the next look reads how it stands then."""
        self._standing = _Kept()


def complaint(error: WorkerError) -> str:
    """What a page says while it cannot read."""
    return f"The figures cannot be read at the moment, and what stands here is older: {error}"
