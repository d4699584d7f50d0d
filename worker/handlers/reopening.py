"""A door of the exchange has opened again, or nobody is left to knock at it: what was put off for it is due now.

Otherwise a signal that waited for a restart would go on waiting after it, by the pace at which it was put off. Of what
waits at a door where nobody is, the youngest signal is asked first: it can knock for longest. Each door has its own.
"""

import asyncio
from collections.abc import Callable, Collection

import structlog

from worker.errors import WorkerError
from worker.execution.doors import Doors
from worker.handlers.strategies import Strategies
from worker.observe.metrics import Metrics
from worker.orders.ports import Clock, Ledger
from worker.orders.terms import WalletAddress

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
# A door may stay as it was left for as long as nobody has an order: then there is nobody to be hurried either.
_NOBODY_WAITS_S = 5.0


class Reopening:
    def __init__(
        self,
        *,
        doors: Doors,
        strategies: Strategies,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
        fresh_for_s: float,
        on_due: Callable[[], None],
    ) -> None:
        """`on_due` hears that there is work whose time has come; `fresh_for_s`: who is older does not knock for long."""
        self._doors = doors
        self._strategies = strategies
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._fresh_for_s = fresh_for_s
        self._on_due = on_due
        self._opened: set[WalletAddress] = set()
        self._opened_before: set[WalletAddress] = set()
        self._not_before_s = 0.0
        self._stirred = asyncio.Event()
        doors.tell(self._open)

    def _open(self, wallet: WalletAddress) -> None:
        self._opened.add(wallet)
        self._stirred.set()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._stirred.wait()
            except TimeoutError:
                pass
            self._stirred.clear()
            await self.turn()

    async def turn(self) -> None:
        """Hurry what waits for doors that have opened, and one signal for each at which somebody might knock.

        Twice: whoever found the door shut may have been writing that down while it was opened.
        """
        opened = self._opened | self._opened_before
        self._opened_before, self._opened = self._opened, set()
        now_s = self._clock.monotonic()
        deserted = self._doors.deserted if now_s >= self._not_before_s else []
        due = 0
        try:
            if opened:
                due += await self._ledger.make_due(self._strategies.on(opened))
            if deserted:
                knockers = await self._knockers(deserted)
                self._not_before_s = now_s + (0.0 if knockers else _NOBODY_WAITS_S)
                due += knockers
        except WorkerError as error:
            self._opened |= opened  # at the next look
            self._metrics.task_failures.labels("reopening").inc()
            log.warning("door.nobody_hurried", error=str(error))
        if due:
            log.info("door.hurried", signals=due, opened=sorted(opened), deserted=deserted)
            self._on_due()

    async def _knockers(self, deserted: Collection[WalletAddress]) -> int:
        """One for each wallet: in one count, younger signals of another wallet would always be before its own."""
        found = [
            await self._ledger.make_due(
                self._strategies.on({wallet}), most=1, younger_than_s=self._fresh_for_s
            )
            for wallet in deserted
        ]
        return sum(found)
