"""Orders on the book that must come off it: left behind by their market, or forbidden by a switch.

Noted in the database first, then asked of the exchange, and what came of it is told by a look-up alone: an answer to a
cancellation says nothing of what was traded before. A process that dies in between leaves an order that rests on, and
is found again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from worker.errors import WorkerError
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.ports import Clock, Exchange, Ledger
from worker.orders.reprice import CallOff, Resting, call_off
from worker.orders.terms import OrderId

log = structlog.get_logger(__name__)

_PAGE = 500
_CONCURRENCY = 4


@dataclass(frozen=True, slots=True)
class RestingPolicy:
    """`max_age_s`: may rest so long, whatever the market does. Left behind, it is looked at every `look_every_s`."""

    max_age_s: float
    reprices_most: int
    cancel_on_pause: bool
    refresh_every_s: float
    look_every_s: float


class RestingOrders:
    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        wallets: Wallets,
        clock: Clock,
        metrics: Metrics,
        policy: RestingPolicy,
        on_called_off: Callable[[OrderId], None],
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._on_called_off = on_called_off
        self._on_turn = on_turn
        self._looked_s: dict[OrderId, float] = {}

    async def run(self) -> None:
        while True:
            self._on_turn("resting")
            try:
                await self.turn()
            except WorkerError as error:
                self._metrics.task_failures.labels("resting").inc()
                log.warning("resting.not_read", error=str(error))
            await asyncio.sleep(self._policy.refresh_every_s)

    async def turn(self) -> None:
        """Look once at every order that is due. Raises `WorkerError` if nobody tells which they are."""
        since_s = self._clock.monotonic() - self._policy.look_every_s
        self._looked_s = {order_id: at_s for order_id, at_s in self._looked_s.items() if at_s > since_s}
        found = await self._ledger.resting(
            *self._wallets.held,
            older_than_s=self._policy.max_age_s,
            paused=self._policy.cancel_on_pause,
            limit=_PAGE,
            without=self._looked_s,
        )
        places = asyncio.Semaphore(_CONCURRENCY)
        async with asyncio.TaskGroup() as group:
            for resting in found:
                group.create_task(self._look_in(places, resting))

    async def _look_in(self, places: asyncio.Semaphore, resting: Resting) -> None:
        async with places:
            self._looked_s[resting.order_id] = self._clock.monotonic()
            try:
                await self._look(resting)
            except WorkerError as error:
                log.warning("order.not_called_off", order_id=resting.order_id, why=str(error))
            except Exception:
                # One odd answer must not keep every other order on the book.
                log.exception("order.not_called_off", order_id=resting.order_id)
                self._metrics.task_failures.labels("resting").inc()
            self._on_turn("resting")

    async def _look(self, resting: Resting) -> None:
        if (why := resting.halt) is None:
            market = await self._exchange.market(resting.condition_id)
            book = await self._exchange.book(resting.token_id)
            why = call_off(resting, market, book, reprices_most=self._policy.reprices_most)
        if why is None or self._wallets.lease(resting.wallet) is None:
            return
        if await self._ledger.call_off(resting.order_id, why):
            await self._cancel(resting, why)

    async def _cancel(self, resting: Resting, why: CallOff) -> None:
        self._metrics.called_off.labels(why).inc()
        try:
            cancelled = await self._exchange.cancel(resting.wallet, resting.order_id)
        finally:
            self._on_called_off(resting.order_id)
        log.info(
            "order.called_off",
            order_id=resting.order_id,
            strategy_id=resting.strategy_id,
            why=why,
            cancelled=cancelled,
        )
