"""A notice names a signal that was just inserted: it is read once, and queued as if the feed had brought it.

Notices only hurry: one that cannot be read, or finds no place here, is left to the sweep.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from worker.errors import WorkerError
from worker.handlers.backfill import Sweep, item_of
from worker.handlers.intake import Intake, Item
from worker.orders.ports import Clock, Ledger
from worker.orders.terms import FtOrderId

log = structlog.get_logger(__name__)

# In place of a signal's id, and as the sender of a canary: somebody asks for a sweep (`lt_ask_sweep`).
SWEEP_ASKED: Final = "sweep"
_WAITING_MOST: Final = 256


class Notices:
    """`heard` and `listening` are what a `SignalListener` calls."""

    def __init__(
        self, ledger: Ledger, intake: Intake, sweep: Sweep, clock: Clock, *, on_found: Callable[[Item], None]
    ) -> None:
        """`on_found` hears of each signal that nobody else had brought by then."""
        self._ledger = ledger
        self._on_found = on_found
        self._intake = intake
        self._sweep = sweep
        self._clock = clock
        self._waiting: asyncio.Queue[FtOrderId] = asyncio.Queue(_WAITING_MOST)

    def heard(self, ft_order_id: FtOrderId) -> None:
        if ft_order_id == SWEEP_ASKED:
            self._sweep.ask()
            return
        try:
            self._waiting.put_nowait(ft_order_id)
        except asyncio.QueueFull:
            self._sweep.ask()  # one sweep reads them all

    def listening(self) -> None:
        """What was inserted before was not heard."""
        self._sweep.ask()

    async def run(self) -> None:
        while True:
            ft_order_id = await self._waiting.get()
            try:
                work = await self._ledger.signal(ft_order_id)
            except WorkerError as error:
                log.warning("notice.not_read", ft_order_id=ft_order_id, error=str(error))
                self._sweep.ask()
                continue
            if work is None:
                continue
            item = item_of(work, "notice", self._clock)
            if self._intake.offer(item, fresh=True):
                self._on_found(item)
