"""What a trade moves on the ledger: who pays, who receives, and when a set of tokens is minted or merged.

Every list sums to zero dollars, and to equal amounts of both tokens of a market.
"""

from worker.sandbox.exchange.accounts import ESCROW, FEES, USD, Transfer, asset_of
from worker.sandbox.exchange.matching import Fill
from worker.sandbox.exchange.orders import Order, Side
from worker.sandbox.exchange.units import Micro


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
