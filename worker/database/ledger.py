"""The ledger over Supabase: implements `orders.ports.Ledger` for one mode and one worker, one SQL function per call.

Purses and paper orders are of paper in a live worker's ledger too: their names say so (`orders/paper.py`).
Every call is idempotent and raises what `SupabaseDatabase.rpc` raises; an answer that is not of this version of the
schema raises `SchemaError`. What the operator's commands ask of the ledger is here too, beside the port.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from worker.database.alarms import alarm
from worker.database.attempts import parse_attempt, record_params
from worker.database.claims import claim_params, parse_claim
from worker.database.client import SupabaseDatabase
from worker.database.controls import (
    ControlAction,
    ControlScope,
    Equation,
    ForeignOrders,
    SchemaCheck,
    parse_check,
    parse_equation,
    parse_foreign_orders,
)
from worker.database.decisions import decision_params, due_params, parse_signal_work, parse_work
from worker.database.doubt import Evidence, parse_evidence
from worker.database.further import FurtherCalls
from worker.database.holdings import parse_holdings
from worker.database.settlements import SettlementCalls
from worker.database.values import (
    count_of,
    flag_of,
    moment_text,
    number_text,
    row_of,
    rows_of,
    text_of,
    word_of,
)
from worker.database.wallets import parse_lease
from worker.orders.capital import Capital, parse_capital
from worker.orders.decide import Plan
from worker.orders.holdings import Holdings
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import (
    Attempt,
    AttemptRecord,
    Before,
    Decision,
    Envelope,
    Granted,
    Lease,
    LeaseHeld,
    Leave,
    Refused,
    Remembered,
    Stages,
    WalletBalance,
    Work,
    WorkBatch,
)
from worker.orders.strategy import InvalidStrategy, Strategy, parse_strategy
from worker.orders.terms import (
    FtOrderId,
    Mode,
    OrderId,
    StrategyId,
    TokenId,
    Unserved,
    WalletAddress,
    WorkerId,
)

CapitalListener: TypeAlias = Callable[[StrategyId, Mode, Capital], None]


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    balance_max_age_s: float = 60.0  # an older balance of the wallet buys nothing
    decisions_per_call: int = 500  # keeps one call far from the statement timeout


class SupabaseLedger(FurtherCalls, SettlementCalls):
    """Cheap to make; holds no state but its parts."""

    def __init__(
        self,
        database: SupabaseDatabase,
        *,
        mode: Mode,
        worker: WorkerId,
        settings: LedgerSettings | None = None,
        worker_mode: Mode | None = None,
    ) -> None:
        """`worker_mode`: of the worker itself, where its ledger of paper is another than its ledger of money."""
        super().__init__(database, mode)
        self._worker = worker
        self._worker_mode = worker_mode or mode
        self._settings = settings or LedgerSettings()
        self._on_capital: CapitalListener = lambda _strategy_id, _mode, _capital: None

    def tell_capital(self, listener: CapitalListener) -> None:
        """From now on every capital snapshot that a claim or a record answers is told to `listener` too."""
        self._on_capital = listener

    # --- orders.ports.Ledger

    async def strategies(self) -> Sequence[Strategy | InvalidStrategy]:
        answer = await self._database.rpc("lt_strategies_load", {"p_mode": self._mode})
        return [parse_strategy(row) for row in rows_of(answer, "strategies")]

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
        params = {
            "limit": limit,
            "window_s": window_s,
            "oldest_s": oldest_s,
            **({} if pairs is None else {"pairs": pairs}),
            "bookmark": bookmark,
            "strategy_id": strategy_id,
            "without": [
                one if isinstance(one, str) else {"strategy_id": one[0], "mode": one[1]} for one in without
            ],
        }
        return parse_work(await self._call("lt_work", params))

    async def work_if_opened(
        self,
        *,
        since: datetime,
        limit: int,
        bookmark: Mapping[str, Any] | None = None,
        strategy_id: StrategyId | None = None,
    ) -> WorkBatch:
        """The work that there would be if a scope were opened from `since` on. Nothing is opened."""
        scope = {"strategy_id": strategy_id, "since": moment_text(since)}
        params = {"limit": limit, "bookmark": bookmark, "strategy_id": strategy_id, "scope": scope}
        return parse_work(await self._call("lt_work_preview", params))

    async def signal(self, ft_order_id: FtOrderId) -> Work | None:
        return parse_signal_work(await self._call("lt_signal", {"ft_order_id": ft_order_id}))

    async def capital(self, strategy_id: StrategyId) -> Capital:
        return parse_capital(row_of(await self._call("lt_capital", {"strategy_id": strategy_id}), "capital"))

    async def holdings(self, strategy_id: StrategyId, ft_order_id: FtOrderId, token_id: TokenId) -> Holdings:
        params = {"strategy_id": strategy_id, "ft_order_id": ft_order_id, "token_id": token_id}
        return parse_holdings(await self._call("lt_holdings", {**params, "worker_mode": self._worker_mode}))

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
        params = claim_params(
            plan,
            envelope,
            lease,
            stages,
            balance_max_age_s=self._settings.balance_max_age_s,
            after=after,
            may_redecide=may_redecide,
        )
        claim = parse_claim(await self._call("lt_claim", {**params, "worker_mode": self._worker_mode}))
        self._on_capital(plan.strategy.strategy_id, lease.mode, claim.capital)
        return claim

    async def record(self, record: AttemptRecord) -> AttemptState:
        answer = await self._call("lt_record", record_params(record))
        alarm(record, answer)
        if answer.get("capital") is not None:
            capital = parse_capital(row_of(answer, "capital"))
            mode = self._mode_of(record.order_id)
            self._on_capital(StrategyId(text_of(answer, "strategy_id")), mode, capital)
        return word_of(answer, "state", AttemptState)

    async def allow_resend(self, order_id: OrderId) -> Leave:
        params = {"exchange_order_id": order_id}
        answer = await self._call("lt_resend", params, self._mode_of(order_id))
        return Leave(text_of(answer, "why"), is_over=flag_of(answer, "over"))

    async def decide(self, decisions: Sequence[Decision]) -> int:
        written = 0
        size = self._settings.decisions_per_call
        for start in range(0, len(decisions), size):
            batch = decision_params(decisions[start : start + size])
            written += count_of(await self._call("lt_decide", {"decisions": batch}), "written")
        return written

    async def make_due(
        self,
        pairs: Sequence[tuple[StrategyId, Mode]],
        *,
        most: int | None = None,
        younger_than_s: float | None = None,
    ) -> int:
        return count_of(
            await self._call("lt_make_due", due_params(pairs, most=most, younger_than_s=younger_than_s)),
            "due",
        )

    async def lease(self, wallet: WalletAddress, *, ttl_s: float) -> Lease | LeaseHeld:
        asked_s, mode = self._database.clock.monotonic(), self._mode_of(wallet)
        params = {"wallet_address": wallet, "worker": self._worker, "ttl_s": ttl_s}
        return parse_lease(
            await self._call("lt_lease", params, mode),
            wallet=wallet,
            mode=mode,
            worker=self._worker,
            deadline_s=asked_s + ttl_s,
        )

    async def leases(
        self, *wallets: WalletAddress, ttl_s: float
    ) -> Mapping[WalletAddress, Lease | LeaseHeld]:
        asked_s = self._database.clock.monotonic()
        rows = await self._rows_about(
            wallets, "lt_leases", "leases", {"worker": self._worker, "ttl_s": ttl_s}
        )
        return {
            (wallet := WalletAddress(text_of(row, "wallet_address"))): parse_lease(
                row,
                wallet=wallet,
                mode=self._mode_of(wallet),
                worker=self._worker,
                deadline_s=asked_s + ttl_s,
            )
            for row in rows
        }

    async def release(self, lease: Lease) -> None:
        params = {"wallet_address": lease.wallet, "worker": lease.worker, "fence": lease.fence}
        await self._call("lt_lease_release", params)

    async def open_attempts(
        self, *wallets: WalletAddress, limit: int, without: Collection[OrderId] = ()
    ) -> Sequence[Attempt]:
        params = {"limit": limit, "without": list(without)}
        rows = await self._rows_about(wallets, "lt_open_attempts", "attempts", params)
        return [parse_attempt(row) for row in rows]

    async def remembered(self, order_id: OrderId) -> Remembered | None:
        """What is known of an order of ours by its id; None: it was never claimed."""
        found = await self.attempt(order_id)
        return found[0].remembered() if found else None

    async def wallets_seen(self, *balances: WalletBalance) -> None:
        seen = {
            balance.wallet: {
                "wallet_address": balance.wallet,
                "collateral_usd": number_text(balance.collateral_usd),
                "as_of": moment_text(balance.as_of),
            }
            for balance in balances
        }
        if seen:
            await self._call("lt_wallets_seen", {"balances": list(seen.values())})

    # --- for the operator

    async def check(self, *, deadline_s: float | None = None) -> SchemaCheck:
        """What the schema lacks for this worker; an empty list of problems means that it can run."""
        answer = await self._database.rpc("lt_worker_check", {"p_mode": self._mode}, deadline_s=deadline_s)
        return parse_check(answer)

    async def equation(self, *, since: datetime | None = None) -> Equation:
        return parse_equation(await self._call("lt_equation", {"since": moment_text(since)}))

    async def control(self, action: ControlAction, scope: ControlScope, *, reason: str, actor: str) -> None:
        await self._call(
            "lt_control", {"scope": scope.text, "action": action, "reason": reason, "actor": actor}
        )

    async def open_scope(self, *, since: datetime, reason: str, strategy_id: StrategyId | None = None) -> int:
        """Take in older signals on purpose; without a strategy, for all active ones. Returns for how many."""
        params = {"strategy_id": strategy_id, "since": moment_text(since), "reason": reason}
        return count_of(await self._call("lt_scope_open", params), "opened")

    async def foreign_orders(self, *, window_s: float) -> ForeignOrders:
        """What another executor wrote into `lt_orders` in the last `window_s` seconds."""
        return parse_foreign_orders(await self._call("lt_foreign_writers", {"window_s": window_s}))

    async def attempt(self, exchange_order_id: str) -> Sequence[Evidence]:
        """Every attempt whose id begins so, at most ten: six hex digits are enough to ask, all of them name one."""
        mode = self._mode_of(OrderId(exchange_order_id))
        answer = await self._call("lt_attempt", {"exchange_order_id": exchange_order_id}, mode)
        return [parse_evidence(row) for row in rows_of(answer, "attempts")]

    async def resolve(
        self,
        order_id: OrderId,
        state: AttemptState,
        *,
        reason: str,
        actor: str,
        closed: bool | None = None,
    ) -> AttemptState:
        """End a doubt by a human's decision, one of `Evidence.resolutions`; else `DatabaseRefused`.

        `closed`: whether every trade is booked, so that the reservation is freed; None: for all but `matched`.
        """
        params = {"exchange_order_id": order_id, "state": state, "reason": reason, "actor": actor}
        answer = await self._call("lt_resolve", {**params, "closed": closed}, self._mode_of(order_id))
        return word_of(answer, "state", AttemptState)

    async def send_canary(self) -> int:
        """Write a row that must come back over the feed; returns its `canary_id`."""
        return count_of(await self._call("lt_canary_send", {"worker": self._worker}), "canary_id")
