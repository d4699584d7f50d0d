"""decide(signal, strategy, market, book, capital, ...) -> Plan | Skip: the whole judgement over one signal, pure.

`screen` is the part that needs nothing from the exchange and nothing from the ledger; ask it first. `decide` asks
it again and goes on. Both are deterministic: the same inputs give the same answer, so a decision can be replayed
from its snapshot. A `Plan` promises: price on tick, amounts the exchange accepts, worst-case cost ≤ bet ≤ caps.
Limits over shared state are judged on a snapshot here and for good in the claim; a refusal for money is only as
young as the `capital` it saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from worker.orders import guards
from worker.orders.amounts import Amounts, Reservation, Ticket, ticket
from worker.orders.capital import Capital
from worker.orders.market import Book, Market, Token
from worker.orders.numbers import plain
from worker.orders.policy import DecisionPolicy
from worker.orders.pricing import base_price, limit_price
from worker.orders.reasons import SkipReason
from worker.orders.signal import Malformed, Signal
from worker.orders.sizing import bet_usd
from worker.orders.skips import Skip, timed
from worker.orders.strategy import FtWallet, InvalidStrategy, Strategy
from worker.orders.terms import OrderType, Side

# The exchange refuses a GTD order that expires within three minutes and drops it a minute early.
_GTD_MIN_AHEAD = timedelta(seconds=190)
_GTD_DROPPED_EARLY = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Holdings:
    """Shares of the signal's outcome. Only confirmed ones may be sold; `sell_fraction` is what the trader sold."""

    confirmed_shares: Decimal
    unsettled_shares: Decimal = Decimal(0)
    sell_fraction: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Plan:
    """An order ready to be signed and claimed. `expires_at` is stated in a GTD order and None otherwise."""

    signal: Signal
    strategy: Strategy
    market: Market
    token: Token
    side: Side
    order_type: OrderType
    base_price: Decimal
    limit_price: Decimal
    bet_usd: Decimal  # 0 for a SELL
    amounts: Amounts
    reservation: Reservation
    expires_at: datetime | None
    snapshot: Mapping[str, str]


def is_fresh(signal: Signal, policy: DecisionPolicy, now: datetime) -> bool:
    """A fresh signal needs no look at the book; any other executes only against an offer inside its cap."""
    return now - signal.created_at <= policy.fresh_for


def screen(
    signal: Signal | Malformed,
    strategy: Strategy | InvalidStrategy,
    policy: DecisionPolicy,
    now: datetime,
    holdings: Holdings | None = None,
) -> Skip | None:
    """Everything that can be refused before the exchange is asked. None: go on to `decide`."""
    skip = _screened(signal, strategy, policy, now, holdings)
    if skip is None or isinstance(signal, Malformed):
        return skip
    return timed(skip, created_at=signal.created_at, policy=policy, now=now)


def decide(
    signal: Signal,
    strategy: Strategy,
    market: Market,
    book: Book | None,
    capital: Capital,
    policy: DecisionPolicy,
    now: datetime,
    holdings: Holdings | None = None,
) -> Plan | Skip:
    """Asks, in this order: screen, size, market, price, book, amounts, limits. The first no is the answer."""
    skip = _screened(signal, strategy, policy, now, holdings)
    seen = _seen(signal, strategy, market, book, capital, now)
    outcome = skip or _planned(signal, strategy, market, book, capital, policy, now, holdings, seen)
    if isinstance(outcome, Plan):
        return outcome
    outcome = timed(outcome, created_at=signal.created_at, policy=policy, now=now)
    return replace(outcome, snapshot=seen)


def defer(
    reason: SkipReason,
    signal: Signal,
    policy: DecisionPolicy,
    now: datetime,
    *,
    value: str = "",
    limit: str = "",
) -> Skip:
    """The skip for a no that came from outside: the exchange, its mode, the claim, the lease."""
    return timed(Skip(reason, value, limit), created_at=signal.created_at, policy=policy, now=now)


def _screened(
    signal: Signal | Malformed,
    strategy: Strategy | InvalidStrategy,
    policy: DecisionPolicy,
    now: datetime,
    holdings: Holdings | None,
) -> Skip | None:
    if isinstance(signal, Malformed):
        return Skip(signal.reason, value=signal.value)
    if isinstance(strategy, InvalidStrategy):
        return Skip(SkipReason.STRATEGY_INVALID, value=strategy.problem)
    if skip := guards.paper_order_open(signal):
        return skip
    if strategy.ft_wallet is None:
        return Skip(SkipReason.UNKNOWN_WALLET, value=strategy.ft_wallet_id)
    return (
        guards.switches(strategy, signal.side, policy.mode)
        or guards.young_enough(signal, policy, now)
        or (_sellable(holdings) if signal.side is Side.SELL else None)
    )


def _sellable(holdings: Holdings | None) -> Skip | None:
    if holdings is None or holdings.confirmed_shares + holdings.unsettled_shares <= 0:
        return Skip(SkipReason.SELL_NO_POSITION, value="0 shares")
    if holdings.confirmed_shares <= 0:
        return Skip(SkipReason.POSITION_UNSETTLED, value=f"{plain(holdings.unsettled_shares)} shares")
    return None


def _planned(
    signal: Signal,
    strategy: Strategy,
    market: Market,
    book: Book | None,
    capital: Capital,
    policy: DecisionPolicy,
    now: datetime,
    holdings: Holdings | None,
    seen: dict[str, str],
) -> Plan | Skip:
    wallet = strategy.ft_wallet
    if wallet is None:
        return Skip(SkipReason.UNKNOWN_WALLET, value=strategy.ft_wallet_id)
    bet = Decimal(0)
    if signal.side is Side.BUY:
        sized = bet_usd(signal, wallet, strategy, capital.available_usd)
        if isinstance(sized, Skip):
            return sized
        bet = sized
        seen["bet_usd"] = plain(bet)
    if skip := guards.tradable(market):
        return skip
    token = market.token(signal.token_label)
    if token is None:
        labels = " | ".join(each.outcome for each in market.tokens)
        return Skip(SkipReason.TOKEN_LABEL_MISMATCH, value=signal.token_label, limit=labels)
    base = base_price(signal.entry_price, signal.side, market.tick_size)
    if isinstance(base, Skip):
        return base
    seen["base_price"] = plain(base)
    limit = limit_price(base, signal.side, strategy.slippage, market.tick_size, policy.min_tick_max_pct)
    if isinstance(limit, Skip):
        return limit
    seen["limit_price"] = plain(limit)
    if skip := _book_refuses(signal, wallet, book, base, limit, policy, now):
        return skip
    order = ticket(
        side=signal.side,
        order_type=strategy.order_type,
        limit_price=limit,
        market=market,
        bet_usd=bet,
        shares=_shares_to_sell(holdings),
        min_marketable_usd=policy.min_marketable_usd,
    )
    if isinstance(order, Skip):
        return order
    seen["reserve_usd"] = plain(order.reservation.usd)
    if signal.side is Side.BUY and (skip := guards.within_limits(order.reservation.usd, strategy, capital)):
        return skip
    return _plan(signal, strategy, market, token, base, limit, bet, order, policy, now, seen)


def _plan(
    signal: Signal,
    strategy: Strategy,
    market: Market,
    token: Token,
    base: Decimal,
    limit: Decimal,
    bet: Decimal,
    order: Ticket,
    policy: DecisionPolicy,
    now: datetime,
    seen: dict[str, str],
) -> Plan:
    return Plan(
        signal=signal,
        strategy=strategy,
        market=market,
        token=token,
        side=signal.side,
        order_type=strategy.order_type,
        base_price=base,
        limit_price=limit,
        bet_usd=bet,
        amounts=order.amounts,
        reservation=order.reservation,
        expires_at=_expiry(policy, now) if strategy.order_type is OrderType.GTD else None,
        snapshot=seen,
    )


def _book_refuses(
    signal: Signal,
    wallet: FtWallet,
    book: Book | None,
    base: Decimal,
    limit: Decimal,
    policy: DecisionPolicy,
    now: datetime,
) -> Skip | None:
    if not is_fresh(signal, policy, now) and (skip := guards.offered(book, signal.side, limit)):
        return skip
    return guards.alive(book, signal.side, base, wallet)


def _shares_to_sell(holdings: Holdings | None) -> Decimal:
    if holdings is None:
        return Decimal(0)
    return holdings.confirmed_shares * min(Decimal(1), holdings.sell_fraction)


def _expiry(policy: DecisionPolicy, now: datetime) -> datetime:
    ahead = max(policy.gtd_lifetime + _GTD_DROPPED_EARLY, _GTD_MIN_AHEAD)
    return (now + ahead).replace(microsecond=0)


def _seen(
    signal: Signal, strategy: Strategy, market: Market, book: Book | None, capital: Capital, now: datetime
) -> dict[str, str]:
    """The state that a person needs to check the judgement by hand: a fixed set of keys, never a whole book."""
    bid, ask = guards.best_price(book, Side.SELL), guards.best_price(book, Side.BUY)
    return {
        "age_s": str(int((now - signal.created_at).total_seconds())),
        "entry_price": plain(signal.entry_price),
        "slippage": plain(strategy.slippage),
        "order_type": strategy.order_type,
        "tick_size": plain(market.tick_size),
        "fee_rate": plain(market.fee_rate),
        "available_usd": plain(capital.available_usd),
        "exposure_usd": plain(capital.exposure_usd),
        "best_bid": plain(bid) if bid is not None else "",
        "best_ask": plain(ask) if ask is not None else "",
    }


__all__ = ["Holdings", "Plan", "Skip", "decide", "defer", "is_fresh", "screen"]
