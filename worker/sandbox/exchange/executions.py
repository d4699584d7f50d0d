"""From planned fills to trades: what changes on both sides' orders, on the ledger and in the feed.

A trade is announced once, to everybody who is part of it, and its settlement begins then.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from worker.sandbox.exchange.accounts import USD, Accounts, asset_of
from worker.sandbox.exchange.book import Book
from worker.sandbox.exchange.clearing import transfers_of
from worker.sandbox.exchange.clock import Agenda, Clock
from worker.sandbox.exchange.feed import Feed
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.matching import Fill, Plan
from worker.sandbox.exchange.orders import ApiKey, ConditionId, Order, OrderId, OrderStatus, Side
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.trades import Settlement, Trade, TradeStatus, trade_id, transaction_hash
from worker.sandbox.exchange.units import Price


class Executions:
    """Every trade of the exchange. `books` and `resting` are the exchange's own: makers leave them when filled."""

    def __init__(
        self,
        *,
        clock: Clock,
        rules: Rules,
        agenda: Agenda,
        accounts: Accounts,
        feed: Feed,
        books: Mapping[ConditionId, Book],
        resting: dict[OrderId, Order],
    ) -> None:
        self._clock = clock
        self._rules = rules
        self._accounts = accounts
        self._feed = feed
        self._books = books
        self._resting = resting
        self.trades: dict[str, Trade] = {}
        self.trades_of: defaultdict[ApiKey, list[Trade]] = defaultdict(list)
        self.settlement = Settlement(agenda, rules.settlement, self._advance)

    def fill(self, taker: Order, market: Market, planned: Plan) -> tuple[Trade, ...]:
        """Applies a plan, one trade for each price met. The caller announces and publishes."""
        by_price: dict[Price, list[Fill]] = {}
        for fill in planned.fills:
            by_price.setdefault(fill.price, []).append(fill)
        return tuple(
            self._trade(taker, market, price, tuple(fills), bucket)
            for bucket, (price, fills) in enumerate(by_price.items())
        )

    def announce(self, trades: Iterable[Trade]) -> None:
        """Keeps, tells and begins to settle the trades that somebody other than the house is part of."""
        for trade in trades:
            if trade.is_between_house:
                continue
            self._accounts.hold_for_match(trade.transfers)
            self.trades[trade.id] = trade
            for owner in trade.owners():
                self.trades_of[owner].append(trade)
            for fill in trade.fills:
                self._feed.order(fill.maker, "UPDATE")
            self._feed.trade(trade)
            self.settlement.begin(trade)

    def _trade(
        self, taker: Order, market: Market, price: Price, fills: tuple[Fill, ...], bucket: int
    ) -> Trade:
        shares = sum(fill.shares for fill in fills)
        usd = sum(fill.taker_usd for fill in fills)
        fee = market.fees.fee(shares, price) if self._rules.fee_on and not taker.house else 0
        now_ns = self._clock.now_ns()
        trade = Trade(
            id=trade_id(taker.id, bucket),
            taker=taker,
            market=market,
            price=price,
            shares=shares,
            usd=usd,
            fee=fee,
            fills=fills,
            transfers=transfers_of(taker, fills, usd=usd, fee=fee),
            bucket_index=bucket,
            matched_ns=now_ns,
            updated_ns=now_ns,
        )
        for fill in fills:
            self._fill_maker(fill, market, trade)
        taker.filled_shares += shares
        taker.filled_usd += usd
        taker.trade_ids.append(trade.id)
        market.last_trade_price = fills[-1].book_price
        self._feed.printed(market, taker.token, taker.side, price, shares)
        return trade

    def _fill_maker(self, fill: Fill, market: Market, trade: Trade) -> None:
        maker = fill.maker
        side, price = market.in_book(maker.token, maker.side, maker.limit)
        maker.filled_shares += fill.shares
        maker.filled_usd += fill.maker_usd
        self._books[market.condition].reduce(maker, side, price, fill.shares)
        if maker.house:
            return
        maker.trade_ids.append(trade.id)
        if maker.side is Side.BUY:
            self._accounts.hold_for_order(maker.maker, USD, -fill.maker_usd)
        else:
            self._accounts.hold_for_order(maker.maker, asset_of(maker.token), -fill.shares)
        if maker.remaining == 0:
            del self._resting[maker.id]
            maker.end(OrderStatus.MATCHED, self._clock.now_ns())

    def _advance(self, trade: Trade, status: TradeStatus) -> None:
        trade.status = status
        trade.updated_ns = self._clock.now_ns()
        trade.history.append(status)
        if status is TradeStatus.MINED:
            trade.transaction_hash = transaction_hash(trade.id)
            self._accounts.release_match(trade.transfers)
            self._accounts.settle(trade.transfers)
        elif status is TradeStatus.FAILED:
            self._accounts.release_match(trade.transfers)
        self._feed.trade(trade)
