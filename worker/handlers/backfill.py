"""Work left to do: asked of the database at start, when the feed comes back, and at every tick.

The sweep is the truth and the feed only hurries it: whatever has no decision is found here, whoever lost it. There is
no watermark. Each sweep looks at the newest signals and at one more stretch of the horizon, so that its cost is the
same however much lies behind, and a backlog of any length is walked to its end.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from worker.errors import WorkerError
from worker.execution.submit import Received
from worker.handlers.intake import Intake, Item, insert_time
from worker.observe.health import Health, Level
from worker.orders.ports import Clock, Ledger, Work
from worker.orders.terms import FtOrderId, Unserved

log = structlog.get_logger(__name__)

_REST_LEAST = 0.25  # of the interval, between the end of a sweep and the next

# A signal that is younger is in a hurry; an older one is backlog, and in no lane's way.
_JUST_INSERTED_S = 5.0


@dataclass(frozen=True, slots=True)
class SweepTiming:
    """Each sweep takes at most `batch` signals: of the last `window_s`, and of `pairs` pairs of the rest."""

    batch: int
    window_s: float
    pairs: int


class Sweep:
    def __init__(
        self,
        *,
        ledger: Ledger,
        intake: Intake,
        clock: Clock,
        health: Health,
        timing: SweepTiming,
        every_s: Callable[[], float],
        without: Callable[[], Collection[Unserved]],
        on_found: Callable[[Item], None],
        on_version: Callable[[str], None] = lambda _: None,
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`every_s` is asked at each round: the sweep hurries while the feed is down. `without`: see `Ledger.work`."""
        self._ledger = ledger
        self._intake = intake
        self._clock = clock
        self._health = health
        self._timing = timing
        self._every_s = every_s
        self._without = without
        self._on_found = on_found
        self._on_version = on_version
        self._on_turn = on_turn
        self._not_before: datetime | None = None
        self._asked = asyncio.Event()
        self.begun = asyncio.Event()  # what the first sweep saw is queued
        self._bookmark: Mapping[str, Any] | None = None
        self._crowded = False

    def leave_what_came_before(self) -> None:
        """From now on nothing is found that was inserted before now (`run --no-backfill`)."""
        self._not_before = self._clock.now()

    def ask(self, *, after_s: float = 0.0) -> None:
        """Sweep soon, whatever the interval.

        The round of the horizon goes on where it is, however often this is asked: each sweep sees the newest anyway.
        """
        if after_s <= 0:
            self._asked.set()
        else:
            asyncio.get_running_loop().call_later(after_s, self._asked.set)

    async def once(self, source: str) -> int:
        """Queue what is left to do, as far as one sweep sees; returns how many signals were new to the queue."""
        batch = await self._ledger.work(
            limit=self._timing.batch,
            window_s=self._timing.window_s,
            pairs=self._timing.pairs,
            oldest_s=self._oldest_s(),
            bookmark=self._bookmark,
            without=self._out_of_the_way(),
        )
        self._bookmark = batch.bookmark
        self._on_version(batch.strategies_version)
        found = sum(self._offer(work, source) for work in batch.work)
        self._crowded = batch.more and not found
        return found

    async def run(self) -> None:
        """Sweep at once, and from then on at every interval, until cancelled; a failure is reported and tried again."""
        while True:
            began_s = self._clock.monotonic()
            self._asked.clear()
            self._on_turn("sweep")
            try:
                await self._turn()
            except WorkerError as error:
                if self._health.report("sweep", Level.FAILING, f"the database does not answer: {error}"):
                    log.error("sweep.failed", error=str(error))
            else:
                if self._health.report("sweep", Level.OK):
                    log.info("sweep.working")
            try:
                async with asyncio.timeout(self._rest_s(began_s)):
                    await self._asked.wait()
            except TimeoutError:
                pass

    async def _turn(self) -> None:
        if self.begun.is_set():
            await self.once("sweep")
            return
        queued = await self.once("start")
        self.begun.set()
        log.info("backfill.queued", signals=queued)

    def _rest_s(self, began_s: float) -> float:
        """The interval is from start to start; a database that is slow to answer still gets a rest."""
        every_s = self._every_s()
        return max(began_s + every_s - self._clock.monotonic(), every_s * _REST_LEAST)

    def _oldest_s(self) -> float | None:
        if self._not_before is None:
            return None
        return (self._clock.now() - self._not_before).total_seconds()

    def _out_of_the_way(self) -> set[Unserved]:
        """Strategies whose work must not take the places of others': they cannot be served, or have enough to do."""
        enough = self._intake.engaged() if self._crowded else self._intake.full()
        return {*self._without(), *enough}

    def _offer(self, work: Work, source: str) -> bool:
        inserted = insert_time(work.signal_row)
        age_s = (self._clock.now() - inserted).total_seconds() if inserted is not None else float("inf")
        item = item_of(work, source, self._clock)
        if not self._intake.offer(item, fresh=age_s <= _JUST_INSERTED_S):
            return False
        self._on_found(item)
        return True


def item_of(work: Work, source: str, clock: Clock) -> Item:
    return Item(
        ft_order_id=FtOrderId(str(work.signal_row["order_id"])),
        row=work.signal_row,
        strategy_ids=work.strategy_ids,
        source=source,
        received=Received.now(clock),
        deferrals=work.deferrals,
    )
