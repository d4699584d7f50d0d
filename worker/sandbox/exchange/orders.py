"""An order: as it was signed, and as it lives on the exchange."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from worker.sandbox.exchange.units import Micro, Price, notional

OrderId = NewType("OrderId", str)
TokenId = NewType("TokenId", str)
ConditionId = NewType("ConditionId", str)
Address = NewType("Address", str)  # lower case, 0x-prefixed
ApiKey = NewType("ApiKey", str)


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    GTC = "GTC"
    GTD = "GTD"
    FAK = "FAK"
    FOK = "FOK"

    @property
    def rests(self) -> bool:
        return self in {OrderType.GTC, OrderType.GTD}


class OrderStatus(StrEnum):
    LIVE = "LIVE"
    MATCHED = "MATCHED"
    DELAYED = "DELAYED"
    CANCELED = "CANCELED"
    CANCELED_MARKET_RESOLVED = "CANCELED_MARKET_RESOLVED"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedOrder:
    """The signed struct and its signature, as numbers and bytes. Amounts are in millionths."""

    salt: int
    maker: Address
    signer: Address
    token: TokenId
    maker_amount: Micro
    taker_amount: Micro
    side: Side
    signature_type: int
    timestamp_ms: int
    metadata: bytes
    builder: bytes
    expiration_s: int
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an order asks of the book: a limit price and either shares or a dollar budget."""

    side: Side
    limit: Price
    shares: Micro
    """Shares wanted or offered. For a dollar order: what the budget buys at the limit."""
    budget_usd: Micro | None = None
    """Set for FAK and FOK BUY: dollars to spend; the shares then follow from the prices met."""


@dataclass(slots=True, kw_only=True)
class Order:
    """An accepted order. `limit` is the price in the order's own token."""

    id: OrderId
    owner: ApiKey
    maker: Address
    condition: ConditionId
    token: TokenId
    outcome: str
    outcome_index: int
    terms: Terms
    type: OrderType
    created_ns: int
    ended_ns: int | None = None  # nothing of it can trade from then on
    expiration_s: int = 0
    status: OrderStatus = OrderStatus.LIVE
    filled_shares: Micro = 0
    filled_usd: Micro = 0
    trade_ids: list[str] = field(default_factory=list)
    house: bool = False

    @property
    def side(self) -> Side:
        return self.terms.side

    @property
    def limit(self) -> Price:
        return self.terms.limit

    def end(self, status: OrderStatus, now_ns: int) -> None:
        self.status = status
        self.ended_ns = now_ns

    @property
    def remaining(self) -> Micro:
        return self.terms.shares - self.filled_shares

    def maker_usd(self, shares: Micro) -> Micro:
        """Dollars of the next `shares` filled at this order's own price while it rests.

        Computed on the running total, so that many small fills never add up to more than the whole.
        """
        filled = self.filled_shares
        return notional(filled + shares, self.limit) - notional(filled, self.limit)
