"""What became of an order: its own record, then its trades, so that fills are never older than the order.

The exchange lists trades by account, not by order, and a busy wallet trades many times in the seconds around one
order. So the few trades that an order names are read by their ids, and the account's list only where that is not
enough: narrowed to the market and the age of the order where they are known, and in one reading for all that look
orders of about one age up meanwhile where they are not.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from worker.exchange.market_data import MarketData
from worker.exchange.readings import Readings
from worker.exchange.trades import Trade, fill_of, order_status, orders_of, standing_shares
from worker.orders.ports import Fill, OrderView
from worker.orders.terms import ConditionId, OrderId

_FEW_TRADES = 4
_CLOCK_MARGIN_S = 60  # trades are looked for from this long before our own times: clocks differ
_LOOK_BACK_S = 25 * 3600  # for an order of which neither the exchange nor the asker knows the age


class OrderRecord(Protocol):
    """An order as the exchange states it. `associate_trades` names its trades, not always all of them yet."""

    @property
    def status(self) -> str: ...
    @property
    def size_matched(self) -> Decimal: ...
    @property
    def condition_id(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def associate_trades(self) -> Sequence[str]: ...


class Records(Protocol):
    """One account's orders and trades. Raises `ExchangeUnreachable` or `ExchangeRefused`."""

    async def order(self, order_id: OrderId) -> OrderRecord | None:
        """None: the exchange said "not found"."""
        ...

    async def trades(
        self, *, trade_id: str | None = None, market: str | None = None, since_s: int | None = None
    ) -> Sequence[Trade]:
        """Every trade that fits, all pages. `since_s`: unix seconds, inclusive."""
        ...


class OrderHistory:
    """Answers for the orders of any account."""

    def __init__(self, market_data: MarketData, now_ms: Callable[[], int]) -> None:
        self._market_data = market_data
        self._now_ms = now_ms
        self._readings = Readings()

    async def view(self, records: Records, order_id: OrderId, since: datetime | None) -> OrderView:
        """An order that is "not found" may still have fills: its trades may show first."""
        order = await records.order(order_id)
        trades = await self._trades_of(records, order_id, order, since)
        fills = (await self._fills_among(trades, {order_id})).get(order_id, [])
        return OrderView(
            order_id=order_id,
            found=order is not None,
            status=order_status(order.status) if order is not None else "",
            size_matched=order.size_matched if order is not None else None,
            fills=tuple(fills),
        )

    async def fills(
        self, records: Records, order_ids: Collection[OrderId], *, since: datetime
    ) -> dict[OrderId, list[Fill]]:
        """The fills of many orders, from one list of the account's trades."""
        trades = await records.trades(since_s=int(since.timestamp()) - _CLOCK_MARGIN_S)
        return await self._fills_among(trades, order_ids)

    async def _trades_of(
        self, records: Records, order_id: OrderId, order: OrderRecord | None, since: datetime | None
    ) -> Sequence[Trade]:
        """Every trade of the order, and perhaps others."""
        if order is None:
            since_s = int(since.timestamp()) if since else self._now_ms() // 1000 - _LOOK_BACK_S
            return await self._readings.trades(records, since_s - _CLOCK_MARGIN_S)
        if _has_not_traded(order):
            return ()
        if 0 < len(order.associate_trades) <= _FEW_TRADES:
            named = [
                trade for each in order.associate_trades for trade in await records.trades(trade_id=each)
            ]
            if sum(standing_shares(trade, order_id) for trade in named) >= order.size_matched:
                return named
        created_s = int(order.created_at.timestamp())  # the exchange's own clock, as the trades' is
        return await records.trades(market=order.condition_id, since_s=created_s - 1)

    async def _fills_among(
        self, trades: Sequence[Trade], order_ids: Collection[OrderId]
    ) -> dict[OrderId, list[Fill]]:
        fills: dict[OrderId, list[Fill]] = {}
        for trade in trades:
            for order_id in orders_of(trade).intersection(order_ids):
                market = await self._market_data.market_whatever_its_age(ConditionId(trade.condition_id))
                fills.setdefault(order_id, []).append(fill_of(trade, order_id, market))
        return fills


def _has_not_traded(order: OrderRecord) -> bool:
    """By its own word it rests on the book and nobody has met it.

    It is looked up again. Of an order that is over the trades decide, whatever its own word: they are read.
    """
    return order_status(order.status) == "LIVE" and not order.size_matched and not order.associate_trades
