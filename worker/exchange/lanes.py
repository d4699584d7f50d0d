"""Request budgets: one lane per kind of call, each first come, first served.

The exchange meters every signer (40 orders/s, burst 60 in the Standard tier) and every address of ours. A lane
lets at most `burst` calls through in any window of `burst / rate_per_s` seconds, so it never exceeds the rate
over a window and never waits below it. Waiters queue behind an `asyncio.Lock`, which is first in, first out:
`asyncio_throttle` alone lets newcomers overtake, and under a steady stream the first waiter is never served.
"""

import asyncio
from types import TracebackType

from asyncio_throttle.throttler import Throttler

from worker.orders.terms import WalletAddress
from worker.settings import ExchangeSettings

_POLL_S = 0.005  # how late a waiter may notice that the window has moved on


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

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing to give back: a budget counts starts, not calls in flight."""


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
