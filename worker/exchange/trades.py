"""Which part of the exchange's trades is ours: trades in, fills of one order out. Pure.

A trade is ours as taker when it names our order as the taker's, as maker when our order is among those it met.
A maker's own price is the one in its entry: when two buyers of opposite outcomes meet, the taker's price is one
minus ours. Makers pay no fee.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Protocol

from worker.orders.amounts import fee_usd
from worker.orders.lifecycle import FillState
from worker.orders.market import Market
from worker.orders.ports import Fill
from worker.orders.terms import OrderId, Side, TokenId, TradeId

TAKER = "TAKER"
MAKER = "MAKER"
_FEE_STEP = Decimal("0.00001")
_STATUS_PREFIXES = ("TRADE_STATUS_", "ORDER_STATUS_")


class MakerEntry(Protocol):
    """One resting order that a trade met."""

    @property
    def order_id(self) -> str: ...
    @property
    def asset_id(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def matched_amount(self) -> Decimal: ...


class Trade(Protocol):
    """A trade as the exchange lists it: from the taker's point of view, with every maker it met."""

    @property
    def id(self) -> str: ...
    @property
    def condition_id(self) -> str: ...
    @property
    def taker_order_id(self) -> str: ...
    @property
    def asset_id(self) -> str: ...
    @property
    def side(self) -> str: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def size(self) -> Decimal: ...
    @property
    def status(self) -> str: ...
    @property
    def maker_orders(self) -> Sequence[MakerEntry]: ...
    @property
    def matched_at(self) -> datetime: ...


def orders_of(trade: Trade) -> frozenset[OrderId]:
    """Every order that traded in it, ours or not."""
    return frozenset(
        OrderId(each) for each in (trade.taker_order_id, *(m.order_id for m in trade.maker_orders))
    )


def fill_of(trade: Trade, order_id: OrderId, market: Market) -> Fill:
    """Our part of a trade that is one of `orders_of`'s. `market` is the trade's: its fees are what a taker pays."""
    state = fill_state(trade.status)
    if trade.taker_order_id == order_id:
        return Fill(
            trade_id=TradeId(trade.id),
            order_id=order_id,
            role=TAKER,
            side=Side(trade.side),
            token_id=TokenId(trade.asset_id),
            price=trade.price,
            shares=trade.size,
            fee_usd=taker_fee_usd(trade.size, trade.price, market),
            state=state,
            matched_at=trade.matched_at,
        )
    entries = [entry for entry in trade.maker_orders if entry.order_id == order_id]
    if not entries:
        raise ValueError(f"Expected a trade of order {order_id}, was {trade.id}")
    return Fill(
        trade_id=TradeId(trade.id),
        order_id=order_id,
        role=MAKER,
        side=Side(entries[0].side),
        token_id=TokenId(entries[0].asset_id),
        price=entries[0].price,
        shares=sum((entry.matched_amount for entry in entries), Decimal(0)),
        fee_usd=Decimal(0),
        state=state,
        matched_at=trade.matched_at,
    )


def standing_shares(trade: Trade, order_id: OrderId) -> Decimal:
    """What the trade gave the order; nothing if it failed."""
    if fill_state(trade.status) is FillState.REVERSED:
        return Decimal(0)
    if trade.taker_order_id == order_id:
        return trade.size
    return sum((each.matched_amount for each in trade.maker_orders if each.order_id == order_id), Decimal(0))


def fill_state(trade_status: str) -> FillState:
    """Money has moved for good only when CONFIRMED; a FAILED trade never happened. All else may still turn."""
    match _plain(trade_status):
        case "CONFIRMED":
            return FillState.FINAL
        case "FAILED":
            return FillState.REVERSED
        case _:
            return FillState.PROVISIONAL


def taker_fee_usd(shares: Decimal, price: Decimal, market: Market) -> Decimal:
    """What the exchange charges the taker of one trade: to five decimals, less than that is nothing."""
    return fee_usd(shares, price, market).quantize(_FEE_STEP, ROUND_HALF_EVEN)


def order_status(status: str) -> str:
    """LIVE, MATCHED, DELAYED, UNMATCHED, CANCELED or INVALID: why an order was cancelled is left out."""
    text = _plain(status)
    return "CANCELED" if text.startswith("CANCELED") else text


def _plain(status: str) -> str:
    """Upper case, without the prefix that some of the exchange's answers put before it."""
    text = status.upper()
    for prefix in _STATUS_PREFIXES:
        text = text.removeprefix(prefix)
    return text
