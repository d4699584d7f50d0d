"""What became of a request that was processed: an order that was accepted, or cancels done and refused."""

from dataclasses import dataclass, field

from worker.sandbox.exchange.orders import Order, OrderId
from worker.sandbox.exchange.trades import Trade
from worker.sandbox.exchange.units import Micro


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A processed order: its status on insertion and, for a match, the trades made."""

    order: Order
    status: str
    trades: tuple[Trade, ...] = ()

    @property
    def shares(self) -> Micro:
        return sum(trade.shares for trade in self.trades)

    @property
    def usd(self) -> Micro:
        return sum(trade.usd for trade in self.trades)


@dataclass(frozen=True, slots=True)
class Cancellation:
    canceled: list[OrderId] = field(default_factory=list)
    not_canceled: dict[OrderId, str] = field(default_factory=dict)
