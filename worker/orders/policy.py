"""The settings that a decision obeys: ages, price room, minimums, and how soon to ask again. Pure values."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from worker.orders.reasons import Backoff
from worker.orders.terms import Mode

_DOUBLINGS_MOST = 16  # beyond any cap


@dataclass(frozen=True, slots=True)
class RetryPace:
    """Wait twice as long after each try, up to `cap`: a hiccup costs a second, a closed door costs few tries."""

    first: timedelta
    cap: timedelta

    def delay(self, tries: int) -> timedelta:
        """How long to wait after `tries` tries that came before this one."""
        doublings = min(tries, _DOUBLINGS_MOST)
        return min(self.first * (1 << doublings), self.cap)


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    mode: Mode = Mode.PAPER
    fresh_for: timedelta = timedelta(minutes=2)
    backfill_max_age: timedelta = timedelta(hours=24)
    min_tick_max_pct: Decimal = Decimal(20)  # one tick may cost at most this percentage of the base price
    min_marketable_usd: Decimal = Decimal(1)  # the exchange's own minimum for a BUY
    min_edge_after_fees: Decimal | None = None  # dollars a share of one dollar; None asks for no edge
    unknown_edge_passes: bool = False  # for a fresh signal; any other needs an edge that is known
    gtd_lifetime: timedelta = timedelta(minutes=10)
    quick_retry: RetryPace = field(default=RetryPace(timedelta(seconds=1), timedelta(seconds=60)))
    slow_retry: RetryPace = field(default=RetryPace(timedelta(seconds=5), timedelta(seconds=300)))

    def pace(self, backoff: Backoff) -> RetryPace:
        return self.quick_retry if backoff is Backoff.QUICK else self.slow_retry
