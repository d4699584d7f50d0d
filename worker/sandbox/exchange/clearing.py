"""What an order must be able to pay, and what its trades then move on the ledger.

Every list of transfers sums to zero dollars, and to equal amounts of both tokens of a market.
"""

from worker.sandbox.exchange.accounts import ESCROW, FEES, USD, Asset, Transfer, asset_of
from worker.sandbox.exchange.matching import Fill, Plan
from worker.sandbox.exchange.orders import Order, Side
from worker.sandbox.exchange.units import Micro, notional


def outlay(order: Order, planned: Plan, fee: Micro) -> tuple[Asset, Micro]:
    """What the account must have available: the order as signed, or what it would cost now if that is more."""
    if order.side is Side.SELL:
        return asset_of(order.token), order.terms.shares
    if order.terms.budget_usd is not None:
        return USD, max(order.terms.budget_usd, planned.usd) + fee
    resting = notional(order.terms.shares - planned.shares, order.limit)
    return USD, max(notional(order.terms.shares, order.limit), planned.usd + resting) + fee


def transfers_of(taker: Order, fills: tuple[Fill, ...], *, usd: Micro, fee: Micro) -> tuple[Transfer, ...]:
    """A BUY pays its fee on top of the price, a SELL out of the proceeds. Makers pay none."""
    shares = sum(fill.shares for fill in fills)
    moves = _sides(taker, shares=shares, usd=usd, fee=fee)
    moves.append(Transfer(FEES, USD, fee))
    for fill in fills:
        maker = fill.maker
        moves += _sides(maker, shares=fill.shares, usd=fill.maker_usd, fee=0)
        if maker.token != taker.token:
            minted = fill.shares if taker.side is Side.BUY else -fill.shares
            moves.append(Transfer(ESCROW, USD, minted))
    return tuple(move for move in moves if move.amount)


def _sides(order: Order, *, shares: Micro, usd: Micro, fee: Micro) -> list[Transfer]:
    token = asset_of(order.token)
    if order.side is Side.BUY:
        return [Transfer(order.maker, USD, -usd - fee), Transfer(order.maker, token, shares)]
    return [Transfer(order.maker, token, -shares), Transfer(order.maker, USD, usd - fee)]
