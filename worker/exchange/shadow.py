"""What an order would take from a book, level by level: the exchange's rules of immediate execution. Pure.

A FAK or FOK BUY spends dollars, so better prices give it more shares; every other order trades a number of shares.
The best price comes first and no level beyond the limit is touched. Sources: polymarket-clob.md 4.1, 4.3.
"""

from dataclasses import dataclass
from decimal import Decimal

from worker.orders.amounts import BASE_UNITS
from worker.orders.market import Book
from worker.orders.numbers import CENT, floor_to
from worker.orders.terms import OrderType, Side

_UNIT = Decimal(1) / BASE_UNITS


@dataclass(frozen=True, slots=True)
class ShadowOrder:
    """Exactly one of `spend_usd` and `shares` is set: the target."""

    side: Side
    order_type: OrderType
    limit_price: Decimal
    spend_usd: Decimal | None
    shares: Decimal | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What the order takes from one level."""

    price: Decimal
    shares: Decimal
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Execution:
    """`complete`: the target is reached but for less than a cent, or a hundredth of a share."""

    taken: tuple[Taken, ...]
    complete: bool

    @property
    def shares(self) -> Decimal:
        return sum((each.shares for each in self.taken), Decimal(0))

    @property
    def usd(self) -> Decimal:
        return sum((each.usd for each in self.taken), Decimal(0))


def execute(order: ShadowOrder, book: Book) -> Execution:
    """Walk the book from its best price to the limit, or to the target."""
    levels = book.asks if order.side is Side.BUY else book.bids
    left = order.spend_usd if order.spend_usd is not None else order.shares
    if left is None:
        raise ValueError("Expected an order with a target in dollars or in shares, was neither")
    taken: list[Taken] = []
    for level in levels:
        beyond = (
            level.price > order.limit_price if order.side is Side.BUY else level.price < order.limit_price
        )
        if beyond:
            break
        wanted_shares = floor_to(left / level.price, _UNIT) if order.spend_usd is not None else left
        shares = min(wanted_shares, level.size_shares)
        if shares <= 0:
            break
        usd = floor_to(shares * level.price, _UNIT)
        taken.append(Taken(level.price, shares, usd))
        left -= usd if order.spend_usd is not None else shares
        if shares < level.size_shares:
            break
    return Execution(tuple(taken), complete=left < CENT)
