"""A signal that does not become an order: the reason, the number that failed, the limit that it met, what was seen.

A skip without `retry_at` is final. One with it is deferred: the pair is asked again then, until `expires_at`, and
the same reason is final from there on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import Expiry, SkipReason


@dataclass(frozen=True, slots=True)
class Skip:
    reason: SkipReason
    value: str = ""
    limit: str = ""
    retry_at: datetime | None = None
    expires_at: datetime | None = None
    snapshot: Mapping[str, str] = field(default_factory=dict)

    @property
    def deferred(self) -> bool:
        return self.retry_at is not None


def timed(skip: Skip, *, created_at: datetime, policy: DecisionPolicy, now: datetime) -> Skip:
    """The skip with its times: deferred while its reason may pass and the signal is young enough, else final."""
    backoff, expiry = skip.reason.backoff, skip.reason.expiry
    if backoff is None or expiry is None:
        return skip
    lifetime = policy.fresh_for if expiry is Expiry.FRESH else policy.backfill_max_age
    expires_at = created_at + lifetime
    if now >= expires_at:
        return skip
    age = max(now - created_at, timedelta(0))
    retry_at = min(now + policy.pace(backoff).delay(age), expires_at)
    return replace(skip, retry_at=retry_at, expires_at=expires_at)
