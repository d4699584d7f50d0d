"""After a trade the market goes on: its book is looked at a minute and five minutes later, and kept for mark-outs.

Which books is asked of the database, at once when something was traded and hardly ever otherwise; a look waits for the
background budget, and one that comes too late is left out. No order waits for any of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from worker.errors import ExchangeError, MarketNotFound
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.marks import Mark, MarkKeeper
from worker.orders.ports import Clock, Exchange
from worker.orders.terms import TokenId

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MarkTiming:
    """`every_s` while nothing is due; sooner where the database says so, though not before `least_s`."""

    every_s: float
    least_s: float
    tokens: int


class Marking:
    def __init__(
        self,
        keeper: MarkKeeper,
        *,
        exchange: Exchange,
        wallets: Wallets,
        take: Callable[[], Awaitable[None]],
        clock: Clock,
        metrics: Metrics,
        timing: MarkTiming,
    ) -> None:
        """`take`: the background budget, waited for before each look."""
        self._keeper = keeper
        self._exchange = exchange
        self._wallets = wallets
        self._take = take
        self._clock = clock
        self._metrics = metrics
        self._timing = timing
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Something may have been traded."""
        self._stirred.set()

    async def run(self) -> None:
        """Until cancelled. Raises `WorkerError` when the database does not answer."""
        while True:
            self._stirred.clear()
            wait_s = await self.round()
            try:
                async with asyncio.timeout(wait_s):
                    await self._stirred.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(self._timing.least_s)

    async def round(self) -> float:
        """Look at what is due; returns how long there is nothing to be done."""
        timing = self._timing
        if not (held := self._wallets.held):
            return timing.every_s
        due = await self._keeper.due(held, limit=timing.tokens)
        marks = [mark for token_id in due.token_ids if (mark := await self._look(token_id)) is not None]
        if marks:
            self._metrics.marks.labels("taken").inc(await self._keeper.keep(marks))
        if due.token_ids:  # some may have failed, or had no place
            return timing.least_s
        wait_s = timing.every_s if due.next_in_s is None else min(due.next_in_s, timing.every_s)
        return max(wait_s, timing.least_s)

    async def _look(self, token_id: TokenId) -> Mark | None:
        await self._take()
        try:
            book = await self._exchange.book(token_id)
        except MarketNotFound:
            return Mark(token_id, self._clock.now(), None, None)  # its market has ended: nobody quotes
        except ExchangeError as error:
            self._metrics.marks.labels("failed").inc()
            log.debug("mark.not_taken", token_id=token_id, error=str(error))
            return None
        bid, ask = (side[0].price if side else None for side in (book.bids, book.asks))
        return Mark(token_id, book.seen_at, bid, ask)
