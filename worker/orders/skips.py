"""A signal that does not become an order: the reason, the number that failed, the limit that it met, what was seen.

A skip without `retry_at` is final. One with it is deferred: the pair is asked again then, until `expires_at`, and
the same reason is final from there on, whether it was asked again in time or not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Deferral:
    """What stands written of a pair that was put off: how often it was tried, and its reason's word."""

    tries: int
    word: str

    @property
    def reason(self) -> SkipReason | None:
        """None: another version of the worker spoke that word."""
        return next((reason for reason in SkipReason if reason == self.word), None)


def timed(
    skip: Skip,
    *,
    created_at: datetime,
    policy: DecisionPolicy,
    now: datetime,
    before: Deferral | None = None,
    not_before: datetime | None = None,
) -> Skip:
    """The skip with its times: deferred while its reason may pass and the signal is young enough, else final.

    `before`: what it was deferred for until now. A signal that grew too old while it was put off is not given up
    for its age, but for what kept it waiting. `not_before`: when whoever said no asked to be asked again.
    """
    if before is not None and skip.reason is SkipReason.SIGNAL_TOO_OLD and before.reason is not None:
        return replace(skip, reason=before.reason)
    backoff, expiry = skip.reason.backoff, skip.reason.expiry
    if backoff is None or expiry is None:
        return skip
    lifetime = policy.fresh_for if expiry is Expiry.FRESH else policy.backfill_max_age
    expires_at = created_at + lifetime
    if now >= expires_at:
        return skip
    tries = before.tries if before is not None else 0
    retry_at = now + policy.pace(backoff).delay(tries)
    if not_before is not None:
        retry_at = max(retry_at, not_before)
    retry_at = min(retry_at, expires_at)
    return replace(skip, retry_at=retry_at, expires_at=expires_at)
