"""The settings that a decision obeys: ages, price room, minimums, and how soon to ask again. Pure values."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from worker.orders.reasons import Backoff
from worker.orders.terms import Mode


@dataclass(frozen=True, slots=True)
class RetryPace:
    """Wait a quarter of the signal's age, within these bounds: tries thin out without a counter."""

    first: timedelta
    cap: timedelta

    def delay(self, age: timedelta) -> timedelta:
        return min(max(age / 4, self.first), self.cap)


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    mode: Mode = Mode.PAPER
    fresh_for: timedelta = timedelta(minutes=2)
    backfill_max_age: timedelta = timedelta(hours=24)
    min_tick_max_pct: Decimal = Decimal(20)  # one tick may cost at most this percentage of the base price
    min_marketable_usd: Decimal = Decimal(1)  # the exchange's own minimum for a BUY
    gtd_lifetime: timedelta = timedelta(minutes=10)
    quick_retry: RetryPace = field(default=RetryPace(timedelta(seconds=1), timedelta(seconds=15)))
    slow_retry: RetryPace = field(default=RetryPace(timedelta(seconds=5), timedelta(seconds=60)))

    def pace(self, backoff: Backoff) -> RetryPace:
        return self.quick_retry if backoff is Backoff.QUICK else self.slow_retry
