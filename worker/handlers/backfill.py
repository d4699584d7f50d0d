"""Work left to do: asked of the database at start, when the feed comes back, and at every tick.

The sweep is the truth and the feed only hurries it: whatever has no decision is found here, whoever lost it.
There is no watermark; the database answers which pairs are undecided or due. Between two sweeps of the whole
horizon, the cheap ones look at the newest signals only: what they cannot see is a minute late, never lost.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from worker.errors import WorkerError
from worker.execution.submit import Received
from worker.handlers.intake import Intake, Item, insert_time
from worker.observe.health import Health, Level
from worker.orders.ports import Clock, Ledger, Work
from worker.orders.terms import FtOrderId, StrategyId

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweepTiming:
    batch: int
    window_s: float
    whole_every_s: float


class Sweep:
    def __init__(
        self,
        *,
        ledger: Ledger,
        intake: Intake,
        clock: Clock,
        health: Health,
        timing: SweepTiming,
        fresh_for_s: float,
        every_s: Callable[[], float],
        without: Callable[[], Collection[StrategyId]],
        on_found: Callable[[Item], None],
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`every_s` is asked at each round: the sweep hurries while the feed is down. `without`: see `Ledger.work`."""
        self._ledger = ledger
        self._intake = intake
        self._clock = clock
        self._health = health
        self._timing = timing
        self._fresh_for_s = fresh_for_s
        self._every_s = every_s
        self._without = without
        self._on_found = on_found
        self._on_turn = on_turn
        self._asked = asyncio.Event()
        self._whole_due_s = 0.0

    def ask(self, *, after_s: float = 0.0) -> None:
        """Sweep the whole horizon soon, whatever the interval."""
        if after_s <= 0:
            self._asked.set()
        else:
            asyncio.get_running_loop().call_later(after_s, self._asked.set)

    async def once(self, source: str, *, whole: bool = True) -> int:
        """Queue what is left to do; returns how many signals were new to the queue."""
        batch = await self._ledger.work(
            limit=self._timing.batch,
            window_s=None if whole else self._timing.window_s,
            without=self._without(),
        )
        if whole:
            self._whole_due_s = self._clock.monotonic() + self._timing.whole_every_s
        return sum(self._offer(work, source) for work in batch.work)

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every_s()):
                    await self._asked.wait()
            except TimeoutError:
                pass
            whole = self._asked.is_set() or self._clock.monotonic() >= self._whole_due_s
            self._asked.clear()
            self._on_turn("sweep")
            try:
                await self.once("sweep", whole=whole)
            except WorkerError as error:
                if self._health.report("sweep", Level.FAILING, f"the database does not answer: {error}"):
                    log.error("sweep.failed", error=str(error))
            else:
                if self._health.report("sweep", Level.OK):
                    log.info("sweep.working")

    def _offer(self, work: Work, source: str) -> bool:
        now = self._clock.now()
        inserted = insert_time(work.signal_row)
        item = Item(
            ft_order_id=FtOrderId(str(work.signal_row["order_id"])),
            row=work.signal_row,
            strategy_ids=work.strategy_ids,
            source=source,
            received=Received.now(self._clock),
        )
        fresh = inserted is not None and (now - inserted).total_seconds() <= self._fresh_for_s
        if not self._intake.offer(item, fresh=fresh):
            return False
        self._on_found(item)
        return True
