"""The state that a decision saw, small enough to keep with every one: inputs, limits, capital, book top, settings.

A person can check the judgement by hand with it, and two decisions with the same `config` were made by the same
settings. A fixed set of keys with short texts, never a whole book.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from worker.orders.allocation import INPUTS
from worker.orders.capital import Capital
from worker.orders.evidence import Evidence
from worker.orders.guards import best_price
from worker.orders.holdings import Holdings, part_sold
from worker.orders.market import Book, Market
from worker.orders.numbers import plain
from worker.orders.policy import DecisionPolicy
from worker.orders.signal import Signal
from worker.orders.strategy import FtWallet, Strategy
from worker.orders.terms import Side

_CONFIG_DIGITS = 12


def state_seen(
    signal: Signal,
    strategy: Strategy,
    market: Market,
    book: Book | None,
    capital: Capital,
    policy: DecisionPolicy,
    now: datetime,
) -> dict[str, str]:
    """What stands before the judgement begins; a limit that is off and a price that nobody offers are ''."""
    return {
        "age_s": str(int((now - signal.created_at).total_seconds())),
        "entry_price": plain(signal.entry_price),
        "slippage": plain(strategy.slippage),
        "order_type": strategy.order_type,
        "tick_size": plain(market.tick_size),
        "fee_rate": plain(market.fee_rate),
        "available_usd": plain(capital.available_usd),
        "exposure_usd": plain(capital.exposure_usd),
        "max_order_size_usd": plain(strategy.max_order_size_usd),
        "max_position_size_usd": _or_blank(strategy.max_position_size_usd),
        "max_total_exposure_usd": _or_blank(strategy.max_total_exposure_usd),
        "daily_budget_usd": _or_blank(strategy.daily_budget_usd),
        "max_daily_loss_usd": _or_blank(strategy.max_daily_loss_usd),
        "breaker_drawdown": _or_blank(strategy.breaker_drawdown),
        "max_consecutive_losses": _or_blank(strategy.max_consecutive_losses),
        "max_open_positions": _or_blank(strategy.max_open_positions),
        "max_orders_per_minute": _or_blank(strategy.max_orders_per_minute),
        "best_bid": _or_blank(best_price(book, Side.SELL)),
        "best_ask": _or_blank(best_price(book, Side.BUY)),
        "config": config_digest(strategy, policy),
    }


def bet_seen(wallet: FtWallet, evidence: Evidence, capital: Capital) -> dict[str, str]:
    """What a BUY was sized by. `assumed` names the inputs of the method that the signal lacked."""
    method = wallet.allocation_method
    return {
        "method": method,
        "win_rate": plain(evidence.win_rate),
        "edge": plain(evidence.edge),
        "conviction": plain(evidence.conviction),
        "score": plain(evidence.score),
        "assumed": " ".join(sorted(evidence.assumed & INPUTS[method])),
        "bankroll_usd": plain(capital.bankroll_usd),
    }


def sale_seen(signal: Signal, holdings: Holdings) -> dict[str, str]:
    """What a SELL was sized by, in shares; `part` of what is unsold is to be sold."""
    return {
        "unsold_shares": plain(holdings.unsold_shares),
        "settled_shares": plain(holdings.settled_shares),
        "paper_bought_shares": plain(holdings.paper_bought_shares),
        "paper_sold_shares": plain(holdings.paper_sold_shares),
        "part": plain(part_sold(signal, holdings)),
    }


def config_digest(strategy: Strategy, policy: DecisionPolicy) -> str:
    """Changes with every setting that a decision obeys, and never with the money."""
    settings = repr((replace(strategy, capital=None, inert=()), policy))
    return hashlib.sha256(settings.encode()).hexdigest()[:_CONFIG_DIGITS]


def _or_blank(number: Decimal | int | None) -> str:
    return "" if number is None else plain(Decimal(number))
