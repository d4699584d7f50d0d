"""Orders that are not settled yet: looked up when due, sooner when the exchange says that something happened.

The schedule lives in memory and only paces the look-ups; which attempts are open is asked of the database, so a
restart or a takeover forgets nothing. Asked for are those that are due, longest unseen first: however many are open,
each has its turn.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from worker.errors import DatabaseUnreachable, ExchangeMalformed, ExchangeUnreachable, WorkerError
from worker.execution.inflight import InFlight
from worker.execution.resolve import IN_DOUBT, Resolution, Resolver
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Attempt, Clock, Ledger
from worker.orders.terms import OrderId, WalletAddress

log = structlog.get_logger(__name__)

_PAGE, _CONCURRENCY = 1000, 8
# Of one wallet, in one turn: when so many look-ups stayed unanswered, the others wait for the next turn.
_UNANSWERED_MOST = 3
# So many that rest are asked after in one reading of the wallet's open orders; fewer cost less by themselves.
_GLANCE_FROM = 3
# Matched orders no older than this share a reading; an older one, whose trade hangs, would make it reach ever further.
_TOGETHER_FOR = timedelta(hours=1)
# What is over and only watched: last, so many in one turn, and ever more seldom.
_WATCHED_MOST = 20
_WATCHED_SLOWER = 8


@dataclass(frozen=True, slots=True)
class PendingTiming:
    """Look-ups of one order: `first_s` after its answer, then doubling to `most_s`.

    Trades that do not add up to an order that is over are alarmed once that has lasted for `books_within_s`.
    `recover_within_s`: what is still in doubt then holds up the start no longer.
    """

    tick_s: float
    first_s: float
    refresh_every_s: float
    most_s: float
    books_within_s: float
    recover_within_s: float = 15.0


@dataclass(slots=True)
class _Followed:
    """An open order, by what is to be remembered between two look-ups. Times are monotonic."""

    due_s: float
    wait_s: float
    rests: bool = False
    is_unknown: bool = False
    unbooked_since_s: float | None = None
    is_alarmed: bool = False


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
        on_over: Callable[[], None] = lambda: None,
        page: int = _PAGE,
    ) -> None:
        """`on_over` hears when orders were found to be over, with all their trades. `under_way`: what this process is sending, by the ids of the orders; it is left alone.

        `on_turn` hears of every turn and of every look-up: each is bounded, a turn with thousands of them is not.
        At most `page` orders are read at once.
        """
        self._resolver = resolver
        self._under_way = under_way
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._metrics = metrics
        self._timing = timing
        self._on_turn = on_turn
        self._on_over = on_over
        self._page = page
        self._followed: dict[OrderId, _Followed] = {}
        self._may_be_more = False
        self._looked_up = 0
        self._woken = asyncio.Event()

    def follow(self, order_id: OrderId) -> None:
        """An order of ours was answered: look it up a moment from now."""
        self._followed.setdefault(
            order_id, _Followed(self._clock.monotonic() + self._timing.first_s, self._timing.first_s)
        )
        self._woken.set()

    def wake(self, order_id: OrderId) -> None:
        """The exchange said that something happened to this order: look now, if it is one that we follow."""
        if followed := self._followed.get(order_id):
            followed.due_s, followed.wait_s = self._clock.monotonic(), self._timing.first_s
            self._woken.set()

    async def recover(self) -> int:
        """At start: resolve what an earlier process may have sent. Returns how many were looked up.

        A look-up that fails leaves its attempt open for the loop: a case, never a crash. Orders that are known to
        exist hold up no start, however many rest on the book, and an exchange that is silent does not for long: the
        loop looks them up first thing, and what an order in doubt holds stays reserved.
        """
        before = self._looked_up
        try:
            async with asyncio.timeout(self._timing.recover_within_s):
                await self._look_up_doubts()
        except TimeoutError:
            log.warning("recovery.cut_short", after_s=self._timing.recover_within_s)
        return self._looked_up - before

    async def _look_up_doubts(self) -> None:
        seen: set[OrderId] = set()
        while True:
            attempts = await self._open_attempts(without=seen)
            await self._look_up_all([attempt for attempt in attempts if attempt.state in IN_DOUBT])
            seen.update(attempt.envelope.order_id for attempt in attempts)
            if not (attempts and self._may_be_more):
                return

    async def run(self) -> None:
        while True:
            await self._wait()
            self._beat()
            try:
                attempts = await self._open_attempts(without=self._not_due())
            except WorkerError as error:
                self._metrics.task_failures.labels("pending").inc()
                log.warning("pending.not_read", error=str(error))
                await asyncio.sleep(self._timing.first_s)
                continue
            await self._look_up_all(attempts)

    def _not_due(self) -> Collection[OrderId]:
        """Of those that rest, whatever is due soon comes along once one of them is due: together they cost one reading."""
        now_s = self._clock.monotonic()
        gathers = any(one.rests and one.due_s <= now_s for one in self._followed.values())
        return {
            order_id
            for order_id, one in self._followed.items()
            if one.due_s > now_s + (one.wait_s / 2 if gathers and one.rests else 0)
        }

    async def _wait(self) -> None:
        """Until something is due, but not for longer than the refresh: attempts of a taken-over wallet appear.

        Wake-ups may hurry the end but never push it away, however many orders are answered meanwhile.
        """
        began_s = self._clock.monotonic()
        while True:
            soonest_s = min((one.due_s for one in self._followed.values()), default=float("inf"))
            if self._may_be_more:
                soonest_s = began_s
            until_s = max(
                began_s + self._timing.tick_s, min(soonest_s, began_s + self._timing.refresh_every_s)
            )
            self._woken.clear()
            try:
                async with asyncio.timeout(until_s - self._clock.monotonic()):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _open_attempts(self, *, without: Collection[OrderId]) -> list[Attempt]:
        """Open attempts but `without`, and but those whose answer was about to be written down when they were read.

        Of these the reading may be older than the answer, which may forbid what a look-up would do. What was asked
        for and is not open any more is followed no longer.
        """
        asked = self._followed.keys() - without
        with self._under_way.witnessed() as sending:
            found = await self._ledger.open_attempts(*self._wallets.held, limit=self._page, without=without)
        self._may_be_more = len(found) >= self._page
        if not self._may_be_more:
            for order_id in asked - {attempt.envelope.order_id for attempt in found}:
                self._followed.pop(order_id, None)
        return [attempt for attempt in found if attempt.envelope.order_id not in sending]

    async def _look_up_all(self, attempts: list[Attempt]) -> None:
        """Matched orders of a wallet in one reading of its trades, those that rest in one of its open orders; every
        other one by itself, and whatever has moved.
        """
        matched: defaultdict[WalletAddress, list[Attempt]] = defaultdict(list)
        unmoved = await self._glance(attempts)
        others: list[Attempt] = []
        together_since = self._clock.now() - _TOGETHER_FOR
        for attempt in attempts:
            if attempt.envelope.order_id in unmoved:
                continue
            known = (
                attempt.state is AttemptState.MATCHED
                and attempt.stated_shares is not None
                and not attempt.envelope.order_type.rests
                and not attempt.is_watched
                and attempt.created_at > together_since
            )
            (matched[attempt.envelope.wallet] if known else others).append(attempt)
        places = asyncio.Semaphore(_CONCURRENCY)
        unanswered: Counter[WalletAddress] = Counter()

        async def one(attempt: Attempt) -> None:
            wallet = attempt.envelope.wallet
            async with places:
                if unanswered[wallet] >= _UNANSWERED_MOST:
                    self._leave(attempt)
                else:
                    answered = await self._noting([attempt], self._look_up(attempt))
                    unanswered[wallet] += not answered

        async def together(wallet: WalletAddress, attempts: list[Attempt]) -> None:
            await self._noting(attempts, self._resolver.settle(wallet, attempts, on_step=self._beat))

        others.sort(key=lambda attempt: attempt.is_watched)
        most = sum(not attempt.is_watched for attempt in others) + _WATCHED_MOST
        for attempt in others[most:]:
            self._leave(attempt)
        async with asyncio.TaskGroup() as group:
            for wallet, of_wallet in matched.items():
                group.create_task(together(wallet, of_wallet))
            for attempt in others[:most]:
                group.create_task(one(attempt))
        followed = self._followed.values()
        self._metrics.attempts_unresolved.set(sum(one.is_unknown for one in followed))
        self._metrics.books_incomplete.set(sum(one.is_alarmed for one in followed))

    async def _glance(self, attempts: Sequence[Attempt]) -> Collection[OrderId]:
        """Those that rest on the book as they did when they were looked up last."""
        resting: defaultdict[WalletAddress, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if attempt.is_known_to_rest:
                resting[attempt.envelope.wallet].append(attempt)
        unmoved: set[OrderId] = set()
        for wallet, of_wallet in resting.items():
            if len(of_wallet) < _GLANCE_FROM:
                continue
            try:
                resolutions = await self._resolver.glance(wallet, of_wallet)
            except WorkerError as error:
                log.warning("order.lookup_failed", orders=len(of_wallet), error=str(error))
                continue
            for attempt in of_wallet:
                if resolution := resolutions.get(attempt.envelope.order_id):
                    self._schedule(attempt, resolution)
            unmoved |= resolutions.keys()
            self._looked_up += len(resolutions)
            self._beat()
        return unmoved

    async def _look_up(self, attempt: Attempt) -> Mapping[OrderId, Resolution]:
        return {attempt.envelope.order_id: await self._resolver.resolve(attempt)}

    def _beat(self) -> None:
        self._on_turn("pending")

    def _leave(self, attempt: Attempt) -> None:
        """Not looked up in this turn: due in the next one."""
        self._followed.setdefault(
            attempt.envelope.order_id, _Followed(self._clock.monotonic(), self._timing.first_s)
        )

    async def _noting(
        self, attempts: list[Attempt], work: Coroutine[Any, Any, Mapping[OrderId, Resolution]]
    ) -> bool:
        """Do the look-up, and see that what is not settled by it comes up again, later each time.

        False: nobody answered.
        """
        resolutions: Mapping[OrderId, Resolution] = {}
        answered = True
        try:
            resolutions = await work
        except WorkerError as error:
            silent = isinstance(error, ExchangeUnreachable | DatabaseUnreachable)
            answered = isinstance(error, ExchangeMalformed) or not silent
            log.warning("order.lookup_failed", orders=len(attempts), error=str(error))
        except Exception:
            # One odd answer must not end the look-ups of every other order.
            log.exception("order.lookup_failed", orders=len(attempts))
            self._metrics.task_failures.labels("pending").inc()
        for attempt in attempts:
            self._schedule(attempt, resolutions.get(attempt.envelope.order_id))
        if any(resolution.is_over for resolution in resolutions.values()):
            self._on_over()
        self._looked_up += len(attempts)
        self._beat()
        return answered

    def _schedule(self, attempt: Attempt, resolution: Resolution | None) -> None:
        """`resolution` None: the look-up failed."""
        order_id, now_s = attempt.envelope.order_id, self._clock.monotonic()
        if resolution is not None and resolution.settled:
            self._followed.pop(order_id, None)
            return
        followed = self._followed.get(order_id)
        if followed is None:
            followed = self._followed[order_id] = _Followed(now_s, self._timing.first_s)
        else:
            slower = _WATCHED_SLOWER if attempt.is_watched else 1
            followed.wait_s = min(followed.wait_s * 2 * slower, self._timing.most_s * slower)
        followed.is_unknown = (resolution or attempt).state is AttemptState.UNKNOWN
        followed.rests = attempt.is_known_to_rest
        if resolution is not None:
            self._check_books(attempt, resolution, followed)
        followed.due_s = now_s + followed.wait_s

    def _check_books(self, attempt: Attempt, resolution: Resolution, followed: _Followed) -> None:
        """Trades that stay away are said once, loudly; the order is looked up on and on, as seldom as any."""
        now_s = self._clock.monotonic()
        if not resolution.unbooked:
            followed.unbooked_since_s, followed.is_alarmed = None, False
            return
        if followed.unbooked_since_s is None:
            followed.unbooked_since_s = now_s
        if not followed.is_alarmed and now_s - followed.unbooked_since_s >= self._timing.books_within_s:
            followed.is_alarmed = True
            log.error(
                "order.books_incomplete",
                order_id=attempt.envelope.order_id,
                strategy_id=attempt.strategy_id,
                state=resolution.state,
                stated_shares=attempt.stated_shares,
                filled_shares=attempt.filled_shares,
                for_s=round(now_s - followed.unbooked_since_s),
                fix="compare its trades at the exchange; its money stays reserved until they are all booked",
            )
        if followed.is_alarmed:
            followed.wait_s = self._timing.most_s
