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
from typing import TypeVar

from worker.orders import guards
from worker.orders.amounts import (
    Amounts,
    Reservation,
    Ticket,
    smallest_buy,
    smallest_sale_shares,
    ticket,
)
from worker.orders.capital import Capital
from worker.orders.evidence import evidence_of
from worker.orders.holdings import Holdings, shares_to_sell
from worker.orders.market import Book, Market, Token
from worker.orders.numbers import plain
from worker.orders.policy import DecisionPolicy
from worker.orders.pricing import base_price, limit_price
from worker.orders.reasons import SkipReason
from worker.orders.signal import Malformed, Signal
from worker.orders.sizing import bet_usd
from worker.orders.skips import Deferral, Skip, timed
from worker.orders.snapshot import bet_seen, sale_seen, state_seen
from worker.orders.strategy import FtWallet, InvalidStrategy, Strategy
from worker.orders.terms import OrderType, Side

# The exchange refuses a GTD order that expires within three minutes and drops it a minute early.
_GTD_MIN_AHEAD = timedelta(seconds=190)
_GTD_DROPPED_EARLY = timedelta(seconds=60)


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
    holdings: Holdings | None = None  # what a SELL was decided on


@dataclass(frozen=True, slots=True)
class _Case:
    """Everything a judgement rests on."""

    signal: Signal
    strategy: Strategy
    market: Market
    book: Book | None
    capital: Capital
    policy: DecisionPolicy
    now: datetime
    holdings: Holdings | None


class _SkippedError(Exception):
    """Carries the first no out of the judgement."""

    def __init__(self, skip: Skip) -> None:
        super().__init__(skip.reason)
        self.skip = skip


_T = TypeVar("_T")


def is_fresh(signal: Signal, policy: DecisionPolicy, now: datetime) -> bool:
    """A fresh signal needs no look at the book; any other executes only against an offer inside its cap."""
    return now - signal.created_at <= policy.fresh_for


def screen(
    signal: Signal | Malformed,
    strategy: Strategy | InvalidStrategy,
    policy: DecisionPolicy,
    now: datetime,
    before: Deferral | None = None,
) -> Skip | None:
    """Everything that can be refused before the exchange is asked. None: go on to `decide`."""
    if isinstance(signal, Malformed):
        return Skip(signal.reason, value=signal.value, limit=signal.expected)
    if isinstance(strategy, InvalidStrategy):
        return Skip(SkipReason.STRATEGY_INVALID, value=strategy.problem)
    try:
        _screen(signal, strategy, policy, now)
    except _SkippedError as skipped:
        return timed(skipped.skip, created_at=signal.created_at, policy=policy, now=now, before=before)
    return None


def decide(
    signal: Signal,
    strategy: Strategy,
    market: Market,
    book: Book | None,
    capital: Capital,
    policy: DecisionPolicy,
    now: datetime,
    holdings: Holdings | None = None,
    before: Deferral | None = None,
) -> Plan | Skip:
    """Asks, in this order: screen, size, market, price, book, edge, amounts, limits. The first no is the answer.

    `holdings`: what a SELL that has an outcome of the market to sell cannot be judged without (`ValueError`).
    `before`: what the pair was deferred for, so that it is asked less and less often.
    """
    case = _Case(signal, strategy, market, book, capital, policy, now, holdings)
    seen = state_seen(signal, strategy, market, book, capital, policy, now)
    try:
        return _plan(case, seen)
    except _SkippedError as skipped:
        skip = timed(skipped.skip, created_at=signal.created_at, policy=policy, now=now, before=before)
        return replace(skip, snapshot=seen)


def defer(
    reason: SkipReason,
    signal: Signal,
    policy: DecisionPolicy,
    now: datetime,
    *,
    before: Deferral | None = None,
    not_before: datetime | None = None,
    value: str = "",
    limit: str = "",
) -> Skip:
    """The skip for a no that came from outside: the exchange, its mode, the claim, the lease."""
    return timed(
        Skip(reason, value, limit),
        created_at=signal.created_at,
        policy=policy,
        now=now,
        before=before,
        not_before=not_before,
    )


def _screen(signal: Signal, strategy: Strategy, policy: DecisionPolicy, now: datetime) -> FtWallet:
    _refuse(guards.paper_order_open(signal))
    if strategy.ft_wallet is None:
        raise _SkippedError(Skip(SkipReason.UNKNOWN_WALLET, value=strategy.ft_wallet_id))
    _refuse(guards.switches(strategy, signal.side, policy.mode))
    _refuse(guards.young_enough(signal, policy, now))
    return strategy.ft_wallet


def _plan(case: _Case, seen: dict[str, str]) -> Plan:
    """`seen` is filled on the way, so that a skip shows how far the judgement came."""
    signal, strategy, market, policy = case.signal, case.strategy, case.market, case.policy
    side = signal.side
    wallet = _screen(signal, strategy, policy, case.now)
    bet = shares = Decimal(0)
    evidence = evidence_of(signal)
    if side is Side.BUY:
        seen.update(bet_seen(wallet, evidence, case.capital))
        bet = _require(bet_usd(wallet, strategy, evidence, case.capital))
        seen["bet_usd"] = plain(bet)

    _refuse(guards.tradable(market))
    token = _require(_token(signal, market))
    if side is Side.SELL:
        shares = _sale(case, seen)
    base = _require(base_price(signal.entry_price, side, market.tick_size))
    seen["base_price"] = plain(base)
    limit = _require(limit_price(base, side, strategy.slippage, market.tick_size, policy.min_tick_max_pct))
    seen["limit_price"] = plain(limit)

    fresh = is_fresh(signal, policy, case.now)
    if not fresh:
        _refuse(guards.offered(case.book, side, limit))
    _refuse(guards.not_collapsed(case.book, side, base, wallet))
    if side is Side.BUY:
        _refuse(guards.enough_edge(evidence, limit, market, policy, fresh=fresh))

    order = _ticket(case, limit, bet, shares)
    if isinstance(order, Skip):
        order = _raised(case, wallet, limit, order, seen)
        bet = order.reservation.usd
    seen["reserve_usd"] = plain(order.reservation.usd)
    if side is Side.BUY:
        _refuse(guards.within_limits(order.reservation.usd, strategy, case.capital))
    return Plan(
        signal=signal,
        strategy=strategy,
        market=market,
        token=token,
        side=side,
        order_type=strategy.order_type,
        base_price=base,
        limit_price=limit,
        bet_usd=bet,
        amounts=order.amounts,
        reservation=order.reservation,
        expires_at=gtd_expiry(policy, case.now) if strategy.order_type is OrderType.GTD else None,
        snapshot=seen,
        holdings=case.holdings,
    )


def _sale(case: _Case, seen: dict[str, str]) -> Decimal:
    if case.holdings is None:
        raise ValueError("Expected the holdings that a SELL is decided on, was None")
    seen.update(sale_seen(case.signal, case.holdings))
    least = smallest_sale_shares(case.strategy.order_type, case.market)
    return _require(shares_to_sell(case.signal, case.holdings, least_shares=least))


def _ticket(case: _Case, limit: Decimal, bet: Decimal, shares: Decimal) -> Ticket | Skip:
    return ticket(
        side=case.signal.side,
        order_type=case.strategy.order_type,
        limit_price=limit,
        market=case.market,
        bet_usd=bet,
        shares=shares,
        min_marketable_usd=case.policy.min_marketable_usd,
    )


def _raised(case: _Case, wallet: FtWallet, limit: Decimal, small: Skip, seen: dict[str, str]) -> Ticket:
    """The exchange's smallest order where the bet is smaller still. It passes every limit, or the bet stays too small."""
    if case.signal.side is Side.SELL:
        raise _SkippedError(small)  # dust: nothing is sold that is not held
    least = smallest_buy(
        order_type=case.strategy.order_type,
        limit_price=limit,
        market=case.market,
        min_marketable_usd=case.policy.min_marketable_usd,
    )
    seen["raise_to_usd"] = plain(least.reservation.usd)
    refused = guards.raisable(least.reservation.usd, wallet, case.strategy, case.capital)
    if refused is not None:
        seen["raise_refused"] = f"{refused.reason} {refused.limit}"
        raise _SkippedError(small)
    return least


def _refuse(skip: Skip | None) -> None:
    if skip is not None:
        raise _SkippedError(skip)


def _require(value: _T | Skip) -> _T:
    if isinstance(value, Skip):
        raise _SkippedError(value)
    return value


def _token(signal: Signal, market: Market) -> Token | Skip:
    token = market.token(signal.token_label)
    if token is not None:
        return token
    labels = " | ".join(each.outcome for each in market.tokens)
    return Skip(SkipReason.TOKEN_LABEL_MISMATCH, value=signal.token_label, limit=labels)


def gtd_expiry(policy: DecisionPolicy, now: datetime) -> datetime:
    """What a GTD order states so that it rests for `gtd_lifetime`."""
    ahead = max(policy.gtd_lifetime + _GTD_DROPPED_EARLY, _GTD_MIN_AHEAD)
    return (now + ahead).replace(microsecond=0)


__all__ = ["Plan", "Skip", "decide", "defer", "gtd_expiry", "is_fresh", "screen"]
