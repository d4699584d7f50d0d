"""The venue's limit of requests per signer: a token bucket for orders and one for cancels.

Off unless an allowance is set. A request that finds too few tokens is not admitted: 429, nothing processed.
Numbers and headers as in the venue's published tiers (polymarket-clob.md 4.7).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor

from worker.sandbox.exchange.clock import NANOSECONDS, Clock
from worker.sandbox.exchange.orders import Address
from worker.sandbox.exchange.rules import Allowance, Rules


class Errand(StrEnum):
    ORDER = "order"
    CANCEL = "cancel"


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_ns: int


@dataclass(frozen=True, slots=True)
class Verdict:
    admitted: bool
    headers: Mapping[str, str]


class Limiter:
    def __init__(self, clock: Clock, rules: Rules) -> None:
        self._clock = clock
        self.tier = rules.rate_tier
        self._allowances: dict[Errand, Allowance | None] = {
            Errand.ORDER: rules.order_allowance,
            Errand.CANCEL: rules.cancel_allowance,
        }
        self._buckets: dict[tuple[Address, Errand], _Bucket] = {}

    def allow(self, errand: Errand, allowance: Allowance | None) -> None:
        """From now on; None: without limit. Every bucket of this errand starts full."""
        self._allowances[errand] = allowance
        self._buckets = {key: bucket for key, bucket in self._buckets.items() if key[1] is not errand}

    def take(self, signer: Address, errand: Errand, cost: int = 1) -> Verdict:
        """Asks for `cost` tokens and says what the answer's headers are."""
        allowance = self._allowances[errand]
        if allowance is None:
            return Verdict(admitted=True, headers={})
        bucket = self._bucket(signer, errand, allowance)
        admitted = bucket.tokens >= cost
        if admitted:
            bucket.tokens -= cost
        short = max(0.0, (0 if admitted else cost) - bucket.tokens)
        wait_s = short / allowance.per_s
        headers = {
            "Poly-RateLimit-Remaining": str(floor(bucket.tokens)),
            "Poly-RateLimit-Reset": str(ceil(self._clock.now_ns() / NANOSECONDS + wait_s)),
            "Poly-RateLimit-Tier": self.tier,
        }
        return Verdict(
            admitted, headers if admitted else {**headers, "Retry-After": str(max(1, ceil(wait_s)))}
        )

    def overdraw(self, signer: Address, errand: Errand, cost: int) -> None:
        """Charges what only turned out afterwards, as a cancel-all does. The balance may become negative."""
        allowance = self._allowances[errand]
        if allowance is not None:
            self._bucket(signer, errand, allowance).tokens -= cost

    def _bucket(self, signer: Address, errand: Errand, allowance: Allowance) -> _Bucket:
        """This signer's bucket, filled up to the present moment."""
        now_ns = self._clock.now_ns()
        bucket = self._buckets.setdefault((signer, errand), _Bucket(allowance.burst, now_ns))
        gained = (now_ns - bucket.filled_ns) / NANOSECONDS * allowance.per_s
        bucket.tokens = min(float(allowance.burst), bucket.tokens + gained)
        bucket.filled_ns = now_ns
        return bucket
