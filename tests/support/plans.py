"""Plans as `decide` makes them, for a signal and a strategy that stand in a database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from tests.support.desk import TOKEN, order_id
from worker.orders.amounts import Amounts, Reservation
from worker.orders.decide import Plan
from worker.orders.market import Market, Token
from worker.orders.ports import Envelope, Stages
from worker.orders.signal import Signal
from worker.orders.strategy import Strategy
from worker.orders.terms import ExchangeVersion, OrderId, OrderType, Side, TokenId


def plan_of(signal: Signal, strategy: Strategy, *, bet_usd: str = "6.00", limit_price: str = "0.51") -> Plan:
    """A FAK BUY that spends `bet_usd` without fees."""
    token = Token(TokenId(TOKEN), signal.token_label)
    market = Market(
        condition_id=signal.condition_id,
        tokens=(token,),
        tick_size=Decimal("0.01"),
        min_order_size_shares=Decimal(5),
        exchange_version=ExchangeVersion.STANDARD,
        fee_rate=Decimal(0),
        fee_exponent=1,
        accepting_orders=True,
        closed=False,
        fetched_at=datetime.now(UTC),
    )
    return Plan(
        signal=signal,
        strategy=strategy,
        market=market,
        token=token,
        side=Side.BUY,
        order_type=OrderType.FAK,
        base_price=Decimal("0.50"),
        limit_price=Decimal(limit_price),
        bet_usd=Decimal(bet_usd),
        amounts=Amounts(int(Decimal(bet_usd) * 10**6), 1, spend_usd=Decimal(bet_usd)),
        reservation=Reservation(usd=Decimal(bet_usd)),
        expires_at=None,
        snapshot={"best_ask": "0.50"},
    )


def envelope_of(plan: Plan, *, body: str = '{"order":{"salt":1}}') -> Envelope:
    """The plan as if it had been signed; every call makes an order of its own."""
    return Envelope(
        order_id=OrderId(order_id()),
        wallet=plan.strategy.wallet_address,
        token_id=plan.token.token_id,
        side=plan.side,
        order_type=plan.order_type,
        exchange_version=plan.market.exchange_version,
        body=body,
        expires_at=plan.expires_at,
    )


def stages_now() -> Stages:
    now = datetime.now(UTC)
    return Stages(now - timedelta(milliseconds=20), now - timedelta(milliseconds=10), now)
