"""What crosses to and from the exchange: a signed order, its answer, its fills, and what is seen of it later.

Values only; `ports.Exchange` says what is done with them, and `ports` hands them on to whoever needs both.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from worker.orders.lifecycle import FillState
from worker.orders.terms import (
    ExchangeVersion,
    OrderId,
    OrderType,
    Side,
    TokenId,
    TradeId,
    WalletAddress,
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed order as it will go over the wire, and its id. Persisted before the first byte is sent.

    `body` is canonical JSON text: whoever holds it can send the identical order again, and only that.
    """

    order_id: OrderId
    wallet: WalletAddress
    token_id: TokenId
    side: Side
    order_type: OrderType
    exchange_version: ExchangeVersion
    body: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one POST, as facts; `orders/outcomes.py` says what it means.

    `http_status` None: no answer was read. `connected` False: proved that no byte of the order left. `sendable` False:
    nor ever will, because no request can be made of it here.
    Amounts as the exchange stated them, in the order's own direction; None where it stated none.
    """

    http_status: int | None
    connected: bool = True
    sendable: bool = True
    order_id: OrderId | None = None
    status: str = ""
    error: str = ""
    making_amount: Decimal | None = None
    taking_amount: Decimal | None = None
    trade_ids: tuple[TradeId, ...] = ()
    fills: "tuple[Fill, ...]" = ()  # where the answer tells the trades themselves, all of them
    retry_after_s: Decimal | None = None
    limiter_headers: bool = False
    well_formed: bool = True


@dataclass(frozen=True, slots=True)
class Fill:
    """One of our trades. Money facts come from here and from nowhere else."""

    trade_id: TradeId
    order_id: OrderId
    role: str  # TAKER or MAKER
    side: Side
    token_id: TokenId
    price: Decimal
    shares: Decimal
    fee_usd: Decimal
    state: FillState
    matched_at: datetime


@dataclass(frozen=True, slots=True)
class OrderView:
    """What the exchange says of one order now: `found` False means that it said "not found"."""

    order_id: OrderId
    found: bool
    status: str = ""
    size_matched: Decimal | None = None
    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True, slots=True)
class WalletBalance:
    wallet: WalletAddress
    collateral_usd: Decimal
    as_of: datetime
