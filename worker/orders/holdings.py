"""What a trader's sale takes along: the same part of our shares as of the paper shares, and settled ones alone.

part = min(1, shares that the signal sells ÷ paper shares that were open before it), of one paper wallet, trader and
outcome (protocol.md "Capital"). Paper sizes are dollars, so each is divided by its own price: a trader who sells half
of his shares at twice their price has not sold everything. Every part is of what was left before that sale, so several
sales come to the same in whatever order they are executed: (1 - 30/100) · (1 - 30/70) = 40/100.
"""

from dataclasses import dataclass
from decimal import Decimal

from worker.orders.numbers import share_count, trimmed
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Skip

_WHOLE = Decimal(1)
# Quotients of dollars and prices have no end: without this a half could come out a hair below a half.
_PART_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class Holdings:
    """A strategy's shares behind a sale, and the paper shares that its trader bought and sold before it.

    `unsold_shares`: trades on his signals that stand, less what is sold or for sale; `settled_shares`: the final ones of
    these. `buying`: a purchase of his before the sale is open, or not decided on yet; `selling`: a sale of this outcome
    is open. Paper shares count while the paper is open.
    """

    unsold_shares: Decimal
    settled_shares: Decimal
    buying: bool
    selling: bool
    paper_bought_shares: Decimal
    paper_sold_shares: Decimal


def part_sold(signal: Signal, holdings: Holdings) -> Decimal:
    """Which part of the paper position the signal sells, in (0, 1]; 1 where earlier sales had left nothing of it."""
    open_shares = holdings.paper_bought_shares - holdings.paper_sold_shares
    sold_shares = signal.size_usd / signal.entry_price
    if sold_shares >= open_shares:
        return _WHOLE
    return max((sold_shares / open_shares).quantize(_PART_STEP), _PART_STEP)


def shares_to_sell(signal: Signal, holdings: Holdings, *, least_shares: Decimal) -> Decimal | Skip:
    """How many shares to sell. `least_shares`: the smallest sale that the exchange takes.

    A rest that could not be sold by itself is sold along; nothing else ever is beyond the trader's part. More than
    what has settled waits until it has, and everything until his purchases are over: their shares belong to the part.
    """
    if holdings.paper_bought_shares <= 0:
        return Skip(SkipReason.SELL_NO_POSITION, value="0 paper shares")
    unsold, settled = holdings.unsold_shares, holdings.settled_shares
    if holdings.buying:
        return Skip(SkipReason.POSITION_UNSETTLED, value=share_count(unsold), limit="a purchase is open")
    if unsold <= 0:
        reason = SkipReason.POSITION_UNSETTLED if holdings.selling else SkipReason.SELL_NO_POSITION
        return Skip(reason, value=share_count(unsold))
    wanted = unsold * part_sold(signal, holdings)
    if wanted >= least_shares > unsold - wanted:
        wanted = unsold
    if wanted > settled:
        return Skip(SkipReason.POSITION_UNSETTLED, value=share_count(wanted), limit=trimmed(settled))
    return wanted
