"""The exact amounts of an order, in the exchange's base units, and the most that they can cost.

The exchange reads amounts, not prices: BUY gives dollars and takes shares, SELL the reverse, both as integers of
10⁻⁶. Rounding always goes the way that can still match at the limit and never costs more than the bet. `ticket` never
meets a minimum of the exchange by spending more: it says `below_min_size`, and `smallest_buy` says what it would take.
Sources: protocol.md "Amounts and reservation"; polymarket-clob.md 4.1 (decimals), 4.2 (minimums), 4.5 (fees).
"""

from dataclasses import dataclass
from decimal import Decimal

from worker.orders.market import Market
from worker.orders.numbers import CENT, ceil_to, floor_to, plain, share_count
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import OrderType, Side

BASE_UNITS = 10**6

_SHARE_STEP = Decimal("0.01")  # what an order may ask for
_TAKEN_STEP = Decimal("0.0001")  # what a FAK/FOK may state as taken, shares or dollars; safe on every tick
_WHOLE_SHARE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What is signed. Exactly one of `spend_usd` and `shares` is set: the target that the exchange fills up to."""

    maker_base_units: int
    taker_base_units: int
    spend_usd: Decimal | None = (
        None  # FAK/FOK BUY: dollars, fee not included; shares follow from the prices met
    )
    shares: Decimal | None = None  # every other order


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case: dollars a BUY may cost with its fees, or shares a SELL may give."""

    usd: Decimal = Decimal(0)
    shares: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ticket:
    amounts: Amounts
    reservation: Reservation


def fee_usd(shares: Decimal, price: Decimal, market: Market) -> Decimal:
    """Taker fee in USD, unrounded: shares · rate · (p(1 - p))^exponent."""
    return shares * market.fee_rate * (price * (1 - price)) ** market.fee_exponent


def ticket(
    *,
    side: Side,
    order_type: OrderType,
    limit_price: Decimal,
    market: Market,
    bet_usd: Decimal = Decimal(0),
    shares: Decimal = Decimal(0),
    min_marketable_usd: Decimal,
    target_most: Decimal | None = None,
) -> Ticket | Skip:
    """The largest order whose worst case fits: `bet_usd` (whole cents) for a BUY, `shares` for a SELL.

    `target_most`: a BUY for no more than this, dollars for FAK/FOK and else shares, whatever the bet would pay for.
    """
    match side:
        case Side.BUY if order_type.rests:
            return _resting_buy(limit_price, market, bet_usd, min_marketable_usd, target_most)
        case Side.BUY:
            return _immediate_buy(limit_price, market, bet_usd, min_marketable_usd, target_most)
        case Side.SELL:
            return _sell(order_type, limit_price, market, shares)


def smallest_buy(
    *, order_type: OrderType, limit_price: Decimal, market: Market, min_marketable_usd: Decimal
) -> Ticket:
    """The least that the exchange takes as a BUY of this type; its reservation is the bet that it needs."""
    if not order_type.rests:
        return _spending(ceil_to(min_marketable_usd, CENT), limit_price, market)
    least_usd = ceil_to(min_marketable_usd / limit_price, _SHARE_STEP)
    return _asking_for(
        max(ceil_to(market.min_order_size_shares, _SHARE_STEP), least_usd), limit_price, market
    )


def smallest_sale_shares(order_type: OrderType, market: Market) -> Decimal:
    """The least that the exchange takes as a SELL of this type: only what rests must reach the market's minimum.

    A FAK/FOK states its dollars to four decimals. Prices finer than a cent need more, and for less than a share the
    rounding would imply another price.
    """
    if order_type.rests:
        return max(market.min_order_size_shares, _SHARE_STEP)
    return _SHARE_STEP if market.tick_size >= CENT else _WHOLE_SHARE


def _immediate_buy(
    limit: Decimal, market: Market, bet: Decimal, min_usd: Decimal, most_usd: Decimal | None
) -> Ticket | Skip:
    """Spends A whole cents with A + ⌈A·worst fee rate⌉ ≤ bet.

    The lower the prices met, the more shares A buys and the more fee they carry, so the fee at the limit is no bound.
    """
    spend = floor_to(_at_most(bet / (1 + _worst_fee_rate(market)), most_usd), CENT)
    if spend < min_usd:
        return _too_small(f"{plain(spend)} USD", f"{plain(min_usd)} USD")
    return _spending(spend, limit, market)


def _spending(spend: Decimal, limit: Decimal, market: Market) -> Ticket:
    # Rounded up, the shares would imply a price below the limit and miss an ask that stands at it.
    taken_shares = floor_to(spend / limit, _TAKEN_STEP)
    return Ticket(
        Amounts(_base_units(spend), _base_units(taken_shares), spend_usd=spend),
        Reservation(usd=spend + ceil_to(spend * _worst_fee_rate(market), CENT)),
    )


def _resting_buy(
    limit: Decimal, market: Market, bet: Decimal, min_usd: Decimal, most_shares: Decimal | None
) -> Ticket | Skip:
    """Asks for Q shares with Q·limit + fee at limit ≤ bet. Price plus fee grows with the price: the limit is the worst."""
    shares = floor_to(_at_most(bet / _cost_per_share(limit, market), most_shares), _SHARE_STEP)
    spend = shares * limit
    if shares < market.min_order_size_shares:
        return _too_small(share_count(shares), share_count(market.min_order_size_shares))
    if spend < min_usd:
        return _too_small(f"{plain(spend)} USD", f"{plain(min_usd)} USD")
    return _asking_for(shares, limit, market)


def _asking_for(shares: Decimal, limit: Decimal, market: Market) -> Ticket:
    return Ticket(
        Amounts(_base_units(shares * limit), _base_units(shares), shares=shares),
        Reservation(usd=ceil_to(shares * _cost_per_share(limit, market), CENT)),
    )


def _cost_per_share(price: Decimal, market: Market) -> Decimal:
    return price + fee_usd(Decimal(1), price, market)


def _sell(order_type: OrderType, limit: Decimal, market: Market, shares: Decimal) -> Ticket | Skip:
    """Gives whole hundredths of a share for shares · limit. Its fee comes out of the proceeds."""
    shares = floor_to(shares, _SHARE_STEP)
    minimum = smallest_sale_shares(order_type, market)
    if shares < minimum:
        return _too_small(share_count(shares), share_count(minimum))
    # Rounded up, the dollars would imply a price above the limit and miss a bid that stands at it.
    taken_usd = shares * limit if order_type.rests else floor_to(shares * limit, _TAKEN_STEP)
    return Ticket(
        Amounts(_base_units(shares), _base_units(taken_usd), shares=shares),
        Reservation(shares=shares),
    )


def _worst_fee_rate(market: Market) -> Decimal:
    """Fee per dollar spent, over every price: A/p shares pay A·r·p^(e-1)·(1-p)^e, at most A·r; for e = 0, A·r/p."""
    return market.fee_rate if market.fee_exponent > 0 else market.fee_rate / market.tick_size


def _at_most(amount: Decimal, most: Decimal | None) -> Decimal:
    return amount if most is None else min(amount, most)


def _base_units(amount: Decimal) -> int:
    return int(amount * BASE_UNITS)


def _too_small(value: str, limit: str) -> Skip:
    return Skip(SkipReason.BELOW_MIN_SIZE, value=value, limit=limit)
