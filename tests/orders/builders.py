"""Rows and values as the platform writes them; a test names only what it is about."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from worker.orders.capital import Capital
from worker.orders.holdings import Holdings
from worker.orders.market import Book, Level, Market, Token
from worker.orders.signal import Signal, parse_signal
from worker.orders.strategy import Strategy, parse_strategy
from worker.orders.terms import ConditionId, ExchangeVersion, TokenId

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CONDITION = ConditionId("0x" + "c1" * 32)
YES = TokenId("71321045679252212594626385532706912750332728571942532289631379312455583992563")
NO = TokenId("52114319501245915516055106046884209969926127482827954674443846427813813222426")
WALLET = "0xAbCdef0123456789aBcdEf0123456789abcdef01"


def signal_row(**columns: Any) -> dict[str, Any]:
    return {
        "order_id": "0b0e6c1e-7d0f-4b53-9f0b-0d6a5d1c7a11",
        "wallet_id": "FT_HIGH_CONVICTION",
        "order_type": "FT",
        "side": "BUY",
        "market_slug": "will-it-rain",
        "condition_id": CONDITION,
        "market_title": "Will it rain?",
        "token_label": "Yes",
        "source_trade_id": "0xfeed",
        "trader_address": "0x" + "7a" * 20,
        "entry_price": "0.5015",
        "size": "12.00",
        "market_end_time": "2026-12-01T00:00:00+00:00",
        "trader_win_rate": "0.6100",
        "trader_roi": None,
        "trader_resolved_count": 120,
        "model_probability": "0.5800",
        "edge_pct": "0.1085",
        "conviction": "1.50",
        "outcome": "OPEN",
        "order_time": "2026-11-22T11:58:30+00:00",
        "created_at": (NOW - timedelta(seconds=1)).isoformat(),
        **columns,
    }


def a_signal(**columns: Any) -> Signal:
    signal = parse_signal(signal_row(**columns))
    assert isinstance(signal, Signal), signal
    return signal


def ft_wallet_row(**columns: Any) -> dict[str, Any]:
    return {
        "wallet_id": "FT_HIGH_CONVICTION",
        "bet_size": "10.00",
        "bet_allocation_weight": "1.00",
        "allocation_method": "FIXED",
        "kelly_fraction": "0.25",
        "min_bet": "0.50",
        "max_bet": "100.00",
        "dead_market_guard": True,
        "dead_market_floor": "0.0400",
        "dead_market_max_drift_pct": "80.00",
        **columns,
    }


def capital_row(**columns: Any) -> dict[str, Any]:
    return {
        "initial_usd": "1000.00",
        "realised_usd": "0",
        "locked_usd": "0",
        "cooldown_usd": "0",
        "awaiting_redeem_usd": "0",
        "available_usd": "1000.00",
        "exposure_usd": "0",
        **columns,
    }


def strategy_row(**columns: Any) -> dict[str, Any]:
    return {
        "strategy_id": "LT_FT_HIGH_CONVICTION",
        "ft_wallet_id": "FT_HIGH_CONVICTION",
        "wallet_address": WALLET,
        "display_name": "High conviction",
        "order_type": "FAK",
        "slippage_tolerance_pct": "3.000",
        "min_order_size_usd": "1.00",
        "max_order_size_usd": "100.00",
        "max_position_size_usd": None,
        "max_total_exposure_usd": None,
        "daily_budget_usd": None,
        "max_daily_loss_usd": None,
        "circuit_breaker_loss_pct": None,
        "max_consecutive_losses": None,
        "max_open_positions": None,
        "max_orders_per_minute": None,
        "is_active": True,
        "is_paused": False,
        "shadow_mode": False,
        "circuit_breaker_active": False,
        "ft_wallet": ft_wallet_row(),
        "controls": [],
        "capital": capital_row(),
        **columns,
    }


def a_strategy(**columns: Any) -> Strategy:
    strategy = parse_strategy(strategy_row(**columns))
    assert isinstance(strategy, Strategy), strategy
    return strategy


def a_capital(
    *, available: str = "1000.00", exposure: str = "0", cooldown: str = "0", locked: str = "0"
) -> Capital:
    zero = Decimal(0)
    return Capital(
        initial_usd=Decimal(1000),
        realised_usd=zero,
        locked_usd=Decimal(locked),
        cooldown_usd=Decimal(cooldown),
        awaiting_redeem_usd=zero,
        available_usd=Decimal(available),
        exposure_usd=Decimal(exposure),
    )


def a_holding(
    unsold: str,
    *,
    settled: str | None = None,
    buying: bool = False,
    selling: bool = False,
    paper_bought: str = "1",
    paper_sold: str = "0",
) -> Holdings:
    """Settled as a whole, of a trader who sells all that he has: the signal is for more than the one paper share."""
    return Holdings(
        unsold_shares=Decimal(unsold),
        settled_shares=Decimal(unsold if settled is None else settled),
        buying=buying,
        selling=selling,
        paper_bought_shares=Decimal(paper_bought),
        paper_sold_shares=Decimal(paper_sold),
    )


def a_market(
    *,
    tick: str = "0.01",
    fee_rate: str = "0",
    fee_exponent: int = 1,
    min_shares: str = "5",
    closed: bool = False,
    accepting: bool = True,
    labels: tuple[str, str] = ("Yes", "No"),
) -> Market:
    return Market(
        condition_id=CONDITION,
        tokens=(Token(YES, labels[0]), Token(NO, labels[1])),
        tick_size=Decimal(tick),
        min_order_size_shares=Decimal(min_shares),
        exchange_version=ExchangeVersion.STANDARD,
        fee_rate=Decimal(fee_rate),
        fee_exponent=fee_exponent,
        accepting_orders=accepting,
        closed=closed,
        fetched_at=NOW,
    )


def a_book(*, bids: dict[str, str] | None = None, asks: dict[str, str] | None = None) -> Book:
    """Levels in the order written: a reader of a book must not rely on it."""
    return Book(YES, _levels(bids or {}), _levels(asks or {}), seen_at=NOW)


def _levels(sizes: dict[str, str]) -> tuple[Level, ...]:
    return tuple(Level(Decimal(price), Decimal(size)) for price, size in sizes.items())
