"""One copy of one print: the order that the worker would send, and all that it would do about what is left of it.

Decided by the worker's own rules (`worker/orders`: decide, retake, reprice), matched by those of its paper exchange
(`worker/exchange/shadow.py`), at the pace of its settings. What these leave open is assumed, and said in `assumptions`:
when an order reaches the book, what it leaves there for itself, and who meets it while it rests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final

from benchmarks.fill_rate.orders import Assignment, Bought, Conditions, Footprint
from benchmarks.fill_rate.tape import Tape, amount, moment, price_usd
from tests.orders.builders import a_capital
from worker.exchange.shadow import ShadowOrder, Taken, execute
from worker.exchange.trades import MAKER, TAKER, taker_fee_usd
from worker.orders.decide import Plan, decide
from worker.orders.numbers import CENT
from worker.orders.reprice import CallOff, Resting, call_off
from worker.orders.retake import NotOffered, Remainder, next_attempt
from worker.orders.skips import Skip
from worker.orders.terms import LtOrderId, Mode, OrderId, OrderType
from worker.sandbox.exchange.recording import LevelChange
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price

MARKED_AFTER_S: Final = (60, 300)
_LOOK_AT_MOST_EVERY_MS: Final = 100  # as worker/handlers/remainders.py
_CAPITAL: Final = a_capital(available="1000000")  # no copy waits for another one's money


@dataclass(slots=True)
class _Waiting:
    """For an offer inside `cap` (None: not known before the first look at the book)."""

    closed_ms: int
    due_ms: int
    wait_ms: int
    cap: Price | None
    looked_ms: int = 0


class Copy:
    """Alone in its world: what it takes from the book is gone for it, and for no other copy."""

    def __init__(
        self,
        given: Assignment,
        tape: Tape,
        conditions: Conditions,
        on_open: Callable[["Copy"], None],
    ) -> None:
        """`on_open`: there is something left after its first attempt, and it wants to hear of its token until it is over."""
        self.given = given
        self.fills: list[Bought] = []
        self.first: Plan | None = None
        self.skipped: Skip | None = None
        self.attempts = 0
        self.is_over = False
        self._tape = tape
        self._conditions = conditions
        self._on_open = on_open
        self._footprint = Footprint()
        self._resting: Plan | None = None
        self._waiting: _Waiting | None = None
        tape.at(given.leader.ms + conditions.delay_ms, self._begin)
        tape.at(given.leader.ms + conditions.follow_ms, self._end)

    # --- what has come of it

    @property
    def target(self) -> Decimal:
        """Dollars of a FAK or FOK, shares of what rests; 0 if nothing was ordered."""
        if self.first is None:
            return Decimal(0)
        amounts = self.first.amounts
        return amounts.spend_usd or amounts.shares or Decimal(0)

    @property
    def filled(self) -> Decimal:
        """In the unit of the target."""
        rests = self.given.way.order_type.rests
        return sum((fill.shares if rests else fill.usd for fill in self.fills), Decimal(0))

    @property
    def left(self) -> Decimal:
        return self.target - self.filled

    @property
    def is_complete(self) -> bool:
        """Nothing is left but dust."""
        return self.first is not None and self.left < CENT

    # --- what it hears

    def changed(self, row: LevelChange) -> None:
        """A level of its token, and its best prices."""
        self._footprint.follow(row)
        waiting = self._waiting
        if waiting is None or waiting.cap is None or not 0 < row.best_ask <= waiting.cap:
            return
        due_ms = max(row.ms, waiting.looked_ms + _LOOK_AT_MOST_EVERY_MS)
        if due_ms < waiting.due_ms:
            self._look_at(waiting, due_ms)

    def sold(self, price: Price, shares: Micro) -> None:
        """A seller went down to that price: one who goes through ours meets us first."""
        if self._resting is None or price_usd(price) >= self._resting.limit_price:
            return
        self._book_fill(MAKER, self._resting.limit_price, min(amount(shares), self.left), Decimal(0))
        if self.is_complete:
            self._end()

    # --- what it does

    def _begin(self) -> None:
        given, policy = self.given, self._conditions.policy
        plan = decide(given.signal, given.strategy, given.market, None, _CAPITAL, policy, self._tape.now)
        if isinstance(plan, Skip):
            self.skipped = plan
            self._end()
        else:
            self.first = plan
            self._arrive(plan)
            if not self.is_over:
                self._on_open(self)

    def _arrive(self, plan: Plan) -> None:
        if self.is_over:
            return
        self.attempts += 1
        taken = self._matched(plan)
        for each in taken:
            self._footprint.take(each)
            fee_usd = taker_fee_usd(each.shares, each.price, plan.market)
            self._book_fill(TAKER, each.price, each.shares, fee_usd)
        if self.is_complete or not (plan.order_type.rests or self.given.way.again):
            self._end()
        elif plan.order_type.rests:
            self._rest(plan)
        elif self.attempts <= self._conditions.further.retakes_most:
            after_ms = self._conditions.booked_ms if taken else 0
            self._tape.at(
                self._tape.now_ms + after_ms, partial(self._wait, int(plan.limit_price * PRICE_ONE))
            )
        else:
            self._end()

    def _matched(self, plan: Plan) -> tuple[Taken, ...]:
        order = ShadowOrder(
            plan.side, plan.order_type, plan.limit_price, plan.amounts.spend_usd, plan.amounts.shares
        )
        execution = execute(order, self._footprint.without(self._tape.book(self.given.token)))
        return () if plan.order_type is OrderType.FOK and not execution.complete else execution.taken

    def _book_fill(self, role: str, price: Decimal, shares: Decimal, fee_usd: Decimal) -> None:
        now_ms, token = self._tape.now_ms, self.given.token
        is_later = now_ms > self.given.leader.ms + self._conditions.delay_ms
        fill = Bought(now_ms, is_later, role, price, shares, fee_usd)
        self.fills.append(fill)
        for after_s in MARKED_AFTER_S:

            def mark(after_s: int = after_s) -> None:
                fill.mids[after_s] = self._tape.mid(token)

            self._tape.at(now_ms + after_s * 1000, mark)

    # --- at rest (worker/handlers/resting.py)

    def _rest(self, plan: Plan) -> None:
        self._resting = plan
        if self.given.way.again:
            age_ms = _ms(self._conditions.resting.max_age_s)
            self._tape.at(self._tape.now_ms + age_ms, partial(self._review, plan))

    def _review(self, plan: Plan) -> None:
        if self.is_over:
            return
        policy = self._conditions.resting
        book = self._footprint.without(self._tape.book(self.given.token))
        why = call_off(self._order(plan), plan.market, book, reprices_most=policy.reprices_most)
        if why is None:
            self._tape.at(self._tape.now_ms + _ms(policy.look_every_s), partial(self._review, plan))
        else:
            self._tape.at(self._tape.now_ms + self._conditions.reach_ms, partial(self._called_off, why))

    def _called_off(self, why: CallOff) -> None:
        self._resting = None
        if why is CallOff.REPRICE and not self.is_over:
            self._tape.at(self._tape.now_ms + self._conditions.booked_ms, partial(self._wait, None))
        else:
            self._end()

    def _order(self, plan: Plan) -> Resting:
        strategy = self.given.strategy
        return Resting(
            order_id=OrderId(""),
            strategy_id=strategy.strategy_id,
            mode=Mode.LIVE,
            wallet=strategy.wallet_address,
            condition_id=plan.market.condition_id,
            token_id=self.given.token,
            side=plan.side,
            limit_price=plan.limit_price,
            attempts=self.attempts,
            halt=None,
        )

    # --- waiting for an offer (worker/handlers/remainders.py)

    def _wait(self, cap: Price | None) -> None:
        now_ms, timing = self._tape.now_ms, self._conditions.timing
        first_ms = _ms(timing.first_s)
        self._waiting = _Waiting(now_ms, now_ms, first_ms, cap)
        self._look_at(self._waiting, now_ms + _ms(timing.gather_s) + first_ms)

    def _look_at(self, waiting: _Waiting, due_ms: int) -> None:
        waiting.due_ms = due_ms
        self._tape.at(due_ms + _ms(self._conditions.timing.gather_s), partial(self._look, waiting, due_ms))

    def _look(self, waiting: _Waiting, due_ms: int) -> None:
        if self.is_over or self._waiting is not waiting or waiting.due_ms != due_ms:
            return
        remainder, conditions, tape = self._remainder(waiting), self._conditions, self._tape
        if tape.now > remainder.until(conditions.further):
            self._end()
            return
        waiting.looked_ms = tape.now_ms
        given = self.given
        book = self._footprint.without(tape.book(given.token))
        extra = conditions.further.reprice_extra
        match next_attempt(remainder, given.strategy, given.market, book, _CAPITAL, conditions.policy, extra):
            case Plan() as plan:
                self._waiting = None
                tape.at(tape.now_ms + conditions.reach_ms, partial(self._arrive, plan))
                return
            case NotOffered(cap):
                waiting.cap = int(cap * PRICE_ONE)
            case Skip(reason) if reason.final:
                self._end()
                return
            case Skip():
                pass
        self._look_at(waiting, tape.now_ms + waiting.wait_ms)
        waiting.wait_ms = min(waiting.wait_ms * 2, _ms(conditions.timing.most_s))

    def _remainder(self, waiting: _Waiting) -> Remainder:
        given, first = self.given, self.first
        if first is None:
            raise AssertionError("nothing waits that was never ordered")
        paid_usd = sum((fill.usd + fill.fee_usd for fill in self.fills), Decimal(0))
        return Remainder(
            lt_order_id=LtOrderId(""),
            strategy_id=given.strategy.strategy_id,
            mode=Mode.LIVE,
            wallet=given.strategy.wallet_address,
            order_type=first.order_type,
            side=first.side,
            token_id=given.token,
            base_price=first.base_price,
            limit_price=first.limit_price,
            left=self.left,
            left_usd=first.reservation.usd - paid_usd,
            attempt_no=self.attempts,
            attempts=self.attempts,
            closed_at=moment(waiting.closed_ms),
            is_off_tick=False,
            is_unsent=False,
            signal=given.signal,
        )

    def _end(self) -> None:
        self.is_over = True
        self._resting = self._waiting = None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
