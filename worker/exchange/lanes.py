"""Request budgets: one lane per kind of call, each first come, first served.

The exchange meters every signer (40 orders/s, burst 60 in the Standard tier) and every address of ours. A lane
lets at most `burst` calls through in any window of `burst / rate_per_s` seconds, so it never exceeds the rate
over a window and never waits below it. Waiters queue behind an `asyncio.Lock`, which is first in, first out:
`asyncio_throttle` alone lets newcomers overtake, and under a steady stream the first waiter is never served.

Whoever can wait gives way before he takes: such calls are let in one by one, evenly, at three quarters of the rate
and while nobody else waits. However many of them there are, a call in a hurry finds room at once.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

from asyncio_throttle.throttler import Throttler

from worker.orders.terms import WalletAddress
from worker.settings import ExchangeSettings

_POLL_S = 0.005  # how late a waiter may notice that the window has moved on
_PATIENT_SHARE = 0.75  # of the rate, for calls that can wait


class Lane:
    """A budget for one kind of call. `await lane.take()` or `async with lane:` before each call."""

    def __init__(self, rate_per_s: float, burst: int = 1) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError(
                f"Expected a positive rate and burst, was rate_per_s={rate_per_s}, burst={burst}"
            )
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._throttler = Throttler(rate_limit=burst, period=burst / rate_per_s, retry_interval=_POLL_S)
        self._queue = asyncio.Lock()
        self._waiting = 0
        self._patience = _Turnstile()
        self._patient_every_s = 1 / (rate_per_s * _PATIENT_SHARE)
        self._patient_next_s = 0.0

    @property
    def waiting(self) -> int:
        """Calls that stand in the lane now, the one at its head included."""
        return self._waiting

    async def take(self) -> None:
        """Return when one more call fits the budget. A cancelled waiter leaves without spending anything."""
        self._waiting += 1
        try:
            async with self._queue:
                await self._throttler.acquire()  # type: ignore[no-untyped-call]  # it annotates nothing
        finally:
            self._waiting -= 1

    async def give_way(self, rank: float = 0.0) -> None:
        """Return when a call that can wait may be begun; the lowest rank first. `take` follows as for any other."""
        async with self._patience.turn(rank):
            loop = asyncio.get_running_loop()
            await asyncio.sleep(max(self._patient_next_s - loop.time(), 0))
            while self._waiting:  # noqa: ASYNC110 - the throttler that they wait for polls as well
                await asyncio.sleep(_POLL_S)
            self._patient_next_s = loop.time() + self._patient_every_s

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to give back: a budget counts starts, not calls in flight."""


class _Turnstile:
    """One at a time; of those who wait, the lowest rank first, and first come, first served among equals."""

    def __init__(self) -> None:
        self._taken = False
        self._arrivals = 0
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, rank: float) -> AsyncIterator[None]:
        if self._taken:
            mine = asyncio.get_running_loop().create_future()
            self._arrivals += 1
            heapq.heappush(self._waiting, (rank, self._arrivals, mine))
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()  # it was given the turn, and leaves before it could take it
                raise
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            *_, next_one = heapq.heappop(self._waiting)
            if not next_one.done():
                next_one.set_result(None)
                return
        self._taken = False


class Lanes:
    """The worker's budgets. The money path takes `submit(wallet)` before it prepares an order; the adapter takes
    `lookup` and `background` itself, so that neither a burst of look-ups nor warming can delay an order.
    """

    def __init__(self, settings: ExchangeSettings) -> None:
        self._settings = settings
        self._submit: dict[WalletAddress, Lane] = {}
        self.lookup = Lane(settings.lookups_per_s, settings.lookups_per_s)
        self.background = Lane(settings.background_per_s, settings.background_per_s)

    def submit(self, wallet: WalletAddress) -> Lane:
        """The lane of one signer: the exchange meters the orders of each by themselves."""
        lane = self._submit.get(wallet)
        if lane is None:
            lane = Lane(self._settings.orders_per_s, self._settings.orders_burst)
            self._submit[wallet] = lane
        return lane
