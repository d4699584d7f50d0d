"""An order that rests on the book: when it has to come off, and whether it is worth another price. Pure.

Left behind is an order that has rested for long and that the market has moved away from: others bid better, or the
other side is more than a tick away. One that is first in line next to the other side waits on, however long.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from worker.orders.guards import best_price
from worker.orders.market import Book, Market
from worker.orders.terms import ConditionId, Mode, OrderId, Side, StrategyId, TokenId, WalletAddress


class CallOff(StrEnum):
    """Why the exchange is asked to cancel an order of ours."""

    REPRICE = "reprice"  # what is left of it is tried again at another price
    LEFT_BEHIND = "left_behind"  # it was tried often enough
    KILL = "kill"
    PAUSE = "pause"
    SALE = "sale"  # the trader has sold since, and his sale waits for it


@dataclass(frozen=True, slots=True)
class Resting:
    """An order that stands on the book. `halt`: why it must not, whatever the market; `attempts`: of its order, with it."""

    order_id: OrderId
    strategy_id: StrategyId
    mode: Mode
    wallet: WalletAddress
    condition_id: ConditionId
    token_id: TokenId
    side: Side
    limit_price: Decimal
    attempts: int
    halt: CallOff | None


def call_off(resting: Resting, market: Market, book: Book, *, reprices_most: int) -> CallOff | None:
    """Of one that no switch forbids. None: it may rest on."""
    if not left_behind(resting, market, book):
        return None
    return CallOff.REPRICE if resting.attempts <= reprices_most else CallOff.LEFT_BEHIND


def left_behind(resting: Resting, market: Market, book: Book) -> bool:
    """Its own level is part of the book, so that it alone is never better than itself."""
    side, limit = resting.side, resting.limit_price
    across = best_price(book, side)
    beside = best_price(book, Side.SELL if side is Side.BUY else Side.BUY)
    if beside is not None and (beside > limit if side is Side.BUY else beside < limit):
        return True
    return across is not None and abs(across - limit) > market.tick_size
