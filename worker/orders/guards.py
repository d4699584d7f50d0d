"""Questions with one answer: None, or the skip that says no, with the number that failed and the limit it met.

Each looks at one thing and knows nothing of the others; `decide.py` says in which order they are asked.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from worker.orders.amounts import fee_usd
from worker.orders.capital import Capital
from worker.orders.evidence import Evidence, Input
from worker.orders.market import Book, Market
from worker.orders.numbers import plain
from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Skip
from worker.orders.strategy import FtWallet, Strategy
from worker.orders.terms import Mode, Side

# A signal within one hundredth above the floor was already in a dead market when the trader entered it.
_ENTRY_ABOVE_FLOOR = Decimal("0.01")


def switches(strategy: Strategy, side: Side, mode: Mode) -> Skip | None:
    """Kill, pause and the rest, strongest first and in the claim's order. A breaker stops entries and never an exit."""
    if strategy.is_killed:
        return Skip(SkipReason.KILL_SWITCH)
    if strategy.is_paused:
        return Skip(SkipReason.STRATEGY_PAUSED)
    if not strategy.is_active:
        return Skip(SkipReason.STRATEGY_INACTIVE)
    if strategy.shadow_mode and mode is Mode.LIVE:
        return Skip(SkipReason.SHADOW_MODE)
    if strategy.breaker_active and side is Side.BUY:
        return Skip(SkipReason.BREAKER_ACTIVE)
    return None


def paper_order_open(signal: Signal) -> Skip | None:
    return (
        None if signal.is_open else Skip(SkipReason.FT_NOT_OPEN, value=signal.outcome or "NULL", limit="OPEN")
    )


def young_enough(signal: Signal, policy: DecisionPolicy, now: datetime) -> Skip | None:
    age = now - signal.created_at
    if age <= policy.backfill_max_age:
        return None
    return Skip(SkipReason.SIGNAL_TOO_OLD, value=_seconds(age), limit=_seconds(policy.backfill_max_age))


def tradable(market: Market) -> Skip | None:
    if market.closed:
        return Skip(SkipReason.MARKET_CLOSED, value=market.condition_id)
    if not market.accepting_orders:
        return Skip(SkipReason.MARKET_NOT_READY, value=market.condition_id)
    return None


def offered(book: Book | None, side: Side, limit: Decimal) -> Skip | None:
    """For a signal that is not fresh: the book must offer a price inside the cap, and no book is no offer."""
    best = best_price(book, side)
    if best is None:
        return Skip(SkipReason.SIGNAL_STALE, value="no price offered", limit=plain(limit))
    if best > limit if side is Side.BUY else best < limit:
        return Skip(SkipReason.SIGNAL_STALE, value=plain(best), limit=plain(limit))
    return None


def not_collapsed(book: Book | None, side: Side, base: Decimal, wallet: FtWallet) -> Skip | None:
    """The paper wallet's dead-market guard, for entries: a collapsed price is no bargain (domain.md Appendix C)."""
    best = best_price(book, side)
    if best is None or side is Side.SELL or not wallet.dead_market_guard:
        return None
    floor = wallet.dead_market_floor
    if base >= floor + _ENTRY_ABOVE_FLOOR and best < floor:
        return Skip(SkipReason.PRICE_MOVED, value=plain(best), limit=plain(floor))
    lowest = base * (1 - wallet.dead_market_max_drift)
    if best < lowest:
        return Skip(SkipReason.PRICE_MOVED, value=plain(best), limit=plain(lowest))
    return None


def enough_edge(
    evidence: Evidence, limit: Decimal, market: Market, policy: DecisionPolicy, *, fresh: bool
) -> Skip | None:
    """What an entry promises at the worst price that it may pay, taker fee included, must reach the policy's least.

    An unknown edge is the policy's choice for a fresh signal, and a no for any other.
    """
    least = policy.min_edge_after_fees
    if least is None:
        return None
    if not evidence.edge_known:
        if fresh and policy.unknown_edge_passes:
            return None
        return Skip(SkipReason.EDGE_UNKNOWN, value=Input.WIN_RATE, limit=plain(least))
    left = edge_after_fees(evidence, limit, market)
    return None if left >= least else Skip(SkipReason.EDGE_TOO_SMALL, value=plain(left), limit=plain(least))


def edge_after_fees(evidence: Evidence, price: Decimal, market: Market) -> Decimal:
    """Dollars a share: win rate - price - fee. Price plus fee grows with the price, so the limit is the worst."""
    return evidence.win_rate - price - fee_usd(Decimal(1), price, market)


def raisable(cost_usd: Decimal, wallet: FtWallet, strategy: Strategy, capital: Capital) -> Skip | None:
    """May a bet grow to the exchange's minimum? Only inside the most that either side allows one bet, and every limit."""
    if cost_usd > wallet.max_bet_usd:
        return Skip(SkipReason.ABOVE_MAX_ORDER_SIZE, value=plain(cost_usd), limit=plain(wallet.max_bet_usd))
    return within_limits(cost_usd, strategy, capital)


def within_limits(reserve_usd: Decimal, strategy: Strategy, capital: Capital) -> Skip | None:
    """The strategy's caps on the worst-case cost of an entry. Reached exactly is still inside.

    What has happened already (spent or lost today, losses in a row, orders in a minute) only the claim knows; it also
    is the one that may trip the breaker.
    """
    ceilings = (
        (SkipReason.ABOVE_MAX_ORDER_SIZE, reserve_usd, strategy.max_order_size_usd),
        (SkipReason.MAX_POSITION_SIZE, reserve_usd, strategy.max_position_size_usd),
        (SkipReason.MAX_TOTAL_EXPOSURE, capital.exposure_usd + reserve_usd, strategy.max_total_exposure_usd),
        (SkipReason.DAILY_BUDGET, reserve_usd, strategy.daily_budget_usd),
        (SkipReason.INSUFFICIENT_CAPITAL, reserve_usd, capital.available_usd),
    )
    for reason, cost, ceiling in ceilings:
        if ceiling is not None and cost > ceiling:
            return Skip(reason, value=plain(cost), limit=plain(ceiling))
    return None


def best_price(book: Book | None, side: Side) -> Decimal | None:
    """The best price on the side that we would take, in whatever order the levels came."""
    if book is None:
        return None
    if side is Side.BUY:
        return min((level.price for level in book.asks if level.size_shares > 0), default=None)
    return max((level.price for level in book.bids if level.size_shares > 0), default=None)


def _seconds(span: timedelta) -> str:
    return f"{int(span.total_seconds())} s"
