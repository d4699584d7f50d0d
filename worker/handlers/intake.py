"""The queue between whatever finds a signal and whoever decides it: no pair twice, the newest first, each strategy apart.

A signal is queued once for each strategy that owes it a decision. Every strategy has lanes of its own (fresh before
backlog before deferred) and places of its own in each, so none can be held up by another, nor a lane by one behind
it. Everything is bounded: what does not fit is left out, the oldest first, and offered again by the sweep, because the
database is the list of work.
"""

import asyncio
import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, TypeAlias, assert_never

from worker.execution.submit import Received
from worker.observe.metrics import Metrics
from worker.orders.skips import Deferral
from worker.orders.terms import FtOrderId, FtWalletId, StrategyId

_FAILURES_REMEMBERED = 10_000
_HOLD_MOST_S = 300.0

PairKey: TypeAlias = tuple[StrategyId, FtOrderId]
Following: TypeAlias = Callable[[FtWalletId], Sequence[StrategyId]]


class LaneName(IntEnum):
    """`FRESH`: inserted just now. `DEFERRED`: tried before, and put off or failed."""

    FRESH = 0
    BACKLOG = 1
    DEFERRED = 2


@dataclass(frozen=True, slots=True)
class Item:
    """A signal to decide. `strategy_ids` None: for whichever strategies follow its wallet (it is new)."""

    ft_order_id: FtOrderId
    row: Mapping[str, Any]
    strategy_ids: tuple[StrategyId, ...] | None
    source: str
    received: Received
    deferrals: Mapping[StrategyId, Deferral] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pair:
    """A signal that one strategy owes a decision."""

    item: Item
    strategy_id: StrategyId
    lane: LaneName

    @property
    def key(self) -> PairKey:
        return self.strategy_id, self.item.ft_order_id

    @property
    def deferral(self) -> Deferral | None:
        return self.item.deferrals.get(self.strategy_id)


@dataclass(frozen=True, slots=True)
class Bounds:
    """For each strategy and lane: how many pairs may wait, and how many are served at once."""

    waiting: int
    fresh: int
    backlog: int
    deferred: int

    @classmethod
    def of(cls, *, waiting: int, concurrency: int) -> "Bounds":
        return cls(waiting, concurrency, max(concurrency // 4, 1), max(concurrency // 16, 1))


@dataclass(order=True, slots=True)
class _Entry:
    key: tuple[float, str]
    pair: Pair = field(compare=False)


Line: TypeAlias = list[_Entry]


class Intake:
    def __init__(
        self, *, bounds: Bounds, following: Following, metrics: Metrics, hold_first_s: float = 5.0
    ) -> None:
        """`hold_first_s`: how long a pair that failed is held back; twice as long after each further failure."""
        self._bounds = bounds
        self._following = following
        self._metrics = metrics
        self._hold_first_s = hold_first_s
        self._waiting: dict[LaneName, dict[StrategyId, Line]] = {lane: {} for lane in LaneName}
        self._depth: Counter[LaneName] = Counter()
        self._serving: Counter[tuple[LaneName, StrategyId]] = Counter()
        # Queued, being decided, or held back: offered again, it is refused.
        self._known: set[PairKey] = set()
        self._failures: OrderedDict[PairKey, int] = OrderedDict()
        self._stirred = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Pairs that wait to be served."""
        return self._depth.total()

    @property
    def busy(self) -> int:
        """Pairs that wait, are being decided or are held back."""
        return len(self._known)

    def full(self) -> list[StrategyId]:
        """Strategies one of whose lanes takes nothing more now."""
        return [
            strategy_id
            for lines in self._waiting.values()
            for strategy_id, line in lines.items()
            if len(line) >= self._bounds.waiting
        ]

    def engaged(self) -> set[StrategyId]:
        """Strategies that have anything at all to do here."""
        return {strategy_id for strategy_id, _ in self._known}

    def offer(self, item: Item, *, fresh: bool) -> int:
        """How many pairs of the signal were taken in: not those that are known already, nor what does not fit."""
        if self._closed:
            return 0
        if item.strategy_ids is None:
            strategy_ids = self._following(FtWalletId(str(item.row.get("wallet_id"))))
        else:
            strategy_ids = item.strategy_ids
        taken = sum(
            [self._queue(Pair(item, one, self._lane(item, one, fresh=fresh))) for one in strategy_ids]
        )
        if taken:
            self._metrics.signals.labels(item.source).inc()
            self._stirred.set()
        return taken

    async def take(self) -> Pair:
        """The next pair to decide: fresh before backlog before deferred, the newest of each first.

        It has a place until `done`. Waits while nothing is queued for which its strategy has a place.
        """
        while (pair := self._next()) is None:
            self._stirred.clear()
            await self._stirred.wait()
        self._serving[pair.lane, pair.strategy_id] += 1
        return pair

    def done(self, pair: Pair, *, failed: bool = False) -> None:
        """Give its place back. A pair that failed is held back for a while, and is served last from then on."""
        place = pair.lane, pair.strategy_id
        self._serving[place] -= 1
        if self._serving[place] <= 0:
            del self._serving[place]
        self._stirred.set()
        if not failed:
            self._known.discard(pair.key)
            self._failures.pop(pair.key, None)
            return
        failures = self._failures.pop(pair.key, 0)
        self._failures[pair.key] = failures + 1
        if len(self._failures) > _FAILURES_REMEMBERED:
            self._failures.popitem(last=False)
        hold_s = min(self._hold_first_s * 2 ** min(failures, 16), _HOLD_MOST_S)
        asyncio.get_running_loop().call_later(hold_s, self._known.discard, pair.key)

    def close(self) -> None:
        """Take nothing in any more. What is only queued stays work in the database."""
        self._closed = True

    def _lane(self, item: Item, strategy_id: StrategyId, *, fresh: bool) -> LaneName:
        if strategy_id in item.deferrals or (strategy_id, item.ft_order_id) in self._failures:
            return LaneName.DEFERRED
        return LaneName.FRESH if fresh else LaneName.BACKLOG

    def _queue(self, pair: Pair) -> bool:
        if pair.key in self._known:
            return False
        line = self._waiting[pair.lane].get(pair.strategy_id, [])
        entry = _Entry((_newest_first(pair.item.row), pair.item.ft_order_id), pair)
        if len(line) >= self._bounds.waiting:
            oldest = max(line)
            if oldest <= entry:
                return False
            line.remove(oldest)
            heapq.heapify(line)
            self._known.discard(oldest.pair.key)
            self._count(pair.lane, -1)
        self._known.add(pair.key)
        heapq.heappush(line, entry)
        self._waiting[pair.lane][pair.strategy_id] = line
        self._count(pair.lane, 1)
        return True

    def _next(self) -> Pair | None:
        for lane, lines in self._waiting.items():
            ready = [
                (line[0], strategy_id)
                for strategy_id, line in lines.items()
                if self._has_place(lane, strategy_id)
            ]
            if not ready:
                continue
            _, strategy_id = min(ready)
            pair = heapq.heappop(lines[strategy_id]).pair
            if not lines[strategy_id]:
                del lines[strategy_id]
            self._count(lane, -1)
            return pair
        return None

    def _has_place(self, lane: LaneName, strategy_id: StrategyId) -> bool:
        return self._serving[lane, strategy_id] < self._places(lane, strategy_id)

    def _places(self, lane: LaneName, strategy_id: StrategyId) -> int:
        match lane:
            case LaneName.FRESH:
                return self._bounds.fresh
            case LaneName.BACKLOG:
                return self._bounds.backlog
            case LaneName.DEFERRED:
                # One, however long the backlog is: what was put off must come to its end as well.
                return 1 if strategy_id in self._waiting[LaneName.BACKLOG] else self._bounds.deferred
        assert_never(lane)

    def _count(self, lane: LaneName, change: int) -> None:
        self._depth[lane] += change
        self._metrics.queue_depth.labels(lane.name.lower()).set(self._depth[lane])


def insert_time(row: Mapping[str, Any]) -> datetime | None:
    """When the row was inserted, however its source writes times; None if unknown."""
    try:
        time = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _newest_first(row: Mapping[str, Any]) -> float:
    time = insert_time(row)
    return -time.timestamp() if time else 0.0
