"""How many dollars one signal is worth to one strategy: the paper wallet's method, then every bound in its order.

The paper wallet's bounds make the paper bet; the live strategy's bounds and its capital have the last word. A bet is
whole cents, never negative, and never more than the strategy's most or than what is available.
"""

from decimal import ROUND_HALF_UP, Decimal

from worker.orders.allocation import stake_usd
from worker.orders.capital import Capital
from worker.orders.evidence import Evidence
from worker.orders.numbers import CENT, floor_to, plain
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import FtWallet, Strategy


def bet_usd(wallet: FtWallet, strategy: Strategy, evidence: Evidence, capital: Capital) -> Decimal | Skip:
    """The bet in whole cents: what the worst case of the order, fees included, may cost.

    method → cents → [min_bet, max_bet] → [min_order_size_usd, max_order_size_usd] → what is available, but never
    below min_order_size_usd: then the strategy cannot afford the signal.
    """
    stake = stake_usd(wallet, evidence, capital.bankroll_usd)
    if isinstance(stake, Skip):
        return stake
    paper = min(max(stake.quantize(CENT, ROUND_HALF_UP), wallet.min_bet_usd), wallet.max_bet_usd)
    wanted = min(max(paper, strategy.min_order_size_usd), strategy.max_order_size_usd)
    affordable = floor_to(min(wanted, capital.available_usd), CENT)
    if affordable < strategy.min_order_size_usd or affordable <= 0:
        return Skip(SkipReason.INSUFFICIENT_CAPITAL, value=plain(wanted), limit=plain(capital.available_usd))
    return affordable
