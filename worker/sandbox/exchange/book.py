"""The price-time book of one market, kept in terms of its primary token.

Interest in the secondary token rests mirrored (buying No at p is selling Yes at 1-p), so one book serves both
tokens and is never crossed, unless an order was put on it against the rules (`handling`). Within a level, first
come, first served.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator

from worker.sandbox.exchange.orders import Order, OrderId, Side
from worker.sandbox.exchange.units import Micro, Price


class Level:
    """Orders resting at one price, in order of arrival, and the sum of what they still want."""

    __slots__ = ("orders", "total")

    def __init__(self) -> None:
        self.orders: dict[OrderId, Order] = {}
        self.total: Micro = 0


class Ladder:
    """One side of a book. `best_first` prices: bids descend, asks ascend."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self._levels: dict[Price, Level] = {}
        self._prices: list[Price] = []  # ascending

    def best(self) -> Price | None:
        if not self._prices:
            return None
        return self._prices[-1] if self.side is Side.BUY else self._prices[0]

    def best_first(self) -> Iterator[tuple[Price, Level]]:
        prices = reversed(self._prices) if self.side is Side.BUY else iter(self._prices)
        for price in prices:
            yield price, self._levels[price]

    def prices(self) -> tuple[Price, ...]:
        return tuple(self._prices)

    def level(self, price: Price) -> Level | None:
        return self._levels.get(price)

    def total(self, price: Price) -> Micro:
        level = self._levels.get(price)
        return level.total if level else 0

    def add(self, order: Order, price: Price) -> None:
        level = self._levels.get(price)
        if level is None:
            level = self._levels[price] = Level()
            insort(self._prices, price)
        level.orders[order.id] = order
        level.total += order.remaining

    def reduce(self, order: Order, price: Price, shares: Micro) -> None:
        """Takes shares off a resting order's level. The order's own count is the caller's to keep."""
        level = self._levels[price]
        level.total -= shares
        if order.remaining == 0:
            self._drop(order, price, level)

    def grow(self, price: Price, shares: Micro) -> None:
        """A resting order now wants `shares` more (or, when negative, less)."""
        self._levels[price].total += shares

    def remove(self, order: Order, price: Price) -> None:
        level = self._levels.get(price)
        if level is not None and order.id in level.orders:
            level.total -= order.remaining
            self._drop(order, price, level)

    def _drop(self, order: Order, price: Price, level: Level) -> None:
        del level.orders[order.id]
        if not level.orders:
            del self._levels[price]
            del self._prices[bisect_left(self._prices, price)]


class Book:
    """Both sides, and the levels touched since they were last published."""

    def __init__(self) -> None:
        self.bids = Ladder(Side.BUY)
        self.asks = Ladder(Side.SELL)
        self._touched: dict[tuple[Side, Price], None] = {}

    def ladder(self, side: Side) -> Ladder:
        return self.bids if side is Side.BUY else self.asks

    def rest(self, order: Order, side: Side, price: Price) -> None:
        self.ladder(side).add(order, price)
        self._touched[side, price] = None

    def reduce(self, order: Order, side: Side, price: Price, shares: Micro) -> None:
        self.ladder(side).reduce(order, price, shares)
        self._touched[side, price] = None

    def grow(self, side: Side, price: Price, shares: Micro) -> None:
        self.ladder(side).grow(price, shares)
        self._touched[side, price] = None

    def remove(self, order: Order, side: Side, price: Price) -> None:
        self.ladder(side).remove(order, price)
        self._touched[side, price] = None

    def crosses(self, side: Side, price: Price) -> bool:
        """Whether an order of this side at this price would meet somebody."""
        best = self.ladder(side.opposite).best()
        if best is None:
            return False
        return price >= best if side is Side.BUY else price <= best

    def drain_touched(self) -> list[tuple[Side, Price, Micro]]:
        """Every level that changed since the last call, with what it holds now."""
        touched = [(side, price, self.ladder(side).total(price)) for side, price in self._touched]
        self._touched.clear()
        return touched
