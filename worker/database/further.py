"""Orders that may need another attempt, as the ledger tells them: what is left of those that are over, and what rests."""

from collections.abc import Collection, Sequence

from worker.database.calls import Calls
from worker.database.values import (
    Row,
    count_of,
    decimal_of,
    flag_of,
    moment_of,
    row_of,
    text_of,
    word_of,
)
from worker.orders.reprice import CallOff, Resting
from worker.orders.retake import Remainder, RemainderPolicy
from worker.orders.signal import Malformed, parse_signal
from worker.orders.terms import (
    ConditionId,
    LtOrderId,
    Mode,
    OrderId,
    OrderType,
    Side,
    StrategyId,
    TokenId,
    WalletAddress,
)


class FurtherCalls(Calls):
    """That part of `orders.ports.Ledger`."""

    async def remainders(
        self,
        *wallets: WalletAddress,
        policy: RemainderPolicy,
        limit: int,
        without: Collection[LtOrderId] = (),
    ) -> Sequence[Remainder]:
        params = {
            "limit": limit,
            "without": list(without),
            "retakes_most": policy.retakes_most,
            "fresh_s": policy.fresh_for.total_seconds(),
            "reprices_most": policy.reprices_most,
            "reprice_within_s": policy.reprice_within.total_seconds(),
            "unsent_s": policy.unsent_for.total_seconds(),
        }
        rows = await self._rows_about(wallets, "lt_remainders", "remainders", params)
        return [one for row in rows if (one := _remainder(row)) is not None]

    async def resting(
        self,
        *wallets: WalletAddress,
        older_than_s: float,
        paused: bool,
        limit: int,
        without: Collection[OrderId] = (),
    ) -> Sequence[Resting]:
        params = {"older_than_s": older_than_s, "paused": paused, "limit": limit, "without": list(without)}
        return [_resting(row) for row in await self._rows_about(wallets, "lt_resting", "resting", params)]

    async def call_off(self, order_id: OrderId, why: CallOff) -> bool:
        params = {"exchange_order_id": order_id, "why": why}
        return flag_of(await self._call("lt_call_off", params, self._mode_of(order_id)), "allowed")


def _remainder(row: Row) -> Remainder | None:
    """None: its signal was changed since, so that nobody can read it."""
    signal = parse_signal(row_of(row, "signal"))
    if isinstance(signal, Malformed):
        return None
    return Remainder(
        lt_order_id=LtOrderId(text_of(row, "lt_order_id")),
        strategy_id=StrategyId(text_of(row, "strategy_id")),
        mode=word_of(row, "mode", Mode),
        wallet=WalletAddress(text_of(row, "wallet_address")),
        order_type=word_of(row, "order_type", OrderType),
        side=word_of(row, "side", Side),
        token_id=TokenId(text_of(row, "token_id")),
        base_price=decimal_of(row, "base_price"),
        limit_price=decimal_of(row, "limit_price"),
        left=decimal_of(row, "left"),
        left_usd=decimal_of(row, "left_usd"),
        attempt_no=count_of(row, "attempt_no"),
        attempts=count_of(row, "attempts"),
        closed_at=moment_of(row, "closed_at"),
        is_off_tick=flag_of(row, "is_off_tick"),
        is_unsent=flag_of(row, "is_unsent"),
        signal=signal,
    )


def _resting(row: Row) -> Resting:
    return Resting(
        order_id=OrderId(text_of(row, "exchange_order_id")),
        strategy_id=StrategyId(text_of(row, "strategy_id")),
        mode=word_of(row, "mode", Mode),
        wallet=WalletAddress(text_of(row, "wallet_address")),
        condition_id=ConditionId(text_of(row, "condition_id")),
        token_id=TokenId(text_of(row, "token_id")),
        side=word_of(row, "side", Side),
        limit_price=decimal_of(row, "limit_price"),
        attempts=count_of(row, "attempts"),
        halt=None if row.get("halt") is None else word_of(row, "halt", CallOff),
    )
