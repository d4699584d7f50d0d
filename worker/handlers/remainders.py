"""What an order has left when its attempt is over: tried again while somebody offers it inside the cap.

Which orders have something left is asked of the database, so a restart or a takeover forgets nothing; memory only paces
the looks at the book. The market channel hurries them. Of two workers that go on with one order the claim grants one.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

import structlog

from worker.errors import WorkerError
from worker.execution.doors import Closed
from worker.execution.submit import Executed, NotSent, Received, Submitter
from worker.execution.wallets import Wallets
from worker.handlers.judge import Judge
from worker.handlers.strategies import Strategies
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan
from worker.orders.market import Quote
from worker.orders.numbers import plain
from worker.orders.ports import Before, Clock, Ledger, Refused
from worker.orders.reasons import SkipReason
from worker.orders.retake import NotOffered, Remainder, RemainderPolicy
from worker.orders.skips import Skip
from worker.orders.strategy import Strategy
from worker.orders.terms import LtOrderId, Mode, OrderId, Side, TokenId

log = structlog.get_logger(__name__)

_PAGE = 500
_CONCURRENCY = 8
_NEVER_S = float("inf")
# A plan made on a look at the book is good for so long.
_BOOK_GOOD_FOR = timedelta(seconds=5)
# However often a market changes, the book of one order is not read more often.
_LOOK_AT_MOST_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class RemainderTiming:
    """Looks at the book for one order: `first_s` after its attempt was over, then doubling to `most_s`."""

    first_s: float
    most_s: float
    refresh_every_s: float
    gather_s: float = 0.1


@dataclass(slots=True)
class _Waiting:
    """An order with something left, by what is to be remembered between two looks. Times are monotonic."""

    token_id: TokenId
    side: Side
    attempt_no: int
    until: datetime
    due_s: float
    wait_s: float
    cap: Decimal | None  # None: not known before the first look
    looked_s: float = -_NEVER_S
    is_given_up: bool = False

    def is_inside(self, quote: Quote) -> bool:
        price = quote.ask if self.side is Side.BUY else quote.bid
        if price is None or self.cap is None:
            return False
        return price <= self.cap if self.side is Side.BUY else price >= self.cap


@dataclass(frozen=True, slots=True)
class Bench:
    """Whom it asks, and whom it tells."""

    ledger: Ledger
    judges: Mapping[Mode, Judge]
    submitter: Submitter
    strategies: Strategies
    wallets: Wallets
    clock: Clock
    metrics: Metrics
    follow: Callable[[Collection[TokenId]], None]
    on_answered: Callable[[OrderId], None]
    on_turn: Callable[[str], None] = lambda _: None


class Remainders:
    def __init__(self, bench: Bench, policy: RemainderPolicy, timing: RemainderTiming) -> None:
        self._bench = bench
        self._policy = policy
        self._timing = timing
        self._waiting: dict[LtOrderId, _Waiting] = {}
        self._is_woken = True  # whatever an earlier process left is due at once
        self._stirred = asyncio.Event()
        self._places = asyncio.Semaphore(_CONCURRENCY)

    def wake(self) -> None:
        """Some order's attempt is over: see whether it has left something."""
        self._is_woken = True
        self._stirred.set()

    def heard(self, quote: Quote) -> None:
        """The market moved: look at the book now for whoever finds his price there."""
        now_s = self._bench.clock.monotonic()
        for one in self._waiting.values():
            if one.token_id == quote.token_id and one.is_inside(quote) and one.due_s < _NEVER_S:
                one.due_s = min(one.due_s, max(now_s, one.looked_s + _LOOK_AT_MOST_EVERY_S))
                self._stirred.set()

    async def run(self) -> None:
        """Each order is served by itself: one whose attempt takes long delays no other."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wait()
                self._bench.on_turn("remainders")
                try:
                    due = await self._due()
                except WorkerError as error:
                    self._bench.metrics.task_failures.labels("remainders").inc()
                    log.warning("remainders.not_read", error=str(error))
                    await asyncio.sleep(self._timing.first_s)
                    continue
                for remainder, waiting in due:
                    waiting.due_s = _NEVER_S  # until it was served
                    group.create_task(self._serve_in_place(remainder, waiting))

    async def _wait(self) -> None:
        """Until something is due or over, but not for longer than the refresh: a wallet that was taken over has some."""
        refresh_s = self._bench.clock.monotonic() + self._timing.refresh_every_s
        while not self._is_woken:
            soonest_s = min((one.due_s for one in self._waiting.values()), default=_NEVER_S)
            left_s = min(soonest_s, refresh_s) - self._bench.clock.monotonic()
            if left_s <= 0:
                break
            self._stirred.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._stirred.wait()
            except TimeoutError:
                break
        self._is_woken = False
        await asyncio.sleep(self._timing.gather_s)

    async def _due(self) -> list[tuple[Remainder, _Waiting]]:
        """Orders with something left whose turn it is. Raises `WorkerError` if nobody tells which they are."""
        bench, now_s = self._bench, self._bench.clock.monotonic()
        later = {key for key, one in self._waiting.items() if one.due_s > now_s}
        asked = self._waiting.keys() - later
        found = await bench.ledger.remainders(
            *bench.wallets.held, policy=self._policy, limit=_PAGE, without=later
        )
        for remainder in found:
            known = self._waiting.get(remainder.lt_order_id)
            if known is None or known.attempt_no != remainder.attempt_no:
                self._waiting[remainder.lt_order_id] = self._new(remainder)
        for key in asked - {remainder.lt_order_id for remainder in found}:
            self._waiting.pop(key, None)
        self._forget_the_old()
        bench.follow({one.token_id for one in self._waiting.values() if not one.is_given_up})
        served = ((remainder, self._waiting.get(remainder.lt_order_id)) for remainder in found)
        return [(remainder, one) for remainder, one in served if one is not None and one.due_s <= now_s]

    def _new(self, remainder: Remainder) -> _Waiting:
        return _Waiting(
            token_id=remainder.token_id,
            side=remainder.side,
            attempt_no=remainder.attempt_no,
            until=remainder.until(self._policy),
            due_s=self._bench.clock.monotonic() + self._timing.first_s,
            wait_s=self._timing.first_s,
            cap=None if remainder.order_type.rests else remainder.limit_price,
        )

    def _forget_the_old(self) -> None:
        now = self._bench.clock.now()
        for key in [key for key, one in self._waiting.items() if one.until < now]:
            del self._waiting[key]

    async def _serve_in_place(self, remainder: Remainder, waiting: _Waiting) -> None:
        async with self._places:
            waiting.looked_s = self._bench.clock.monotonic()
            try:
                again_in_s = await self._serve(remainder, waiting)
            except WorkerError as error:
                log.warning("order.not_retaken", lt_order_id=remainder.lt_order_id, why=str(error))
                again_in_s = 0.0
            except Exception:
                # One odd answer must not end the re-takes of every other order.
                log.exception("order.not_retaken", lt_order_id=remainder.lt_order_id)
                self._bench.metrics.task_failures.labels("remainders").inc()
                again_in_s = 0.0
            if again_in_s is None:
                self._waiting.pop(remainder.lt_order_id, None)
                return
            waiting.is_given_up = again_in_s == _NEVER_S
            waiting.due_s = self._bench.clock.monotonic() + max(waiting.wait_s, again_in_s)
            waiting.wait_s = min(waiting.wait_s * 2, self._timing.most_s)
            self._stirred.set()
            self._bench.on_turn("remainders")

    async def _serve(self, remainder: Remainder, waiting: _Waiting) -> float | None:
        """One look, and the next attempt if there is an offer.

        Returns how long to leave it alone, at least; None: there is another attempt, and what it leaves is news.
        """
        bench = self._bench
        known = bench.strategies.get(remainder.strategy_id)
        judge = bench.judges.get(remainder.mode)
        if not isinstance(known, Strategy) or judge is None or bench.wallets.lease(remainder.wallet) is None:
            return 0.0
        if (closed := bench.submitter.closed(remainder.wallet, self._good_until(remainder))) is not None:
            return closed.again_in_s
        strategy = known.traded_in(remainder.mode)
        verdict = await judge.next_attempt(remainder, strategy, self._policy.reprice_extra)
        match verdict:
            case NotOffered():
                waiting.cap = verdict.cap
                if not remainder.is_unsent or self._is_fresh(remainder):
                    return 0.0
                # As with any signal that is not fresh: what is not on offer now is not waited for.
                cap, reason = plain(verdict.cap), SkipReason.PRICE_MOVED
                return self._declined(remainder, reason, "not offered", cap)
            case Skip():
                return self._declined(remainder, verdict.reason, verdict.value, verdict.limit)
            case Plan():
                return await self._try_again(remainder, verdict)

    async def _try_again(self, remainder: Remainder, plan: Plan) -> float | None:
        bench, now = self._bench, self._bench.clock.now()
        result = await bench.submitter.execute(
            plan,
            Received.now(bench.clock),
            decided_at=now,
            fresh_until=self._good_until(remainder),
            after=Before(remainder.lt_order_id, remainder.attempt_no),
        )
        match result:
            case Executed():
                kind, event = _named(remainder)
                bench.metrics.further_attempts.labels(kind).inc()
                log.info(
                    event,
                    lt_order_id=remainder.lt_order_id,
                    strategy_id=remainder.strategy_id,
                    order_id=result.envelope.order_id,
                    attempt_no=result.granted.attempt_no,
                    left=str(remainder.left),
                    limit_price=plan.limit_price,
                    answer=result.answer,
                    state=result.state,
                )
                bench.on_answered(result.envelope.order_id)
                self.wake()
                return None
            case Refused():
                return self._declined(remainder, result.reason, result.value, result.limit)
            case NotSent():
                return 0.0
            case Closed():
                return result.again_in_s
            case _:
                assert_never(result)

    def _is_fresh(self, remainder: Remainder) -> bool:
        return self._bench.clock.now() <= remainder.signal.created_at + self._policy.fresh_for

    def _good_until(self, remainder: Remainder) -> datetime:
        """Until when a further attempt that is decided now may be sent."""
        if not self._is_fresh(remainder) or (remainder.order_type.rests and not remainder.is_unsent):
            return self._bench.clock.now() + _BOOK_GOOD_FOR
        return remainder.signal.created_at + self._policy.fresh_for

    def _declined(self, remainder: Remainder, reason: SkipReason, value: str, limit: str) -> float:
        log.info(
            "order.not_retaken",
            lt_order_id=remainder.lt_order_id,
            strategy_id=remainder.strategy_id,
            why=reason,
            value=value,
            limit=limit,
        )
        return _NEVER_S if reason.final else 0.0


def _named(remainder: Remainder) -> tuple[str, str]:
    """What another attempt is called: by the metrics, and by the log."""
    if remainder.is_unsent:
        return "unsent", "order.sent_after_all"
    return ("reprice", "order.repriced") if remainder.order_type.rests else ("retake", "order.retaken")
