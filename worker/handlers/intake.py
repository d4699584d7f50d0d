"""The queue between whatever finds a signal and whoever decides it: no signal twice, the newest first.

Fresh signals go before backlog; each lane is bounded by itself, so that a backlog can never keep a fresh signal
out. What does not fit is refused: the sweep offers it again, because the database is the list of work.
"""

import asyncio
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from worker.execution.submit import Received
from worker.observe.metrics import Metrics
from worker.orders.terms import FtOrderId, StrategyId


class LaneName(IntEnum):
    FRESH = 0
    BACKLOG = 1


@dataclass(frozen=True, slots=True)
class Item:
    """A signal to decide. `strategy_ids` None: for whichever strategies follow its wallet (it is new)."""

    ft_order_id: FtOrderId
    row: Mapping[str, Any]
    strategy_ids: tuple[StrategyId, ...] | None
    source: str
    received: Received


@dataclass(order=True, slots=True)
class _Entry:
    key: tuple[float, str]
    item: Item = field(compare=False)


class Intake:
    def __init__(self, *, capacity: int, metrics: Metrics) -> None:
        self._capacity = capacity
        self._metrics = metrics
        self._lanes: dict[LaneName, list[_Entry]] = {lane: [] for lane in LaneName}
        # Queued or being decided: offered again, it is refused.
        self._known: set[FtOrderId] = set()
        self._ready = asyncio.Semaphore(0)
        self._closed = False

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    @property
    def busy(self) -> int:
        """Signals that are queued or being decided now."""
        return len(self._known)

    def offer(self, item: Item, *, fresh: bool) -> bool:
        """False if it is known already, or if its lane is full, or if the intake has been closed."""
        name = LaneName.FRESH if fresh else LaneName.BACKLOG
        lane = self._lanes[name]
        if self._closed or item.ft_order_id in self._known or len(lane) >= self._capacity:
            return False
        self._known.add(item.ft_order_id)
        heapq.heappush(lane, _Entry((_newest_first(item.row), item.ft_order_id), item))
        self._metrics.signals.labels(item.source).inc()
        self._metrics.queue_depth.labels(name.name.lower()).set(len(lane))
        self._ready.release()
        return True

    async def take(self) -> Item:
        """The next signal to decide: fresh before backlog, the newest of each first."""
        await self._ready.acquire()
        name, lane = next((name, lane) for name, lane in self._lanes.items() if lane)
        item = heapq.heappop(lane).item
        self._metrics.queue_depth.labels(name.name.lower()).set(len(lane))
        return item

    def done(self, item: Item) -> None:
        self._known.discard(item.ft_order_id)

    def close(self) -> None:
        """Take nothing in any more. What is only queued stays work in the database."""
        self._closed = True


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
