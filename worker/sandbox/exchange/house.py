"""The simulation's own liquidity: levels that can be set, and prints that can be made, without an account.

The house never runs out of money and pays no fees; what it trades with users goes through the same book,
trades and settlement as everything else.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

from worker.sandbox.exchange.accounts import HOUSE
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.matching import plan
from worker.sandbox.exchange.orders import (
    ApiKey,
    ConditionId,
    Order,
    OrderId,
    OrderType,
    Side,
    Terms,
    TokenId,
)
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price

HOUSE_KEY = ApiKey("00000000-0000-4000-8000-0000000005e5")


class House:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._levels: dict[tuple[ConditionId, Side, Price], Order] = {}
        self._serial = count()
        self._unpublished: set[ConditionId] | None = None  # None: every change is told at once
        self.asleep = False  # whoever trades through the house by himself leaves its markets as they are

    @contextmanager
    def one_change(self) -> Iterator[None]:
        """What is done inside is told as one change of each book, when it is left. Nothing may be awaited in it."""
        changed: set[ConditionId] = set()
        self._unpublished = changed
        try:
            yield
        finally:
            self._unpublished = None
            for condition in changed:
                self._exchange.publish(condition)

    def set_level(self, token: str, side: Side, price: Price, shares: Micro) -> None:
        """Makes the house's size at a price exactly `shares` (0 removes it), in the token's own terms.

        Users resting on the other side at that price or better are traded with first; house levels it
        would cross are stale and disappear, so that the book stays uncrossed.
        """
        self.set_levels(token, [(side, price, shares)])

    def set_levels(self, token: str, levels: Iterable[tuple[Side, Price, Micro]]) -> None:
        """Several levels of a token as one change of its book."""
        market = self._market(token)
        for side, price, wanted in levels:
            book_side, book_price = market.in_book(TokenId(token), side, price)
            shares = wanted
            if shares and self._exchange.books[market.condition].crosses(book_side, book_price):
                shares -= self._trade(market, TokenId(token), side, price, shares, users_only=True)
                self._drop_crossed(market, book_side, book_price)
            self._set(market, book_side, book_price, shares)
        self._publish(market.condition)

    def size_at(self, token: str, side: Side, price: Price) -> Micro:
        """What the house has left at a price, in the token's own terms."""
        market = self._market(token)
        order = self._levels.get((market.condition, *market.in_book(TokenId(token), side, price)))
        return order.remaining if order else 0

    def trade(
        self, token: str, side: Side, limit: Price, shares: Micro, *, users_only: bool = False
    ) -> Micro:
        """Takes up to `shares` at the limit or better, like a marketable order. Answers what it got."""
        market = self._market(token)
        taken = self._trade(market, TokenId(token), side, limit, shares, users_only=users_only)
        self._publish(market.condition)
        return taken

    def keep_inside(self, token: str, best_bid: Price, best_ask: Price) -> None:
        """Removes house levels better than a stated touch: leftovers of updates that were never seen."""
        market = self._market(token)
        book = self._exchange.books[market.condition]
        if token != market.tokens[0]:
            best_bid, best_ask = PRICE_ONE - best_ask, PRICE_ONE - best_bid
        stale: list[tuple[Side, Price]] = []
        for price, _ in book.bids.best_first():
            if price <= best_bid:
                break
            stale.append((Side.BUY, price))
        for price, _ in book.asks.best_first():
            if price >= best_ask:
                break
            stale.append((Side.SELL, price))
        for side, price in stale:
            self._set(market, side, price, 0)
        if stale:
            self._publish(market.condition)

    def report_print(self, token: str, side: Side, price: Price, shares: Micro) -> None:
        """A trade between strangers: told on the market channel, without touching the book."""
        market = self._market(token)
        market.last_trade_price = market.own_price(TokenId(token), price)
        self._exchange.feed.printed(market, TokenId(token), side, price, shares)

    def clear(self, condition: ConditionId) -> None:
        """Takes all liquidity of the house out of a market."""
        market = self._exchange.markets[condition]
        for _, side, price in [key for key in self._levels if key[0] == condition]:
            self._set(market, side, price, 0)
        self._publish(condition)

    def _publish(self, condition: ConditionId) -> None:
        if self._unpublished is None:
            self._exchange.publish(condition)
        else:
            self._unpublished.add(condition)

    def _market(self, token: str) -> Market:
        market = self._exchange.market_of(token)
        if market is None:
            raise KeyError(f"No market lists token {token}")
        return market

    def _set(self, market: Market, side: Side, price: Price, shares: Micro) -> None:
        """In terms of the book. A level that grows or shrinks keeps its place in the queue."""
        book = self._exchange.books[market.condition]
        key = (market.condition, side, price)
        order = self._levels.get(key)
        if order is not None and order.remaining and shares:
            grown = shares - order.remaining
            order.terms = replace(order.terms, shares=order.filled_shares + shares)
            if grown:
                book.grow(side, price, grown)
            return
        if order is not None:
            del self._levels[key]
            if order.remaining:
                book.remove(order, side, price)
        if shares:
            self._levels[key] = order = self._order(market, market.tokens[0], side, price, shares)
            book.rest(order, side, price)

    def _trade(
        self, market: Market, token: TokenId, side: Side, limit: Price, shares: Micro, *, users_only: bool
    ) -> Micro:
        eligible = (lambda maker: not maker.house) if users_only else None
        taker = self._order(market, token, side, limit, shares)
        planned = plan(self._exchange.books[market.condition], market, token, taker.terms, eligible=eligible)
        if planned.fills:
            executions = self._exchange.executions
            executions.announce(executions.fill(taker, market, planned))
        return planned.shares

    def _drop_crossed(self, market: Market, side: Side, price: Price) -> None:
        ladder = self._exchange.books[market.condition].ladder(side.opposite)
        for other in ladder.prices():
            if (other <= price) if side is Side.BUY else (other >= price):
                self._set(market, side.opposite, other, 0)

    def _order(self, market: Market, token: TokenId, side: Side, price: Price, shares: Micro) -> Order:
        now_ns = self._exchange.clock.now_ns()
        return Order(
            id=OrderId(f"0x{next(self._serial):064x}"),
            owner=HOUSE_KEY,
            maker=HOUSE,
            condition=market.condition,
            token=token,
            outcome=market.outcome_of(token),
            outcome_index=market.index_of(token),
            terms=Terms(side=side, limit=price, shares=shares),
            type=OrderType.GTC,
            created_ns=now_ns,
            house=True,
        )
