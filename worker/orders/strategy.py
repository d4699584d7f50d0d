"""A live strategy and the paper wallet that it follows, checked once where the row enters.

A strategy whose settings contradict themselves is an `InvalidStrategy`: it trades nothing, and every one of its
signals is skipped with that problem, so that a typing mistake is seen and never costs money.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from worker.errors import SchemaError
from worker.orders.capital import Capital, parse_capital
from worker.orders.inert import InertSetting, inert_settings
from worker.orders.numbers import exact_decimal
from worker.orders.paper import NEVER_A_SHADOW, PAPER_MARK, ShadowTimes, Spell, purse_of
from worker.orders.terms import FtWalletId, Mode, OrderType, StrategyId, WalletAddress

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_PERCENT = Decimal(100)
_DEFAULT_KELLY_FRACTION = Decimal("0.25")


class AllocationMethod(StrEnum):
    """How the paper side sizes a bet (`ft_wallets.allocation_method`)."""

    FIXED = "FIXED"
    KELLY = "KELLY"
    EDGE_SCALED = "EDGE_SCALED"
    TIERED = "TIERED"
    CONFIDENCE = "CONFIDENCE"
    CONVICTION = "CONVICTION"
    ML_SCALED = "ML_SCALED"
    WHALE = "WHALE"


@dataclass(frozen=True, slots=True)
class FtWallet:
    """The paper wallet's sizing and its guard against dead markets."""

    ft_wallet_id: FtWalletId
    bet_size_usd: Decimal
    allocation_weight: Decimal
    allocation_method: AllocationMethod
    min_bet_usd: Decimal
    max_bet_usd: Decimal
    kelly_fraction: Decimal
    dead_market_guard: bool
    dead_market_floor: Decimal
    dead_market_max_drift: Decimal  # a fraction: 0.8 is 80 %


@dataclass(frozen=True, slots=True)
class Strategy:
    """One row of `lt_strategies` with its wallet and switches. Limits that are None are off."""

    strategy_id: StrategyId
    ft_wallet_id: FtWalletId
    ft_wallet: FtWallet | None  # None: the strategy follows a wallet that does not exist
    wallet_address: WalletAddress
    display_name: str
    order_type: OrderType
    slippage: Decimal  # a fraction: 0.03 is 3 %
    min_order_size_usd: Decimal
    max_order_size_usd: Decimal
    max_position_size_usd: Decimal | None
    max_total_exposure_usd: Decimal | None
    is_active: bool
    is_paused: bool  # by its own column or by an operator's control
    is_killed: bool
    shadow_mode: bool
    breaker_active: bool
    capital: Capital | None  # as it stood when the row was loaded; the claim has the last word
    daily_budget_usd: Decimal | None = None
    max_daily_loss_usd: Decimal | None = None
    breaker_drawdown: Decimal | None = None  # a fraction: 0.2 is 20 %
    max_consecutive_losses: int | None = None
    max_open_positions: int | None = None
    max_orders_per_minute: int | None = None
    shadow_times: ShadowTimes = NEVER_A_SHADOW
    inert: tuple[InertSetting, ...] = ()  # set, and obeyed by nobody

    @property
    def purse(self) -> WalletAddress:
        return purse_of(self.strategy_id)

    @property
    def trades_from(self) -> WalletAddress:
        """What stands for its wallet in the mode that it trades in now."""
        return self.purse if self.shadow_times.mode is Mode.PAPER else self.wallet_address

    def traded_in(self, mode: Mode) -> "Strategy":
        """The strategy as a signal of that mode is decided for it: with the wallet and the capital of the mode."""
        return replace(
            self,
            wallet_address=self.purse if mode is Mode.PAPER else self.wallet_address,
            capital=self.capital if mode is self.shadow_times.mode else None,
        )


@dataclass(frozen=True, slots=True)
class InvalidStrategy:
    strategy_id: StrategyId
    ft_wallet_id: FtWalletId
    is_active: bool
    problem: str
    shadow_times: ShadowTimes = NEVER_A_SHADOW

    def traded_in(self, mode: Mode) -> "InvalidStrategy":
        """In no mode."""
        del mode
        return self


class _InvalidError(Exception):
    pass


def parse_strategy(row: Mapping[str, Any]) -> Strategy | InvalidStrategy:
    """Read one entry of `lt_strategies_load`; never raises: one broken row must not keep the others from trading."""
    strategy_id = StrategyId(str(row.get("strategy_id")))
    ft_wallet_id = FtWalletId(str(row.get("ft_wallet_id")))
    controls: Collection[str] = row.get("controls") or ()
    wallet_row = row.get("ft_wallet")
    capital_row = row.get("capital")
    shadow_times = _shadow_times(row)
    try:
        min_order, max_order = _ordered(row, "min_order_size_usd", "max_order_size_usd")
        return Strategy(
            strategy_id=strategy_id,
            ft_wallet_id=ft_wallet_id,
            ft_wallet=_ft_wallet(wallet_row) if wallet_row else None,
            wallet_address=_address(row.get("wallet_address")),
            display_name=str(row.get("display_name") or strategy_id),
            order_type=_order_type(row.get("order_type")),
            slippage=_percentage(row, "slippage_tolerance_pct"),
            min_order_size_usd=min_order,
            max_order_size_usd=max_order,
            max_position_size_usd=_limit(row, "max_position_size_usd"),
            max_total_exposure_usd=_limit(row, "max_total_exposure_usd"),
            is_active=row.get("is_active") is True,
            is_paused=row.get("is_paused") is not False or not {"pause", "freeze"}.isdisjoint(controls),
            is_killed="kill" in controls,
            shadow_mode=row.get("shadow_mode") is not False,
            breaker_active=row.get("circuit_breaker_active") is not False or "breaker" in controls,
            capital=parse_capital(capital_row) if capital_row else None,
            daily_budget_usd=_limit(row, "daily_budget_usd"),
            max_daily_loss_usd=_limit(row, "max_daily_loss_usd"),
            breaker_drawdown=_breaker_drawdown(row),
            max_consecutive_losses=_count(row, "max_consecutive_losses"),
            max_open_positions=_count(row, "max_open_positions"),
            max_orders_per_minute=_count(row, "max_orders_per_minute"),
            shadow_times=shadow_times,
            inert=inert_settings(row),
        )
    except (_InvalidError, SchemaError) as error:
        is_active = row.get("is_active") is True
        return InvalidStrategy(strategy_id, ft_wallet_id, is_active, str(error), shadow_times)


def _ft_wallet(row: Mapping[str, Any]) -> FtWallet:
    min_bet, max_bet = _ordered(row, "min_bet", "max_bet")
    _positive(row, "max_bet")
    method = str(row.get("allocation_method"))
    if method not in set(AllocationMethod):
        raise _InvalidError(
            f"ft_wallets.allocation_method: expected one of {', '.join(AllocationMethod)}, was {method!r}"
        )
    return FtWallet(
        ft_wallet_id=FtWalletId(str(row.get("wallet_id"))),
        bet_size_usd=_positive(row, "bet_size"),
        allocation_weight=_positive(row, "bet_allocation_weight"),
        allocation_method=AllocationMethod(method),
        min_bet_usd=min_bet,
        max_bet_usd=max_bet,
        kelly_fraction=_kelly_fraction(row),
        dead_market_guard=row.get("dead_market_guard") is not False,
        dead_market_floor=_or_default(row, "dead_market_floor", Decimal("0.04")),
        dead_market_max_drift=_or_default(row, "dead_market_max_drift_pct", Decimal(80)) / _PERCENT,
    )


def _kelly_fraction(row: Mapping[str, Any]) -> Decimal:
    """NULL and 0 are a quarter, as on the paper side. More than all of Kelly is a percentage typed for a fraction."""
    fraction = _or_default(row, "kelly_fraction", Decimal(0)) or _DEFAULT_KELLY_FRACTION
    if not 0 < fraction <= 1:
        raise _InvalidError(f"kelly_fraction: expected a fraction above 0 and up to 1, was {fraction}")
    return fraction


def _shadow_times(row: Mapping[str, Any]) -> ShadowTimes:
    """Made by our own SQL, in database time."""

    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text is not None else None

    spells = row.get("shadow_spells") or ()
    return ShadowTimes(tuple(Spell(moment(one["since"]), moment(one["until"])) for one in spells))


def _address(value: object) -> WalletAddress:
    address = str(value or "").strip().lower()
    if not _ADDRESS.fullmatch(address) or address.startswith(PAPER_MARK):
        raise _InvalidError(f"wallet_address: expected 0x and 40 hex digits of a wallet, was {value!r}")
    return WalletAddress(address)


def _order_type(value: object) -> OrderType:
    word = str(value or "").strip().upper()
    if word == "IOC":
        return OrderType.FAK
    if word not in set(OrderType):
        raise _InvalidError(f"order_type: expected IOC, FAK, FOK, GTC or GTD, was {value!r}")
    return OrderType(word)


def _number(row: Mapping[str, Any], column: str) -> Decimal:
    number = exact_decimal(row.get(column))
    if number is None:
        raise _InvalidError(f"{column}: expected a number, was {row.get(column)!r}")
    return number


def _positive(row: Mapping[str, Any], column: str) -> Decimal:
    number = _number(row, column)
    if number <= 0:
        raise _InvalidError(f"{column}: expected more than 0, was {number}")
    return number


def _or_default(row: Mapping[str, Any], column: str, default: Decimal) -> Decimal:
    """For columns that older schemas lack. 0 is a value, not an absence."""
    return default if row.get(column) is None else _number(row, column)


def _percentage(row: Mapping[str, Any], column: str) -> Decimal:
    percentage = _number(row, column)
    if not 0 <= percentage < _PERCENT:
        raise _InvalidError(f"{column}: expected a percentage from 0 to below 100, was {percentage}")
    return percentage / _PERCENT


def _limit(row: Mapping[str, Any], column: str) -> Decimal | None:
    if row.get(column) is None:
        return None
    limit = _number(row, column)
    if limit < 0:
        raise _InvalidError(f"{column}: expected 0 or more, or NULL for no limit, was {limit}")
    return limit


def _count(row: Mapping[str, Any], column: str) -> int | None:
    """For columns that an older schema lacks."""
    limit = _limit(row, column)
    if limit is None:
        return None
    if limit < 1 or limit != limit.to_integral_value():
        raise _InvalidError(f"{column}: expected a whole number from 1, or NULL for no limit, was {limit}")
    return int(limit)


def _breaker_drawdown(row: Mapping[str, Any]) -> Decimal | None:
    """A percentage; the platform's page was seen to store a fraction, which would trip at a hundredth of what is meant."""
    column = "circuit_breaker_loss_pct"
    percentage = _limit(row, column)
    if percentage is None:
        return None
    if not 1 <= percentage <= _PERCENT:
        raise _InvalidError(
            f"{column}: expected a percentage from 1 to 100 (20 is 20 %), or NULL for no breaker, was {percentage}"
        )
    return percentage / _PERCENT


def _ordered(row: Mapping[str, Any], low_column: str, high_column: str) -> tuple[Decimal, Decimal]:
    low, high = _limit(row, low_column), _limit(row, high_column)
    if low is None or high is None or low > high:
        raise _InvalidError(
            f"{low_column} and {high_column}: expected two ordered numbers, were {low} and {high}"
        )
    return low, high
