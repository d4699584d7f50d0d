"""What a decision must know of a market: its outcomes, its rules, and perhaps the top of its book."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from worker.orders.terms import ConditionId, ExchangeVersion, TokenId


@dataclass(frozen=True, slots=True)
class Token:
    token_id: TokenId
    outcome: str  # the label: "Yes", "No", "Over", a team's name


@dataclass(frozen=True, slots=True)
class Market:
    """`fee_rate` and `fee_exponent`: fee_usd = shares · rate · (p·(1-p))^exponent, takers only."""

    condition_id: ConditionId
    tokens: tuple[Token, ...]
    tick_size: Decimal
    min_order_size_shares: Decimal
    exchange_version: ExchangeVersion
    fee_rate: Decimal
    fee_exponent: int
    accepting_orders: bool
    closed: bool
    fetched_at: datetime

    def token(self, label: str) -> Token | None:
        """The outcome with this label, whatever its case; None rather than a guess."""
        wanted = label.strip().casefold()
        matches = [token for token in self.tokens if token.outcome.strip().casefold() == wanted]
        return matches[0] if len(matches) == 1 else None


@dataclass(frozen=True, slots=True)
class Level:
    price: Decimal
    size_shares: Decimal


@dataclass(frozen=True, slots=True)
class Book:
    """One token's book, best level first on both sides, as seen at `seen_at`."""

    token_id: TokenId
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices of one token, as they were told; None: nobody bids, or offers."""

    token_id: TokenId
    bid: Decimal | None
    ask: Decimal | None
