"""How markets end: who won, how often to ask, and what the end did to the orders that were open. Pure.

A market has ended once it is closed and both places that speak of it, the order book and the listing, name the same
winner. Or nobody has won, and a share of either outcome pays half a dollar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from worker.orders.market import Token
from worker.orders.terms import ConditionId, LtOrderId, Mode, TokenId

# What a share of the winner trades at in the listing, once that is decided: domain.md 2.13.
_DECIDED_PRICE = Decimal("0.99")
_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class UnsettledMarket:
    """A market with open orders in one mode. `token_id`: one of its tokens; `ends_at`: as its signals said."""

    condition_id: ConditionId
    mode: Mode
    token_id: TokenId
    orders: int
    ends_at: datetime | None

    @property
    def key(self) -> tuple[ConditionId, Mode]:
        return self.condition_id, self.mode


@dataclass(frozen=True, slots=True)
class UnsettledPage:
    markets: Sequence[UnsettledMarket]
    bookmark: Mapping[Mode, ConditionId] | None  # where the next page begins; None after the last one


@dataclass(frozen=True, slots=True)
class Ending:
    """What the exchange says of a closed market. Neither winner nor void: it is not resolved yet.

    `payout`: of a void one, the dollars that a share of either outcome pays; None where they are not alike.
    """

    winner: Token | None = None
    is_void: bool = False
    payout: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """`waiting`: orders that may still trade, or whose trades are not final. `contradicted`: resolved otherwise
    before, and left as they are.
    """

    won: int
    lost: int
    waiting: int
    contradicted: Sequence[LtOrderId]
    has_more: bool


def ending_of(
    flagged: Sequence[Token], listed_prices: Mapping[TokenId, Decimal], *, is_resolved: bool
) -> Ending:
    """Of a market that is closed at both places. `flagged`: the winners by the order book; `is_resolved`: whether the
    oracle has spoken, by the listing.
    """
    match flagged:
        case [winner] if listed_prices.get(winner.token_id, Decimal(0)) >= _DECIDED_PRICE:
            return Ending(winner=winner)
        case []:
            prices = list(listed_prices.values())
            if not (
                is_resolved and prices and all(1 - _DECIDED_PRICE < one < _DECIDED_PRICE for one in prices)
            ):
                return Ending()
            return Ending(is_void=True, payout=_HALF if prices == [_HALF, _HALF] else None)
        case _:
            return Ending()


def ask_again_after(
    ends_at: datetime | None, now: datetime, *, least: timedelta, most: timedelta
) -> timedelta:
    """A tenth of the time to its end, or since: markets end early and late, and the more so the longer they run."""
    return most if ends_at is None else min(max(abs(ends_at - now) / 10, least), most)
