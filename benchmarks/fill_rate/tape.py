"""A recorded market as far as its time has come: books, mids and prints of now, in the worker's own terms.

The simulated exchange rebuilds the books (`worker/sandbox/exchange/recording.py`). What falls due at a moment sees the
rows that are stamped before it, and none that is stamped with it: nobody looks ahead.
"""

import heapq
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Final

from worker.orders.guards import best_price
from worker.orders.market import Book, Level, Market, Token
from worker.orders.terms import ConditionId, ExchangeVersion, Side, TokenId
from worker.sandbox.exchange import markets, orders, units, wire
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.recording import LevelChange, Print, Recording, Replay
from worker.sandbox.exchange.venue import Venue

WARM_UP_S: Final = 120  # no snapshot begins the recording: before, its books are not whole
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FEE_EXPONENT: Final = 1


def moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def price_usd(price: units.Price) -> Decimal:
    return Decimal(price) / units.PRICE_ONE


def amount(shares: units.Micro) -> Decimal:
    return Decimal(shares) / units.MICRO


class Tape:
    """`fee_rate` is every market's, for takers."""

    def __init__(self, recording: Recording, *, fee_rate: Decimal) -> None:
        self._recording = recording
        self._fee_rate = fee_rate
        self._venue = Venue(Exchange(recording.markets))
        self._replay = Replay(recording, self._venue.house)
        self._books: dict[TokenId, Book] = {}
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._serial = count()
        self.now_ms = recording.start_ms

    def at(self, ms: int, act: Callable[[], None]) -> None:
        """Have something done then; what the recording does not reach is never done."""
        heapq.heappush(self._due, (ms, next(self._serial), act))

    def rows(self) -> Iterator[LevelChange | Print]:
        """Every row once it is applied, after whatever falls due until then. Told as one change: nobody listens."""
        steps = self._replay.steps()
        with self._venue.house.one_change():
            for row in self._recording.rows:
                while self._due and self._due[0][0] <= row.ms:
                    self.now_ms, _, act = heapq.heappop(self._due)
                    act()
                next(steps)
                self.now_ms = row.ms
                if isinstance(row, LevelChange):
                    for token in self.tokens_beside(row.token):
                        self._books.pop(token, None)
                yield row

    @property
    def now(self) -> datetime:
        return moment(self.now_ms)

    def market(self, token: str) -> Market:
        listed = self._listed(token)
        return Market(
            condition_id=ConditionId(listed.condition),
            tokens=tuple(
                Token(TokenId(one), outcome)
                for one, outcome in zip(listed.tokens, listed.outcomes, strict=True)
            ),
            tick_size=price_usd(listed.tick),
            min_order_size_shares=amount(listed.min_size),
            exchange_version=ExchangeVersion.STANDARD,
            fee_rate=self._fee_rate,
            fee_exponent=_FEE_EXPONENT,
            accepting_orders=True,
            closed=False,
            fetched_at=moment(self._recording.start_ms),
        )

    def tokens_beside(self, token: str) -> tuple[TokenId, TokenId]:
        """Both tokens of its market: one book, seen from two sides."""
        first, second = self._listed(token).tokens
        return TokenId(first), TokenId(second)

    def book(self, token: TokenId) -> Book:
        """Best level first."""
        if token not in self._books:
            listed = self._listed(token)
            book = self._venue.engine.books[listed.condition]
            bids, asks = wire.levels_of(book, listed, orders.TokenId(token))
            self._books[token] = Book(token, _levels(bids), _levels(asks), seen_at=self.now)
        return self._books[token]

    def mid(self, token: TokenId) -> Decimal:
        """Between bid and ask; where nobody bids that is 0, where nobody offers a dollar."""
        book = self.book(token)
        ask, bid = best_price(book, Side.BUY), best_price(book, Side.SELL)
        return ((Decimal(0) if bid is None else bid) + (Decimal(1) if ask is None else ask)) / 2

    def _listed(self, token: str) -> markets.Market:
        market = self._venue.engine.market_of(token)
        if market is None:
            raise KeyError(f"Expected a token of the recording, was {token}")
        return market


def _levels(worst_first: wire.Levels) -> tuple[Level, ...]:
    return tuple(Level(price_usd(price), amount(shares)) for price, shares in reversed(worst_first))
