"""Capital is kept cheap to compute, and checked: checkpoints are written, and everything is computed anew from zero.

Never on the way of an order. A part of one strategy is audited in each turn, strategy after strategy, round after round;
a difference is an alarm, and the database has paused the strategy before anybody hears of it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
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
    """Keeps its place in the round when a turn fails and is begun again."""

    def __init__(
        self,
        books: Books,
        *,
        strategies: Callable[[], Sequence[StrategyId]],
        metrics: Metrics,
        timing: BookkeepingTiming,
    ) -> None:
        """`strategies`: those whose capital is audited, in one order."""
        self._books = books
        self._strategies = strategies
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
        strategy_id = self._next()
        if strategy_id is None:
            return
        part = await self._books.audit(strategy_id, orders=self._timing.audit_orders, bookmark=self._bookmark)
        self._audited, self._bookmark = strategy_id, part.bookmark
        for difference in part.differences:
            self._metrics.capital_differences.inc()
            log.critical(
                "capital.differs",
                strategy_id=strategy_id,
                mode=difference.mode,
                what=difference.what,
                missing=dict(difference.missing),
                fix="the strategy is paused: compare its fills with the exchange, mend what is wrong, then resume it",
            )

    def _next(self) -> StrategyId | None:
        """The strategy that is being audited, or the one after it."""
        strategies = sorted(self._strategies())
        if self._bookmark is not None and self._audited in strategies:
            return self._audited
        self._bookmark = None
        after = [strategy for strategy in strategies if self._audited is None or strategy > self._audited]
        return next(iter(after or strategies), None)
