"""What the exchange tells the world as it happens: the user channel's and the market channel's events.

Listeners are plain callbacks, called in order, within the change they report. Nothing is rendered while
nobody listens.
"""

from collections.abc import Callable
from typing import TypeAlias

from worker.sandbox.exchange import wire
from worker.sandbox.exchange.book import Book
from worker.sandbox.exchange.clock import Clock
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.orders import ApiKey, ConditionId, Order, Side, TokenId
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.trades import Trade
from worker.sandbox.exchange.units import Micro, Price
from worker.sandbox.exchange.wire import Json

UserListener: TypeAlias = Callable[[ApiKey, ConditionId, Json], None]
MarketListener: TypeAlias = Callable[[tuple[TokenId, ...], Json], None]


class Feed:
    def __init__(self, clock: Clock, rules: Rules) -> None:
        self._clock = clock
        self._rules = rules
        self.user_listeners: list[UserListener] = []
        self.market_listeners: list[MarketListener] = []
        self.has_audience: Callable[[tuple[TokenId, ...]], bool] = lambda _: True
        """Whether any market listener cares for these tokens at all."""

    def order(self, order: Order, kind: str, status: str | None = None) -> None:
        if order.house or not self.user_listeners:
            return
        event = wire.order_event(
            order, self._rules, kind=kind, status=status or order.status.value, now_ns=self._clock.now_ns()
        )
        self._to_user(order.owner, order.condition, event)

    def killed(self, order: Order, why: str) -> None:
        """A killed FAK or FOK: an event with empty numbers, as it was captured on the real channel."""
        if order.house or not self.user_listeners:
            return
        event = wire.order_event(
            order,
            self._rules,
            kind="CANCELLATION",
            status=f"CANCELED_{why}",
            now_ns=self._clock.now_ns(),
        )
        self._to_user(order.owner, order.condition, {**event, "size_matched": "", "created_at": ""})

    def trade(self, trade: Trade) -> None:
        if not self.user_listeners:
            return
        for owner in trade.owners():
            event = wire.trade_event(trade, owner, now_ns=self._clock.now_ns())
            self._to_user(owner, trade.market.condition, event)

    def book_changed(self, book: Book, market: Market, touched: list[tuple[Side, Price, Micro]]) -> None:
        if touched and self.market_listeners and self.has_audience(market.tokens):
            now_ns = self._clock.now_ns()
            self._to_market(market.tokens, wire.price_change_event(book, market, touched, now_ns=now_ns))

    def printed(self, market: Market, token: TokenId, side: Side, price: Price, shares: Micro) -> None:
        if self.market_listeners and self.has_audience((token,)):
            now_ns = self._clock.now_ns()
            event = wire.last_trade_event(market, token, side, price, shares, now_ns=now_ns)
            self._to_market((token,), event)

    def tick_changed(self, market: Market, old: Price) -> None:
        for token in market.tokens:
            event = wire.tick_change_event(market, token, old, now_ns=self._clock.now_ns())
            self._to_market((token,), event)

    def resolved(self, market: Market) -> None:
        self._to_market(market.tokens, wire.resolved_event(market, now_ns=self._clock.now_ns()))

    def _to_user(self, owner: ApiKey, condition: ConditionId, event: Json) -> None:
        for listener in self.user_listeners:
            listener(owner, condition, event)

    def _to_market(self, tokens: tuple[TokenId, ...], event: Json) -> None:
        for listener in self.market_listeners:
            listener(tokens, event)
