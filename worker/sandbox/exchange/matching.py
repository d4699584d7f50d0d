"""Whom an incoming order meets, at what price, for how much. Pure: reads the book, changes nothing.

Makers are met best price first, oldest first, each at the maker's own price: improvement goes to the taker.
A dollar order spends its budget: the cheaper the price, the more shares.
"""

from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.exchange.book import Book
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.orders import Order, Side, Terms, TokenId
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price


@dataclass(frozen=True, slots=True)
class Fill:
    """One maker met. `book_price` in the primary token, `price` in the taker's token."""

    maker: Order
    book_price: Price
    price: Price
    shares: Micro
    maker_usd: Micro
    taker_usd: Micro


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen. `complete`: nothing of the order is left over for lack of liquidity."""

    fills: tuple[Fill, ...]
    complete: bool

    @property
    def shares(self) -> Micro:
        return sum(fill.shares for fill in self.fills)

    @property
    def usd(self) -> Micro:
        return sum(fill.taker_usd for fill in self.fills)

    def fee(self, market: Market) -> Micro:
        return sum(market.fees.fee(shares, price) for price, shares in self.by_price().items())

    def by_price(self) -> dict[Price, Micro]:
        """Shares at each price, best first: one trade each."""
        prices: dict[Price, Micro] = {}
        for fill in self.fills:
            prices[fill.price] = prices.get(fill.price, 0) + fill.shares
        return prices


def plan(
    book: Book,
    market: Market,
    token: TokenId,
    terms: Terms,
    *,
    eligible: Callable[[Order], bool] | None = None,
) -> Plan:
    """Meets the opposite side up to the limit. `eligible` narrows down which makers may be met."""
    side, limit = market.in_book(token, terms.side, terms.limit)
    budget = terms.budget_usd
    wanted = terms.shares
    fills: list[Fill] = []
    for book_price, level in book.ladder(side.opposite).best_first():
        if (book_price > limit) if side is Side.BUY else (book_price < limit):
            break
        price = market.own_price(token, book_price)
        for maker in level.orders.values():
            if eligible is not None and not eligible(maker):
                continue
            if budget is not None:
                wanted = budget * PRICE_ONE // price
            if wanted == 0:
                return Plan(tuple(fills), complete=True)
            fill = _meet(maker, token, book_price, price, min(wanted, maker.remaining))
            fills.append(fill)
            if fill.shares == wanted:
                return Plan(tuple(fills), complete=True)
            wanted -= fill.shares
            if budget is not None:
                budget -= fill.taker_usd
    return Plan(tuple(fills), complete=False)


def _meet(maker: Order, token: TokenId, book_price: Price, price: Price, shares: Micro) -> Fill:
    """One maker's fill. The taker's dollars differ from shares x price by less than a millionth.

    So a budget that covers shares x price covers them: it is a whole number of millionths itself.
    """
    maker_usd = maker.maker_usd(shares)
    # Same token: shares change hands. Complementary tokens: a set is minted or merged for a dollar.
    taker_usd = maker_usd if maker.token == token else shares - maker_usd
    return Fill(maker, book_price, price, shares, maker_usd, taker_usd)
