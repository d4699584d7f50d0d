"""The rules an order must meet before it may touch the book. Pure: values in, terms or a refusal out."""

from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.orders import OrderId, OrderType, Side, SignedOrder, Terms
from worker.sandbox.exchange.refusals import BAD_EXPIRATION, BAD_PAYLOAD, RefusedError, invalid_order
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.units import (
    PRICE_ONE,
    Micro,
    Price,
    amount_text,
    decimals_used,
    price_text,
)

_MARKET_ORDER_DECIMALS = 4
_SHARE_DECIMALS = 2
_ROUNDING_SLACK: Micro = 100  # a floored fourth decimal: how far a market order may sit beside its tick


def terms_of(
    order: SignedOrder, order_type: OrderType, market: Market, rules: Rules, *, order_id: OrderId, now_s: int
) -> Terms:
    """What the signed amounts mean. Refuses a wrong tick, price, size, precision or expiration."""
    if order.maker_amount <= 0 or order.taker_amount <= 0:
        raise RefusedError(BAD_PAYLOAD)
    _check_expiration(order, order_type, rules, now_s)
    terms = _limit_terms(order) if order_type.rests else _market_terms(order)
    _check_tick(order, order_type, market, terms.limit, order_id)
    _check_size(terms, order_type, market, rules, order_id)
    _check_decimals(order, order_type, market, rules)
    return terms


def check_marketable(terms: Terms, order_type: OrderType, rules: Rules, *, crosses: bool) -> None:
    """A BUY that takes liquidity must be worth at least a dollar, whatever its type."""
    if terms.side is Side.SELL or not (crosses or not order_type.rests):
        return
    budget = terms.budget_usd
    worth = budget if budget is not None else terms.shares * terms.limit // PRICE_ONE
    if worth < rules.min_marketable_buy_usd:
        raise RefusedError(
            f"invalid amount for a marketable BUY order (${amount_text(worth)}), "
            f"min size: ${amount_text(rules.min_marketable_buy_usd)}"
        )


def _limit_terms(order: SignedOrder) -> Terms:
    usd, shares = _usd_and_shares(order)
    return Terms(side=order.side, limit=usd * PRICE_ONE // shares, shares=shares)


def _market_terms(order: SignedOrder) -> Terms:
    """A market BUY spends dollars down to a limit floored to the grid, a SELL offers shares at a ceiling."""
    usd, shares = _usd_and_shares(order)
    if order.side is Side.BUY:
        return Terms(side=order.side, limit=usd * PRICE_ONE // shares, shares=shares, budget_usd=usd)
    return Terms(side=order.side, limit=-(-usd * PRICE_ONE // shares), shares=shares)


def _usd_and_shares(order: SignedOrder) -> tuple[Micro, Micro]:
    if order.side is Side.BUY:
        return order.maker_amount, order.taker_amount
    return order.taker_amount, order.maker_amount


def _check_expiration(order: SignedOrder, order_type: OrderType, rules: Rules, now_s: int) -> None:
    if order_type is OrderType.GTD:
        if order.expiration_s < now_s + rules.gtd_min_lead_s:
            raise RefusedError(BAD_EXPIRATION)
    elif order.expiration_s != 0:
        raise RefusedError(BAD_EXPIRATION)


def _check_tick(
    order: SignedOrder, order_type: OrderType, market: Market, limit: Price, order_id: OrderId
) -> None:
    usd, shares = _usd_and_shares(order)
    step = shares * market.tick
    nearest = (2 * usd * PRICE_ONE + step) // (2 * step) * market.tick
    inside = market.tick <= nearest <= PRICE_ONE - market.tick
    # Rounding moves a market order's implied price a hair off its tick: judged in amounts, not in price.
    grain = nearest if order.side is Side.BUY else PRICE_ONE
    slack = 0 if order_type.rests else _ROUNDING_SLACK * grain
    on_tick = abs(usd * PRICE_ONE - nearest * shares) <= slack
    if not (inside and on_tick):
        shown = price_text(nearest if on_tick else limit)
        raise invalid_order(
            order_id, f"Price ({shown}) breaks minimum tick size rule: {price_text(market.tick)}"
        )


def _check_size(terms: Terms, order_type: OrderType, market: Market, rules: Rules, order_id: OrderId) -> None:
    if not order_type.rests and not rules.market_orders_need_min_size:
        return
    if terms.shares < market.min_size:
        raise invalid_order(
            order_id,
            f"Size ({amount_text(terms.shares)}) lower than the minimum: {amount_text(market.min_size)}",
        )


def _check_decimals(order: SignedOrder, order_type: OrderType, market: Market, rules: Rules) -> None:
    """Limit orders: shares to two decimals, dollars as fine as the tick. Market orders: maker to two."""
    if order_type.rests:
        kind = "limit"
        usd_decimals = market.amount_decimals
        maker_max, taker_max = (
            (usd_decimals, _SHARE_DECIMALS) if order.side is Side.BUY else (_SHARE_DECIMALS, usd_decimals)
        )
    else:
        kind = "market"
        maker_max = _SHARE_DECIMALS
        taker_max = _MARKET_ORDER_DECIMALS if rules.strict_market_decimals else market.amount_decimals
    if decimals_used(order.maker_amount) > maker_max or decimals_used(order.taker_amount) > taker_max:
        raise RefusedError(
            f"invalid amounts, the {kind} {order.side.lower()} orders maker amount supports a max accuracy of "
            f"{maker_max} decimals, taker amount a max of {taker_max} decimals"
        )
