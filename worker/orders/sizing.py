"""How many dollars one signal is worth to one strategy: the paper wallet's method, then the strategy's own bounds.

The methods are those of the paper side (domain.md 2.4), in one place for both. A method that is not built yet is a
skip; nothing falls through to another method.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import assert_never

from worker.orders.numbers import CENT, floor_to, plain
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod, FtWallet, Strategy


def bet_usd(wallet: FtWallet, strategy: Strategy, available_usd: Decimal) -> Decimal | Skip:
    """The bet in whole cents: what the worst case of the order, fees included, may cost.

    method → [min_bet, max_bet] → cents → [min_order_size_usd, max_order_size_usd] → what is available, but never
    below min_order_size_usd: then the strategy cannot afford the signal.
    """
    wanted = _paper_bet(wallet)
    if isinstance(wanted, Skip):
        return wanted
    wanted = min(max(wanted, strategy.min_order_size_usd), strategy.max_order_size_usd)
    affordable = floor_to(min(wanted, available_usd), CENT)
    if affordable < strategy.min_order_size_usd or affordable <= 0:
        return Skip(SkipReason.INSUFFICIENT_CAPITAL, value=plain(wanted), limit=plain(available_usd))
    return affordable


def _paper_bet(wallet: FtWallet) -> Decimal | Skip:
    base = wallet.bet_size_usd * wallet.allocation_weight
    match wallet.allocation_method:
        case AllocationMethod.FIXED:
            bet = base
        case (
            AllocationMethod.KELLY
            | AllocationMethod.EDGE_SCALED
            | AllocationMethod.TIERED
            | AllocationMethod.CONFIDENCE
            | AllocationMethod.CONVICTION
            | AllocationMethod.ML_SCALED
            | AllocationMethod.WHALE
        ):
            return Skip(
                SkipReason.UNSUPPORTED_ALLOCATION,
                value=wallet.allocation_method,
                limit=AllocationMethod.FIXED,
            )
        case _:
            assert_never(wallet.allocation_method)
    return min(max(bet, wallet.min_bet_usd), wallet.max_bet_usd).quantize(CENT, ROUND_HALF_UP)
