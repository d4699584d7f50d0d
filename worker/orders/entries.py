"""What crosses to and from the ledger: leases, work, decisions, claims, attempts and the records of their answers.

Values only; `ports.Ledger` says what is done with them, and `ports` hands them on to whoever needs both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from worker.orders.capital import Capital
from worker.orders.decide import Skip
from worker.orders.lifecycle import AttemptState
from worker.orders.reasons import SkipReason
from worker.orders.skips import Deferral
from worker.orders.terms import (
    ConditionId,
    Fence,
    FtOrderId,
    LtOrderId,
    Mode,
    OrderId,
    StrategyId,
    WalletAddress,
    WorkerId,
)
from worker.orders.venue import Envelope, Fill


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to submit for a wallet. `deadline_s` is on this process's monotonic clock."""

    wallet: WalletAddress
    mode: Mode
    worker: WorkerId
    fence: Fence
    deadline_s: float


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """Somebody else holds the wallet."""

    wallet: WalletAddress
    holder: WorkerId
    holder_mode: Mode
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Work:
    """A signal and the strategies that have not decided it (or whose deferral is due)."""

    signal_row: Mapping[str, Any]
    strategy_ids: tuple[StrategyId, ...]
    deferrals: Mapping[StrategyId, Deferral] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkBatch:
    """`more`: some of it found no place. `bookmark`: where to go on with the round; None: it has ended.

    `strategies_version` changes whenever a strategy, its paper wallet, a switch or a scope does.
    """

    work: tuple[Work, ...]
    more: bool
    bookmark: Mapping[str, Any] | None = None
    strategies_version: str = ""


@dataclass(frozen=True, slots=True)
class Stages:
    """When one signal passed each stage, database time."""

    received_at: datetime
    decided_at: datetime
    prepared_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A skip or a deferral to be written down. `signal_id` is all that is left of a malformed row."""

    strategy_id: StrategyId
    ft_order_id: FtOrderId
    skip: Skip
    stages: Stages
    mode: Mode | None = None  # in which it was judged; None: the worker's own


@dataclass(frozen=True, slots=True)
class Before:
    """The last attempt of an order that a further one comes after, by its number: whoever claims knew of no other."""

    lt_order_id: LtOrderId
    attempt_no: int


@dataclass(frozen=True, slots=True)
class Granted:
    lt_order_id: LtOrderId
    capital: Capital
    replayed: bool  # the same id had been granted before: its answer was lost
    attempt_no: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """The claim's own words: the reason, the number that failed and the limit it met.

    A final reason is already recorded as the pair's decision; with any other the pair stays work.
    `again`: nothing is recorded, because less money might pass; decide once more with the `capital` of now.
    """

    reason: SkipReason
    value: str
    limit: str
    capital: Capital
    again: bool = False


class LookupFinding(StrEnum):
    """What the exchange said in a look-up that it answered; one that it did not answer finds nothing out."""

    FOUND = "found"
    NOT_FOUND = "not_found"


@dataclass(frozen=True, slots=True)
class LostRule:
    """When an unknown attempt without a trade may be given up; SQL holds every record to it (`lt_lost_refusal`)."""

    lookups: int = 6  # that said "not found" since the last send
    after: timedelta = timedelta(minutes=10)  # from the first to the last of them

    def holds(self, not_found: int, *, since: datetime, until: datetime) -> bool:
        """`not_found` look-ups, the first of them at `since` and the last at `until`."""
        return not_found >= self.lookups and until - since >= self.after


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that is not closed, as the ledger holds it: enough to look it up or to send it again."""

    envelope: Envelope
    mode: Mode
    strategy_id: StrategyId
    lt_order_id: LtOrderId
    state: AttemptState
    created_at: datetime
    lookups: int
    closed: bool
    stated_shares: Decimal | None  # what the answer said was traded; None where it said nothing
    filled_shares: Decimal  # booked so far and not reversed
    final_shares: Decimal
    sends: int = 0  # recorded POSTs of the body: one more may have gone out before a crash
    not_found: int = 0  # look-ups that said so since the last send; a find starts them anew
    not_found_since: datetime | None = None
    barred: bool = False  # an answer, or a human, forbids to send this body again
    sent_at: datetime | None = None  # the last recorded POST
    looked_up_at: datetime | None = None
    signal_created_at: datetime | None = None  # what the attempt's freshness is judged by
    limit_price: Decimal | None = None
    shares: Decimal | None = None  # what it is for; None: it spends dollars
    is_watched: bool = False  # closed on a word that may be mistaken: a human's, or "not processed"

    @property
    def is_known_to_rest(self) -> bool:
        """It stands on the book, and nothing of it is in doubt."""
        known = self.state is AttemptState.LIVE and self.envelope.order_type.rests
        in_doubt = self.not_found or self.is_watched or self.filled_shares != self.final_shares
        return known and not in_doubt


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether a body may go out once more. `why` not, empty where it may; `is_over`: its end is written down already."""

    why: str
    is_over: bool


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the ledger holds of one order: all that a paper exchange knows of what an earlier process did."""

    state: AttemptState
    shares: Decimal | None  # what it is for; None: it spends dollars
    expires_at: datetime | None
    fills: tuple[Fill, ...]
    condition_id: ConditionId | None = None  # None: nobody knows its market


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What is known of an attempt after an answer or a look-up. Recording it twice changes nothing."""

    order_id: OrderId
    state: AttemptState
    note: str  # the class of the answer and its words
    answer: Mapping[str, Any] = field(default_factory=dict)
    fills: tuple[Fill, ...] = ()
    closed: bool = False  # every trade of the order is in `fills` or was recorded before
    sent_at: datetime | None = None
    answered_at: datetime | None = None  # with `lookup`: when the exchange said it
    lookup: LookupFinding | None = None
    barred: bool = False  # never taken back
    lost_rule: LostRule | None = None  # None: as the database is configured
    decided_by: str | None = None  # a human, whose word stands above the rule
