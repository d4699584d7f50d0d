"""What the effects need from the world: `Exchange`, `Ledger`, `Clock`, and the values that cross.

`exchange/polymarket.py`, `exchange/paper.py` and `database/ledger.py` are the implementations; each port has a
contract suite in `tests/contracts/` that runs on all of them. Nothing here knows HTTP, SQL or an SDK.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from worker.orders.capital import Capital
from worker.orders.decide import Plan, Skip
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.market import Book, Market
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Deferral
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import (
    ConditionId,
    ExchangeVersion,
    Fence,
    FtOrderId,
    LtOrderId,
    Mode,
    OrderId,
    OrderType,
    Side,
    StrategyId,
    TokenId,
    TradeId,
    WalletAddress,
    WorkerId,
)


class Clock(Protocol):
    def now(self) -> datetime:
        """The database's time, UTC: what ages and expiries are judged by."""
        ...

    def monotonic(self) -> float:
        """Seconds for durations and deadlines; never compared between processes."""
        ...


# --- the exchange ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed order as it will go over the wire, and its id. Persisted before the first byte is sent.

    `body` is canonical JSON text: whoever holds it can send the identical order again, and only that.
    """

    order_id: OrderId
    wallet: WalletAddress
    token_id: TokenId
    side: Side
    order_type: OrderType
    exchange_version: ExchangeVersion
    body: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one POST, as facts; `orders/outcomes.py` says what it means.

    `http_status` None: no answer was read. `connected` False: proved that no byte of the order left.
    Amounts as the exchange stated them, in the order's own direction; None where it stated none.
    """

    http_status: int | None
    connected: bool = True
    order_id: OrderId | None = None
    status: str = ""
    error: str = ""
    making_amount: Decimal | None = None
    taking_amount: Decimal | None = None
    trade_ids: tuple[TradeId, ...] = ()
    retry_after_s: Decimal | None = None
    limiter_headers: bool = False
    well_formed: bool = True


@dataclass(frozen=True, slots=True)
class Fill:
    """One of our trades. Money facts come from here and from nowhere else."""

    trade_id: TradeId
    order_id: OrderId
    role: str  # TAKER or MAKER
    side: Side
    token_id: TokenId
    price: Decimal
    shares: Decimal
    fee_usd: Decimal
    state: FillState
    matched_at: datetime


@dataclass(frozen=True, slots=True)
class OrderView:
    """What the exchange says of one order now: `found` False means that it said "not found"."""

    order_id: OrderId
    found: bool
    status: str = ""
    size_matched: Decimal | None = None
    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True, slots=True)
class WalletBalance:
    wallet: WalletAddress
    collateral_usd: Decimal
    as_of: datetime


class Exchange(Protocol):
    """One order book, for one or more wallets. Reads raise `ExchangeUnreachable` or `MarketNotFound`."""

    async def market(self, condition_id: ConditionId) -> Market:
        """Rules of the market, from a cache that is younger than its setting, else from the exchange."""
        ...

    async def book(self, token_id: TokenId) -> Book: ...

    async def prepare(self, wallet: WalletAddress, plan: Plan) -> Envelope:
        """Sign the plan's exact amounts. Sends nothing; no network at all once the market is warm."""
        ...

    async def submit(self, envelope: Envelope) -> Answer:
        """POST the envelope once. Never raises for an answer or for the lack of one: the `Answer` says it."""
        ...

    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        """The order and all its trades, both read now. `since`: it cannot be older, which makes the search short."""
        ...

    async def fills(
        self, wallet: WalletAddress, order_ids: Collection[OrderId], *, since: datetime
    ) -> Mapping[OrderId, Sequence[Fill]]:
        """Every trade of these orders since then, in one reading of the wallet's trades.

        An order that is missing from the answer has no trade that can be seen yet, which proves nothing.
        """
        ...

    async def cancel(self, wallet: WalletAddress, order_id: OrderId) -> bool:
        """True if the exchange says that it cancelled; False if it says that it did not."""
        ...

    async def balance(self, wallet: WalletAddress) -> WalletBalance: ...

    async def warm(self, wallets: Sequence[WalletAddress], condition_ids: Sequence[ConditionId]) -> None:
        """Do ahead of time whatever the first order would wait for."""
        ...

    async def aclose(self) -> None: ...


# --- the ledger -----------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Granted:
    lt_order_id: LtOrderId
    capital: Capital
    replayed: bool  # the same id had been granted before: its answer was lost


@dataclass(frozen=True, slots=True)
class Refused:
    """The claim's own words: the reason, the number that failed and the limit it met.

    A final reason is already recorded as the pair's decision; with any other the pair stays work.
    """

    reason: SkipReason
    value: str
    limit: str
    capital: Capital


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
    barred: bool = False  # an answer forbids to send this body again
    sent_at: datetime | None = None  # the last recorded POST
    looked_up_at: datetime | None = None
    signal_created_at: datetime | None = None  # what the attempt's freshness is judged by
    limit_price: Decimal | None = None
    shares: Decimal | None = None  # what it is for; None: it spends dollars


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


class Ledger(Protocol):
    """The database's side of the money protocol. Raises `DatabaseUnreachable` or `DatabaseRefused`.

    Every call is idempotent: one whose answer was lost may be asked again as it is.
    """

    async def strategies(self) -> Sequence[Strategy | InvalidStrategy]:
        """Every active strategy; one whose row contradicts itself comes as `InvalidStrategy`."""
        ...

    async def work(
        self,
        *,
        limit: int,
        window_s: float | None = None,
        pairs: int | None = None,
        bookmark: Mapping[str, Any] | None = None,
        strategy_id: StrategyId | None = None,
        without: Collection[StrategyId] = (),
    ) -> WorkBatch:
        """Newest first; the anti-join over scopes and horizon, no watermark. At most `limit` signals.

        Every deferral that is due, all signals younger than `window_s`, and of the rest of the horizon the next
        stretch of about `pairs` pairs from `bookmark` on. `pairs` None: no stretch beside a window, and the whole
        rest without one. `strategy_id`: its work alone. `without`: strategies that this worker cannot serve now.
        """
        ...

    async def signal(self, ft_order_id: FtOrderId) -> Work | None:
        """One signal with exact numerics, re-read from the table; None if the row is gone or nobody follows it."""
        ...

    async def capital(self, strategy_id: StrategyId) -> Capital: ...

    async def claim(
        self, plan: Plan, envelope: Envelope, lease: Lease, stages: Stages
    ) -> Granted | Refused: ...

    async def record(self, record: AttemptRecord) -> AttemptState: ...

    async def decide(self, decisions: Sequence[Decision]) -> int:
        """Write skips and deferrals; returns how many were new. Never overwrites an execution."""
        ...

    async def lease(self, wallet: WalletAddress, *, ttl_s: float) -> Lease | LeaseHeld:
        """Take or renew."""
        ...

    async def leases(
        self, *wallets: WalletAddress, ttl_s: float
    ) -> Mapping[WalletAddress, Lease | LeaseHeld]:
        """Renew what this worker has, and tell who has the rest. A wallet that is not in the answer: ask `lease`."""
        ...

    async def release(self, lease: Lease) -> None: ...

    async def open_attempts(self, *wallets: WalletAddress, limit: int) -> Sequence[Attempt]:
        """Whatever of these wallets still wants a look, longest unseen first."""
        ...

    async def wallets_seen(self, *balances: WalletBalance) -> None: ...


class Signals(Protocol):
    """A wake-up source: calls back with the row that was inserted, if it has it, and only that."""

    async def run(self) -> None: ...


__all__ = [
    "Answer",
    "Attempt",
    "AttemptRecord",
    "Clock",
    "Decision",
    "Envelope",
    "Exchange",
    "Fill",
    "Granted",
    "Lease",
    "LeaseHeld",
    "Ledger",
    "LookupFinding",
    "LostRule",
    "OrderView",
    "Refused",
    "Signal",
    "Signals",
    "Stages",
    "WalletBalance",
    "Work",
    "WorkBatch",
]
