"""Skips and deferrals on their way to the database: written in batches, soon, and again until they are.

One that the database refuses is given back to whoever made it; the others of its batch do not wait for it. A decision that is lost with the process costs nothing: its pair is still work, and is decided again.
"""

import asyncio
from collections.abc import Sequence

import structlog

from worker.errors import DatabaseRefused, WorkerError
from worker.orders.ports import Decision, Ledger

log = structlog.get_logger(__name__)

_BATCH_MOST = 200
_GATHER_S = 0.02
_BACKOFF_FIRST_S = 0.1
_BACKOFF_MOST_S = 5.0

Waiting = tuple[Decision, asyncio.Future[None]]


class DecisionWriter:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[Waiting] = []
        self._some = asyncio.Event()

    async def write(self, decision: Decision) -> None:
        """Returns once the decision is in the database. Raises `DatabaseRefused` if it never will be."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((decision, written))
        self._some.set()
        await written

    async def run(self) -> None:
        wait_s = _BACKOFF_FIRST_S
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER_S)
            # Decisions that arrive during the call belong to the next batch.
            batch = self._waiting[:_BATCH_MOST]
            try:
                await self._write(batch)
            except WorkerError as error:
                log.warning("decisions.not_written", count=len(batch), error=str(error), again_in_s=wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _BACKOFF_MOST_S)
                continue
            wait_s = _BACKOFF_FIRST_S
            del self._waiting[: len(batch)]
            if not self._waiting:
                self._some.clear()

    async def _write(self, batch: Sequence[Waiting]) -> None:
        """Every one of them written, or refused by itself. Raises `WorkerError` if that is not known."""
        try:
            await self._ledger.decide([decision for decision, _ in batch])
        except DatabaseRefused as refusal:
            if len(batch) > 1:
                for one in batch:
                    await self._write([one])
                return
            (decision, written) = batch[0]
            log.error(
                "decision.refused",
                strategy_id=decision.strategy_id,
                ft_order_id=decision.ft_order_id,
                reason=decision.skip.reason,
                error=str(refusal),
            )
            if not written.done():
                written.set_exception(refusal)
            return
        for _, written in batch:
            if not written.done():
                written.set_result(None)
