"""Plans for tests of the adapters: the order is what matters, who wanted it is made up."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from worker.orders.amounts import Amounts, Reservation, Ticket, ticket
from worker.orders.decide import Plan
from worker.orders.market import Market, Token
from worker.orders.signal import Signal
from worker.orders.strategy import Strategy
from worker.orders.terms import (
    ConditionId,
    ExchangeVersion,
    FtOrderId,
    FtWalletId,
    OrderType,
    Side,
    StrategyId,
    TokenId,
    WalletAddress,
)

SOME_TIME = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOME_WALLET = WalletAddress("0x" + "ab" * 20)


def listed_market(**changes: Any) -> Market:
    """A market that nobody lists, for tests that ask no exchange."""
    market = Market(
        condition_id=ConditionId("0x" + "c0" * 32),
        tokens=(Token(TokenId("7" * 70), "Yes"), Token(TokenId("8" * 70), "No")),
        tick_size=Decimal("0.01"),
        min_order_size_shares=Decimal(5),
        exchange_version=ExchangeVersion.STANDARD,
        fee_rate=Decimal("0.05"),
        fee_exponent=1,
        accepting_orders=True,
        closed=False,
        fetched_at=SOME_TIME,
    )
    return replace(market, **changes)


def plan(
    market: Market,
    *,
    limit_price: str,
    side: Side = Side.BUY,
    order_type: OrderType = OrderType.FAK,
    bet_usd: str = "50",
    shares: str = "0",
    outcome: str = "Yes",
    expires_at: datetime | None = None,
    amounts: Amounts | None = None,
) -> Plan:
    """An order as `decide` would have planned it; `amounts` instead of them when a test wants odd ones."""
    token = market.token(outcome)
    assert token is not None
    order = ticket(
        side=side,
        order_type=order_type,
        limit_price=Decimal(limit_price),
        market=market,
        bet_usd=Decimal(bet_usd),
        shares=Decimal(shares),
        min_marketable_usd=Decimal(1),
    )
    if amounts is not None:
        order = Ticket(amounts, Reservation())
    assert isinstance(order, Ticket), order
    return Plan(
        signal=_signal(market, side),
        strategy=_strategy(order_type),
        market=market,
        token=token,
        side=side,
        order_type=order_type,
        base_price=Decimal(limit_price),
        limit_price=Decimal(limit_price),
        bet_usd=Decimal(bet_usd),
        amounts=order.amounts,
        reservation=order.reservation,
        expires_at=expires_at,
        snapshot={},
    )


def _signal(market: Market, side: Side) -> Signal:
    return Signal(
        ft_order_id=FtOrderId("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
        ft_wallet_id=FtWalletId("FT_TEST"),
        side=side,
        condition_id=market.condition_id,
        token_label="Yes",
        entry_price=Decimal("0.5"),
        size_usd=Decimal(100),
        outcome="OPEN",
        order_time=SOME_TIME,
        created_at=SOME_TIME,
    )


def _strategy(order_type: OrderType) -> Strategy:
    return Strategy(
        strategy_id=StrategyId("LT_TEST"),
        ft_wallet_id=FtWalletId("FT_TEST"),
        ft_wallet=None,
        wallet_address=SOME_WALLET,
        display_name="test",
        order_type=order_type,
        slippage=Decimal("0.03"),
        min_order_size_usd=Decimal(1),
        max_order_size_usd=Decimal(1000),
        max_position_size_usd=None,
        max_total_exposure_usd=None,
        is_active=True,
        is_paused=False,
        is_killed=False,
        shadow_mode=False,
        breaker_active=False,
        capital=None,
    )
