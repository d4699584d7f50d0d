"""What the attempts of an order have left of its target, and the next attempt for it. Pure.

A remainder is a fact of the ledger: every attempt before is over and its trades are booked, or there is none. The next
attempt asks for no more than what is left of the target and of the first reservation, and only against an offer of now
that is inside the cap: FAK and FOK keep the price of the attempt before; GTC and GTD get `reprice_extra` more room for
every attempt, counted from the base price of the signal (protocol.md "Re-take and reprice").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from worker.orders import guards
from worker.orders.amounts import Ticket, ticket
from worker.orders.capital import Capital
from worker.orders.decide import Plan, gtd_expiry, is_fresh
from worker.orders.evidence import evidence_of
from worker.orders.market import Book, Level, Market, Token
from worker.orders.numbers import CENT, ceil_to, floor_to, plain
from worker.orders.policy import DecisionPolicy
from worker.orders.pricing import limit_price
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Skip
from worker.orders.strategy import Strategy
from worker.orders.terms import LtOrderId, Mode, OrderType, Side, StrategyId, TokenId, WalletAddress


@dataclass(frozen=True, slots=True)
class RemainderPolicy:
    """How often, and for how long, a remainder is tried. Nought tries: never.

    `unsent_for`: the age of a signal up to which anything is tried; where nothing ever went out, as if it were new.
    """

    retakes_most: int
    reprices_most: int
    reprice_extra: Decimal  # a fraction of the base price, for every further attempt
    reprice_within: timedelta  # after the attempt before was over
    fresh_for: timedelta
    unsent_for: timedelta


@dataclass(frozen=True, slots=True)
class Remainder:
    """`left`: dollars of a FAK/FOK BUY, else shares. `left_usd`: what the first reservation has not paid yet.

    `attempts`: those that the exchange took in; `attempt_no`: of the last one; `closed_at`: of the last that went out.
    """

    lt_order_id: LtOrderId
    strategy_id: StrategyId
    mode: Mode
    wallet: WalletAddress
    order_type: OrderType
    side: Side
    token_id: TokenId
    base_price: Decimal
    limit_price: Decimal  # of the last attempt
    left: Decimal
    left_usd: Decimal
    attempt_no: int
    attempts: int
    closed_at: datetime
    is_off_tick: bool  # the last attempt was refused for it: what is remembered of the market is out of date
    is_unsent: bool  # the exchange has seen nothing of it
    signal: Signal

    def until(self, policy: RemainderPolicy) -> datetime:
        """Nothing more is tried after this."""
        if self.is_unsent:
            return self.signal.created_at + policy.unsent_for
        if self.order_type.rests:
            return min(self.closed_at + policy.reprice_within, self.signal.created_at + policy.unsent_for)
        return self.signal.created_at + policy.fresh_for


@dataclass(frozen=True, slots=True)
class NotOffered:
    """The book has nothing inside the cap now: the price at which it is worth another look."""

    cap: Decimal


Next: TypeAlias = Plan | NotOffered | Skip


def cap_of(
    remainder: Remainder, strategy: Strategy, market: Market, policy: DecisionPolicy, extra: Decimal
) -> Decimal | Skip:
    """The worst price that the next attempt may accept, on the market's grid of now."""
    tick, side = market.tick_size, remainder.side
    if remainder.order_type.rests:
        room = strategy.slippage + remainder.attempts * extra
        base = _on_grid(remainder.base_price, side, tick)
        return limit_price(base, side, room, tick, policy.min_tick_max_pct)
    return _on_grid(remainder.limit_price, side, tick)


def next_attempt(
    remainder: Remainder,
    strategy: Strategy,
    market: Market,
    book: Book,
    capital: Capital,
    policy: DecisionPolicy,
    extra: Decimal,
) -> Next:
    """Asks, in this order: switches, market, cap, price on offer, edge, amounts, limits. The first no is the answer.

    `extra`: `RemainderPolicy.reprice_extra`.
    """
    token = next((one for one in market.tokens if one.token_id == remainder.token_id), None)
    if token is None:
        return Skip(SkipReason.TOKEN_LABEL_MISMATCH, value=remainder.token_id)
    cap = _forbidden(remainder, strategy, market, book, policy) or cap_of(
        remainder, strategy, market, policy, extra
    )
    if isinstance(cap, Skip):
        return cap
    if not market.tick_size <= cap <= 1 - market.tick_size or not _is_offered(remainder, book, cap):
        return NotOffered(cap)
    order = _order(remainder, strategy, market, cap, capital, policy, now=book.seen_at)
    if isinstance(order, Skip):
        return order
    return _plan(remainder, strategy, market, token, cap, order, book, policy)


def _forbidden(
    remainder: Remainder, strategy: Strategy, market: Market, book: Book, policy: DecisionPolicy
) -> Skip | None:
    if strategy.ft_wallet is None:
        return Skip(SkipReason.UNKNOWN_WALLET, value=strategy.ft_wallet_id)
    if strategy.wallet_address != remainder.wallet:
        return Skip(SkipReason.WALLET_MISMATCH, value=strategy.wallet_address, limit=remainder.wallet)
    return (
        guards.paper_order_open(remainder.signal)
        or guards.switches(strategy, remainder.side, policy.mode)
        or guards.tradable(market)
        or guards.not_collapsed(book, remainder.side, remainder.base_price, strategy.ft_wallet)
    )


def _order(
    remainder: Remainder,
    strategy: Strategy,
    market: Market,
    cap: Decimal,
    capital: Capital,
    policy: DecisionPolicy,
    *,
    now: datetime,
) -> Ticket | Skip:
    buys = remainder.side is Side.BUY
    if buys:
        evidence, fresh = evidence_of(remainder.signal), _is_fresh(remainder, policy, now)
        if (no := guards.enough_edge(evidence, cap, market, policy, fresh=fresh)) is not None:
            return no
    order = _ticket(remainder, market, cap, policy)
    if isinstance(order, Ticket) and buys:
        return guards.within_limits(order.reservation.usd, strategy, capital) or order
    return order


def _is_fresh(remainder: Remainder, policy: DecisionPolicy, now: datetime) -> bool:
    """Of which nothing went out is as old as its signal; else a re-take is made while it is fresh, a new price after."""
    if remainder.is_unsent:
        return is_fresh(remainder.signal, policy, now)
    return not remainder.order_type.rests


def _ticket(remainder: Remainder, market: Market, cap: Decimal, policy: DecisionPolicy) -> Ticket | Skip:
    return ticket(
        side=remainder.side,
        order_type=remainder.order_type,
        limit_price=cap,
        market=market,
        bet_usd=floor_to(remainder.left_usd, CENT),
        shares=remainder.left,
        target_most=remainder.left,
        min_marketable_usd=policy.min_marketable_usd,
    )


def _is_offered(remainder: Remainder, book: Book, cap: Decimal) -> bool:
    """An offer inside the cap; for a FOK, enough of them for all that is left."""
    offers = [
        level
        for level in _offers(book, remainder.side)
        if level.size_shares > 0 and _inside(level.price, remainder.side, cap)
    ]
    if remainder.order_type is not OrderType.FOK:
        return bool(offers)
    if remainder.side is Side.BUY:
        return sum((level.price * level.size_shares for level in offers), Decimal(0)) >= remainder.left
    return sum((level.size_shares for level in offers), Decimal(0)) >= remainder.left


def _offers(book: Book, side: Side) -> tuple[Level, ...]:
    return book.asks if side is Side.BUY else book.bids


def _inside(price: Decimal, side: Side, cap: Decimal) -> bool:
    return price <= cap if side is Side.BUY else price >= cap


def _on_grid(price: Decimal, side: Side, tick: Decimal) -> Decimal:
    """Stricter, where the grid has become coarser."""
    return floor_to(price, tick) if side is Side.BUY else ceil_to(price, tick)


def _plan(
    remainder: Remainder,
    strategy: Strategy,
    market: Market,
    token: Token,
    cap: Decimal,
    order: Ticket,
    book: Book,
    policy: DecisionPolicy,
) -> Plan:
    return Plan(
        signal=remainder.signal,
        strategy=strategy,
        market=market,
        token=token,
        side=remainder.side,
        order_type=remainder.order_type,
        base_price=remainder.base_price,
        limit_price=cap,
        bet_usd=order.reservation.usd,
        amounts=order.amounts,
        reservation=order.reservation,
        expires_at=gtd_expiry(policy, book.seen_at) if remainder.order_type is OrderType.GTD else None,
        snapshot=_seen(remainder, cap),
    )


def _seen(remainder: Remainder, cap: Decimal) -> Mapping[str, str]:
    return {
        "attempt": str(remainder.attempt_no + 1),
        "left": plain(remainder.left),
        "limit_price": plain(cap),
    }
