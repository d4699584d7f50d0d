"""Capital is kept cheap to compute, and checked: checkpoints are written, and everything is computed anew from zero.

Never on the way of an order. A part of one strategy is audited in each turn, strategy after strategy, round after round;
a difference is an alarm, and the database has paused the strategy before anybody hears of it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from worker.observe.metrics import Metrics
from worker.orders.capital import Books
from worker.orders.terms import StrategyId

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BookkeepingTiming:
    every_s: float
    audit_orders: int


class Bookkeeping:
    """Goes on with the next strategy when a turn fails and is begun again."""

    def __init__(
        self,
        books: Books,
        *,
        metrics: Metrics,
        timing: BookkeepingTiming,
    ) -> None:
        self._books = books
        self._metrics = metrics
        self._timing = timing
        self._audited: StrategyId | None = None
        self._bookmark: Mapping[str, Any] | None = None

    async def run(self) -> None:
        """Until cancelled. Raises `WorkerError` when a turn fails."""
        while True:
            await self.turn()
            await asyncio.sleep(self._timing.every_s)

    async def turn(self) -> None:
        await self._books.checkpoint()
        strategy_id = self._audited if self._bookmark is not None else await self._books.after(self._audited)
        if strategy_id is None:
            return
        # One whose audit fails must not keep the others from theirs: its place is given up before it is asked for.
        bookmark, self._audited, self._bookmark = self._bookmark, strategy_id, None
        part = await self._books.audit(strategy_id, orders=self._timing.audit_orders, bookmark=bookmark)
        self._bookmark = part.bookmark
        for difference in part.differences:
            self._metrics.capital_differences.inc()
            log.critical(
                "capital.differs",
                strategy_id=strategy_id,
                mode=difference.mode,
                what=difference.what,
                missing=dict(difference.missing),
                fix="the strategy is frozen: compare its fills with the exchange, mend what is wrong,"
                " select lt_correct_capital(...), then arm it",
            )
