"""A ledger for one test, beside it another worker's, and the platform's side of the same database."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tests.support.desk import TOKEN, WALLET, Desk
from tests.support.plans import envelope_of, plan_of, stages_now
from worker.orders.lifecycle import FillState
from worker.orders.ports import (
    Envelope,
    Fill,
    Granted,
    Lease,
    Ledger,
)
from worker.orders.signal import Signal, parse_signal
from worker.orders.strategy import Strategy
from worker.orders.terms import (
    FtOrderId,
    OrderId,
    Side,
    StrategyId,
    TokenId,
    TradeId,
    WalletAddress,
)

THE_WALLET = WalletAddress(WALLET)
THE_STRATEGY = StrategyId("LT_ONE")


@dataclass
class Office:
    """A ledger, another worker's, and the platform's side of the same database."""

    ledger: Ledger
    rival: Ledger
    desk: Desk

    async def strategy(self) -> Strategy:
        (strategy,) = await self.ledger.strategies()
        assert isinstance(strategy, Strategy), strategy
        return strategy

    async def signal(self, **columns: object) -> Signal:
        ft_order_id = FtOrderId(await self.desk.signal(**columns))
        work = await self.ledger.signal(ft_order_id)
        assert work is not None
        signal = parse_signal(work.signal_row)
        assert isinstance(signal, Signal), signal
        return signal

    async def lease(self, *, ttl_s: float = 30.0) -> Lease:
        lease = await self.ledger.lease(THE_WALLET, ttl_s=ttl_s)
        assert isinstance(lease, Lease), lease
        return lease

    async def executed(self, **columns: object) -> tuple[Granted, Envelope]:
        """A signal, claimed by a lease of this worker."""
        plan = plan_of(await self.signal(**columns), await self.strategy())
        envelope = envelope_of(plan)
        granted = await self.ledger.claim(plan, envelope, await self.lease(), stages_now())
        assert isinstance(granted, Granted), granted
        return granted, envelope


def a_fill(order_id: OrderId, *, state: FillState = FillState.PROVISIONAL, trade_id: str = "t-1") -> Fill:
    return Fill(
        trade_id=TradeId(trade_id),
        order_id=order_id,
        role="TAKER",
        side=Side.BUY,
        token_id=TokenId(TOKEN),
        price=Decimal("0.50"),
        shares=Decimal("12.00"),
        fee_usd=Decimal("0.0123"),
        state=state,
        matched_at=datetime.now(UTC),
    )
