"""Orders that are not settled yet: looked up when due, sooner when the exchange says that something happened.

The schedule lives in memory and only paces the look-ups; which attempts are open is asked of the database, so a
restart or a takeover forgets nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from worker.errors import WorkerError
from worker.execution.inflight import InFlight
from worker.execution.resolve import IN_DOUBT, Resolution, Resolver
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Attempt, Clock, Ledger
from worker.orders.terms import OrderId, WalletAddress

log = structlog.get_logger(__name__)

_OPEN_MOST = 1000
_CONCURRENCY = 8


@dataclass(frozen=True, slots=True)
class PendingTiming:
    """Look-ups of one order: `first_s` after its answer, then doubling to `most_s`."""

    tick_s: float
    first_s: float
    refresh_every_s: float
    most_s: float


@dataclass(slots=True)
class _Pace:
    due_s: float
    wait_s: float


class Pending:
    def __init__(
        self,
        *,
        resolver: Resolver,
        under_way: InFlight,
        ledger: Ledger,
        wallets: Wallets,
        clock: Clock,
        metrics: Metrics,
        timing: PendingTiming,
        on_turn: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`under_way`: what this process is sending, by the ids of the orders; it is left alone."""
        self._resolver = resolver
        self._under_way = under_way
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._metrics = metrics
        self._timing = timing
        self._on_turn = on_turn
        self._pace: dict[OrderId, _Pace] = {}
        self._woken = asyncio.Event()

    def follow(self, order_id: OrderId) -> None:
        """An order of ours was answered: look it up a moment from now."""
        self._pace.setdefault(
            order_id, _Pace(self._clock.monotonic() + self._timing.first_s, self._timing.first_s)
        )
        self._woken.set()

    def wake(self, order_id: OrderId) -> None:
        """The exchange said that something happened to this order: look now, if it is one that we follow."""
        if order_id in self._pace:
            self._pace[order_id] = _Pace(self._clock.monotonic(), self._timing.first_s)
            self._woken.set()

    async def recover(self) -> int:
        """At start: resolve what an earlier process may have sent. Returns how many were looked up.

        A look-up that fails leaves its attempt open for the loop: a case, never a crash. Orders that are known to
        exist hold up no start, however many rest on the book: the loop looks them up first thing.
        """
        attempts = [attempt for attempt in await self._open_attempts() if attempt.state in IN_DOUBT]
        await self._look_up_all(attempts)
        return len(attempts)

    async def run(self) -> None:
        while True:
            await self._wait()
            self._on_turn("pending")
            known = set(self._pace)
            try:
                attempts = await self._open_attempts()
            except WorkerError as error:
                self._metrics.task_failures.labels("pending").inc()
                log.warning("pending.not_read", error=str(error))
                await asyncio.sleep(self._timing.first_s)
                continue
            open_ids = {attempt.envelope.order_id for attempt in attempts}
            for order_id in known - open_ids:
                self._pace.pop(order_id, None)
            await self._look_up_all([attempt for attempt in attempts if self._is_due(attempt)])

    async def _wait(self) -> None:
        """Until something is due, but not for longer than the refresh: attempts of a taken-over wallet appear.

        Wake-ups may hurry the end but never push it away, however many orders are answered meanwhile.
        """
        began_s = self._clock.monotonic()
        while True:
            soonest_s = min((pace.due_s for pace in self._pace.values()), default=float("inf"))
            until_s = max(
                began_s + self._timing.tick_s, min(soonest_s, began_s + self._timing.refresh_every_s)
            )
            self._woken.clear()
            try:
                async with asyncio.timeout(until_s - self._clock.monotonic()):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _open_attempts(self) -> list[Attempt]:
        """Every open attempt but those whose answer this process was about to write down when they were read.

        Of these the reading may be older than the answer, which may forbid what a look-up would do.
        """
        with self._under_way.witnessed() as sending:
            found = await self._ledger.open_attempts(*self._wallets.held, limit=_OPEN_MOST)
        self._metrics.attempts_unresolved.set(sum(a.state is AttemptState.UNKNOWN for a in found))
        return [attempt for attempt in found if attempt.envelope.order_id not in sending]

    def _is_due(self, attempt: Attempt) -> bool:
        pace = self._pace.get(attempt.envelope.order_id)
        return pace is None or pace.due_s <= self._clock.monotonic()

    async def _look_up_all(self, attempts: list[Attempt]) -> None:
        """Matched orders of a wallet in one reading of its trades; every other order by itself."""
        matched: defaultdict[WalletAddress, list[Attempt]] = defaultdict(list)
        others: list[Attempt] = []
        for attempt in attempts:
            known = (
                attempt.state is AttemptState.MATCHED
                and attempt.stated_shares is not None
                and not attempt.envelope.order_type.rests
            )
            (matched[attempt.envelope.wallet] if known else others).append(attempt)
        places = asyncio.Semaphore(_CONCURRENCY)

        async def one(attempt: Attempt) -> None:
            async with places:
                await self._noting([attempt], self._look_up(attempt))

        async with asyncio.TaskGroup() as group:
            for wallet, of_wallet in matched.items():
                group.create_task(self._noting(of_wallet, self._resolver.settle(wallet, of_wallet)))
            for attempt in others:
                group.create_task(one(attempt))

    async def _look_up(self, attempt: Attempt) -> Mapping[OrderId, Resolution]:
        return {attempt.envelope.order_id: await self._resolver.resolve(attempt)}

    async def _noting(
        self, attempts: list[Attempt], work: Coroutine[Any, Any, Mapping[OrderId, Resolution]]
    ) -> None:
        """Do the look-up, and see that what is not settled by it comes up again, later each time."""
        resolutions: Mapping[OrderId, Resolution] = {}
        try:
            resolutions = await work
        except WorkerError as error:
            log.warning("order.lookup_failed", orders=len(attempts), error=str(error))
        except Exception:
            # One odd answer must not end the look-ups of every other order.
            log.exception("order.lookup_failed", orders=len(attempts))
            self._metrics.task_failures.labels("pending").inc()
        for attempt in attempts:
            order_id = attempt.envelope.order_id
            resolution = resolutions.get(order_id)
            if resolution is not None and resolution.settled:
                self._pace.pop(order_id, None)
                continue
            last = self._pace.get(order_id)
            wait_s = min(last.wait_s * 2, self._timing.most_s) if last else self._timing.first_s
            self._pace[order_id] = _Pace(self._clock.monotonic() + wait_s, wait_s)
