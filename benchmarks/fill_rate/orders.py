"""What is to be copied and under which conditions, what was bought, and what that left of the book."""

from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks.fill_rate.tape import amount
from worker.exchange.shadow import Taken
from worker.handlers.remainders import RemainderTiming
from worker.handlers.resting import RestingPolicy
from worker.orders.market import Book, Level, Market
from worker.orders.policy import DecisionPolicy
from worker.orders.retake import RemainderPolicy
from worker.orders.signal import Signal
from worker.orders.strategy import Strategy
from worker.orders.terms import OrderType, TokenId
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.recording import LevelChange, Print
from worker.sandbox.exchange.units import MICRO, PRICE_ONE, Micro, Price


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all copies of a run have in common: the worker's settings, and how far it is from the exchange.

    An order is on the book `delay_ms` after its print, or `reach_ms` after the look at the book that led to it. What it
    matched is in our books `booked_ms` later. It is called off `follow_ms` after its print, whatever is left.
    """

    policy: DecisionPolicy
    further: RemainderPolicy
    timing: RemainderTiming
    resting: RestingPolicy
    delay_ms: int
    reach_ms: int
    booked_ms: int
    follow_ms: int


@dataclass(frozen=True, slots=True)
class Way:
    """An order type, and whether what is left of an order is tried again."""

    order_type: OrderType
    again: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """What is to be copied, and how."""

    leader: Print
    signal: Signal
    market: Market
    strategy: Strategy
    way: Way

    @property
    def token(self) -> TokenId:
        return TokenId(self.leader.token)


@dataclass(slots=True)
class Bought:
    """A fill, and the mid so many seconds after it, as far as it is recorded. `is_later`: than the order's arrival."""

    at_ms: int
    is_later: bool
    role: str
    price: Decimal
    shares: Decimal
    fee_usd: Decimal
    mids: dict[int, Decimal] = field(default_factory=dict)

    @property
    def usd(self) -> Decimal:
        return self.price * self.shares


class Footprint:
    """What a copy has taken from the offers, which goes on standing in the recording.

    It stays gone: when the recorded level grows again, what is new is there to be taken; when it shrinks, somebody
    else has taken the same shares.
    """

    def __init__(self) -> None:
        self._taken: dict[Price, Micro] = {}

    def take(self, taken: Taken) -> None:
        price = int(taken.price * PRICE_ONE)
        self._taken[price] = self._taken.get(price, 0) + int(taken.shares * MICRO)

    def follow(self, row: LevelChange) -> None:
        if row.side is Side.SELL and row.price in self._taken:
            self._taken[row.price] = min(self._taken[row.price], row.shares)

    def without(self, book: Book) -> Book:
        """The book as it would stand after what was taken from it."""
        if not self._taken:
            return book
        asks = (
            Level(level.price, level.size_shares - amount(self._taken.get(int(level.price * PRICE_ONE), 0)))
            for level in book.asks
        )
        return Book(book.token_id, book.bids, tuple(one for one in asks if one.size_shares > 0), book.seen_at)
