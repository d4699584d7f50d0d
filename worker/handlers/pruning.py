"""Old skips and marks are forgotten, a small batch at a time, so that the tables stay as small as the retention."""

import asyncio
from dataclasses import dataclass

import structlog

from worker.observe.metrics import Metrics
from worker.orders.marks import Pruner

log = structlog.get_logger(__name__)

_BATCHES_MOST = 1000  # of a round: whatever is left then waits for the next one


@dataclass(frozen=True, slots=True)
class PruningTiming:
    """`first_s` after the start, so that no start is slower for it; `pause_s` between two batches."""

    every_s: float
    batch: int
    pause_s: float
    first_s: float = 300.0


class Pruning:
    def __init__(self, pruner: Pruner, *, metrics: Metrics, timing: PruningTiming) -> None:
        self._pruner = pruner
        self._metrics = metrics
        self._timing = timing

    async def run(self) -> None:
        """Until cancelled. Raises `WorkerError` when a batch fails."""
        await asyncio.sleep(min(self._timing.first_s, self._timing.every_s))
        while True:
            await self.round()
            await asyncio.sleep(self._timing.every_s)

    async def round(self) -> None:
        """Batch after batch until nothing old is left."""
        decisions = marks = 0
        for _ in range(_BATCHES_MOST):
            pruned = await self._pruner.prune(limit=self._timing.batch)
            decisions, marks = decisions + pruned.decisions, marks + pruned.marks
            self._metrics.pruned.labels("decisions").inc(pruned.decisions)
            self._metrics.pruned.labels("marks").inc(pruned.marks)
            if not pruned.more:
                break
            await asyncio.sleep(self._timing.pause_s)
        if decisions or marks:
            log.info("ledger.pruned", decisions=decisions, marks=marks)
