"""What the effects need from the world: `Exchange`, `Ledger`, `Clock`; the values that cross are handed on from here.

`exchange/polymarket/`, `exchange/paper.py` and `database/ledger.py` are the implementations; each port has a
contract suite in `tests/contracts/` that runs on all of them. Nothing here knows HTTP, SQL or an SDK.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from worker.orders.capital import Capital
from worker.orders.decide import Plan
from worker.orders.endings import Ending, Settled, UnsettledPage
from worker.orders.entries import (
    Attempt,
    AttemptRecord,
    Before,
    Decision,
    Granted,
    Lease,
    LeaseHeld,
    Leave,
    LookupFinding,
    LostRule,
    Refused,
    Remembered,
    Stages,
    Work,
    WorkBatch,
)
from worker.orders.holdings import Holdings
from worker.orders.lifecycle import AttemptState
from worker.orders.market import Book, Market
from worker.orders.reprice import CallOff, Resting
from worker.orders.retake import Remainder, RemainderPolicy
from worker.orders.signal import Signal
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import (
    ConditionId,
    FtOrderId,
    LtOrderId,
    Mode,
    OrderId,
    StrategyId,
    TokenId,
    Unserved,
    WalletAddress,
)
from worker.orders.venue import Answer, Envelope, Fill, OrderView, WalletBalance


class Clock(Protocol):
    def now(self) -> datetime:
        """The database's time, UTC: what ages and expiries are judged by."""
        ...

    def monotonic(self) -> float:
        """Seconds for durations and deadlines; never compared between processes."""
        ...


class Exchange(Protocol):
    """One order book, for one or more wallets. Reads raise `ExchangeUnreachable` or `MarketNotFound`."""

    async def market(self, condition_id: ConditionId, *, anew: bool = False) -> Market:
        """Rules of the market, from a cache that is younger than its setting, else, or `anew`, from the exchange."""
        ...

    async def book(self, token_id: TokenId) -> Book: ...

    async def endings(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        """Of these markets, each with one of its tokens, the closed ones: within the background budget, many at once."""
        ...

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

    async def open_orders(self, wallet: WalletAddress) -> Mapping[OrderId, Decimal]:
        """What stands on the book, with the shares of each that were matched so far: many in one request.

        One that is missing may be over, or not be listed yet, or be asked after by itself alone.
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
        oldest_s: float | None = None,
        bookmark: Mapping[str, Any] | None = None,
        strategy_id: StrategyId | None = None,
        without: Collection[Unserved] = (),
    ) -> WorkBatch:
        """Newest first; the anti-join over scopes and horizon, no watermark. At most `limit` signals.

        Deferrals that are due, all signals younger than `window_s`, and of the horizon the next stretch of about
        `pairs` pairs, each with places of its own; deferrals and horizon go on from `bookmark`. `pairs` None: no
        stretch beside a window, and all of the horizon without one. `oldest_s`: no older signal, but for deferrals.
        `strategy_id`: its work alone. `without`: what this worker cannot serve now.
        """
        ...

    async def signal(self, ft_order_id: FtOrderId) -> Work | None:
        """One signal with exact numerics, re-read from the table; None if the row is gone or nobody follows it."""
        ...

    async def capital(self, strategy_id: StrategyId) -> Capital: ...

    async def holdings(self, strategy_id: StrategyId, ft_order_id: FtOrderId, token_id: TokenId) -> Holdings:
        """What the strategy has of the token, and what the trader of that SELL had of it on paper before."""
        ...

    async def claim(
        self,
        plan: Plan,
        envelope: Envelope,
        lease: Lease,
        stages: Stages,
        *,
        after: Before | None = None,
        may_redecide: bool = False,
    ) -> Granted | Refused:
        """`after`: a further attempt of an order that was granted before; None: the first one of its pair.

        `may_redecide`: a refusal for money is not recorded, because the pair is decided again (`Refused.again`).
        """
        ...

    async def record(self, record: AttemptRecord) -> AttemptState: ...

    async def allow_resend(self, order_id: OrderId) -> Leave:
        """Whether the body may go out once more; if so, no human ends the attempt for a minute."""
        ...

    async def decide(self, decisions: Sequence[Decision]) -> int:
        """Write skips and deferrals; returns how many were new. Never overwrites an execution."""
        ...

    async def make_due(
        self,
        pairs: Sequence[tuple[StrategyId, Mode]],
        *,
        most: int | None = None,
        younger_than_s: float | None = None,
    ) -> int:
        """What these strategies put off because of the exchange's door is due now; returns how many pairs that are.

        At most `most` of them, the youngest signals first; none that is older than `younger_than_s`.
        """
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

    async def open_attempts(
        self, *wallets: WalletAddress, limit: int, without: Collection[OrderId] = ()
    ) -> Sequence[Attempt]:
        """Whatever of these wallets still wants a look, longest unseen first. `without`: not these."""
        ...

    async def remainders(
        self,
        *wallets: WalletAddress,
        policy: RemainderPolicy,
        limit: int,
        without: Collection[LtOrderId] = (),
    ) -> Sequence[Remainder]:
        """Orders of these wallets that another attempt may still be made for. `without`: not these."""
        ...

    async def resting(
        self,
        *wallets: WalletAddress,
        older_than_s: float,
        paused: bool,
        limit: int,
        without: Collection[OrderId] = (),
    ) -> Sequence[Resting]:
        """Orders on the book that have rested for so long, or that a kill, or where `paused` a pause, forbids."""
        ...

    async def call_off(self, order_id: OrderId, why: CallOff) -> bool:
        """Note that it is about to be cancelled, and why. False: it does not stand on the book any more."""
        ...

    async def unsettled_markets(
        self, *wallets: WalletAddress, limit: int, bookmark: Mapping[Mode, ConditionId] | None = None
    ) -> UnsettledPage:
        """Markets with open orders of these wallets, at most `limit` of each mode, from the bookmark on."""
        ...

    async def settle_market(
        self, condition_id: ConditionId, mode: Mode, ending: Ending, *, limit: int
    ) -> Settled:
        """Its open orders are won or lost, each once, whoever says it first; at most `limit` of them.

        `ending` names the winner, or what a share pays where there is none.
        """
        ...

    async def wallets_seen(self, *balances: WalletBalance) -> None: ...


class Signals(Protocol):
    """A wake-up source: calls back with the row that was inserted, if it has it, and only that."""

    async def run(self) -> None: ...


__all__ = [
    "Answer",
    "Attempt",
    "AttemptRecord",
    "Before",
    "Clock",
    "Decision",
    "Envelope",
    "Exchange",
    "Fill",
    "Granted",
    "Lease",
    "LeaseHeld",
    "Leave",
    "Ledger",
    "LookupFinding",
    "LostRule",
    "OrderView",
    "Refused",
    "Remembered",
    "Signal",
    "Signals",
    "Stages",
    "WalletBalance",
    "Work",
    "WorkBatch",
]
