from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.orders.builders import a_market
from tests.orders.draws import numbers
from worker.orders.amounts import BASE_UNITS, Amounts, Reservation, Ticket, fee_usd, smallest_buy, ticket
from worker.orders.numbers import CENT
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import OrderType, Side

D = Decimal
# tick -> decimals that the exchange allows an amount of dollars (polymarket-clob.md 4.1)
AMOUNT_DECIMALS = {"0.1": 3, "0.01": 4, "0.005": 5, "0.0025": 6, "0.001": 5, "0.0001": 6}
IMMEDIATE = [OrderType.FAK, OrderType.FOK]
RESTING = [OrderType.GTC, OrderType.GTD]


def decimals(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def buy(
    bet: str,
    limit: str,
    *,
    order_type: OrderType = OrderType.FAK,
    tick: str = "0.01",
    fee: str = "0",
    exponent: int = 1,
    minimum: str = "5",
    target_most: str | None = None,
) -> Ticket | Skip:
    return ticket(
        side=Side.BUY,
        order_type=order_type,
        limit_price=D(limit),
        market=a_market(tick=tick, fee_rate=fee, fee_exponent=exponent, min_shares=minimum),
        bet_usd=D(bet),
        min_marketable_usd=D(1),
        target_most=None if target_most is None else D(target_most),
    )


def sell(
    shares: str,
    limit: str,
    *,
    order_type: OrderType = OrderType.FAK,
    tick: str = "0.01",
    minimum: str = "5",
) -> Ticket | Skip:
    return ticket(
        side=Side.SELL,
        order_type=order_type,
        limit_price=D(limit),
        market=a_market(tick=tick, min_shares=minimum),
        shares=D(shares),
        min_marketable_usd=D(1),
    )


# (bet, limit, tick, old executor's size and cost, our shares at the limit): domain.md 2.5
VECTORS = [
    ("5.00", "0.51", "0.01", "5.10", "9.8039"),
    ("5.00", "0.515", "0.001", "5.15", "9.7087"),
    ("2.00", "0.34", "0.01", "2.31", "5.8823"),
    ("1.00", "0.06", "0.01", "1.00", "16.6666"),
    ("1.00", "0.038", "0.001", "1.14", "26.3157"),
    ("10.00", "0.92", "0.01", "10.35", "10.8695"),
    ("1.20", "0.51", "0.01", "2.55", "2.3529"),
]


@pytest.mark.parametrize(("bet", "limit", "tick", "old_cost", "shares"), VECTORS)
def test_each_hand_vector_costs_the_bet_where_the_old_executor_could_cost_more(
    bet: str, limit: str, tick: str, old_cost: str, shares: str
) -> None:
    order = buy(bet, limit, tick=tick)
    assert isinstance(order, Ticket)
    assert order.amounts == Amounts(int(D(bet) * BASE_UNITS), int(D(shares) * BASE_UNITS), spend_usd=D(bet))
    assert order.reservation == Reservation(usd=D(bet))
    assert order.reservation.usd <= D(old_cost)


def test_the_fee_of_an_immediate_buy_is_inside_the_bet() -> None:
    order = buy("10.00", "0.50", fee="0.05")
    assert isinstance(order, Ticket)
    assert order.amounts.spend_usd == D("9.52")
    assert order.reservation.usd == D("10.00")


def test_a_resting_buy_asks_for_shares_and_reserves_its_fee_at_the_limit() -> None:
    order = buy("10.00", "0.50", order_type=OrderType.GTC, fee="0.05")
    assert isinstance(order, Ticket)
    assert order.amounts.shares == D("19.51")  # at 0.50 + 0.05 * 0.25 a share
    assert order.amounts.spend_usd is None
    assert order.amounts.maker_base_units == 9_755_000
    assert order.amounts.taker_base_units == 19_510_000
    assert order.reservation.usd == D("10.00")


def test_a_sell_gives_whole_hundredths_of_a_share_and_reserves_them() -> None:
    order = sell("7.129", "0.49")
    assert isinstance(order, Ticket)
    assert order.amounts == Amounts(7_120_000, 3_488_800, shares=D("7.12"))
    assert order.reservation == Reservation(shares=D("7.12"))


def test_a_purchase_may_be_asked_to_stop_short_of_its_bet() -> None:
    immediate, resting = (
        buy("10.00", "0.50", order_type=order_type, target_most="7.129")
        for order_type in (OrderType.FAK, OrderType.GTC)
    )
    assert isinstance(immediate, Ticket)
    assert isinstance(resting, Ticket)
    assert (immediate.amounts.spend_usd, immediate.reservation.usd) == (D("7.12"), D("7.12"))  # dollars
    assert (resting.amounts.shares, resting.reservation.usd) == (D("7.12"), D("3.56"))  # shares
    assert buy("10.00", "0.50", target_most="10.01") == buy("10.00", "0.50")
    assert buy("10.00", "0.50", target_most="0.99") == Skip(
        SkipReason.BELOW_MIN_SIZE, value="0.99 USD", limit="1 USD"
    )


@pytest.mark.parametrize("order_type", IMMEDIATE)
def test_an_immediate_sell_states_four_decimals_of_dollars_where_its_tick_is_finer(
    order_type: OrderType,
) -> None:
    order = sell("7.13", "0.517", order_type=order_type, tick="0.001")
    assert isinstance(order, Ticket)
    assert order.amounts == Amounts(7_130_000, 3_686_200, shares=D("7.13"))  # 3.68621
    resting = sell("7.13", "0.517", order_type=OrderType.GTC, tick="0.001")
    assert isinstance(resting, Ticket)
    assert resting.amounts.taker_base_units == 3_686_210


@pytest.mark.parametrize("tick", ["0.005", "0.0025", "0.001", "0.0001"])
def test_a_part_of_a_share_is_not_sold_at_once_where_its_dollars_need_more_decimals(tick: str) -> None:
    assert sell("0.999", "0.515", tick=tick) == Skip(
        SkipReason.BELOW_MIN_SIZE, value="0.99 shares", limit="1 share"
    )
    assert isinstance(sell("1", "0.515", tick=tick), Ticket)


def test_the_exchanges_dollar_is_met_exactly_or_not_at_all() -> None:
    assert isinstance(buy("1.00", "0.50"), Ticket)
    assert buy("0.99", "0.50") == Skip(SkipReason.BELOW_MIN_SIZE, value="0.99 USD", limit="1 USD")


def test_a_fee_may_push_a_one_dollar_bet_below_the_minimum_and_never_above_the_bet() -> None:
    assert buy("1.00", "0.50", fee="0.05") == Skip(SkipReason.BELOW_MIN_SIZE, value="0.95 USD", limit="1 USD")
    assert isinstance(buy("1.05", "0.50", fee="0.05"), Ticket)


def test_a_resting_order_below_the_markets_shares_is_too_small_and_an_immediate_one_is_not() -> None:
    assert buy("2.54", "0.51", order_type=OrderType.GTC) == Skip(
        SkipReason.BELOW_MIN_SIZE, value="4.98 shares", limit="5 shares"
    )
    assert isinstance(buy("2.55", "0.51", order_type=OrderType.GTC), Ticket)
    assert isinstance(buy("2.54", "0.51"), Ticket)
    assert isinstance(buy("2.54", "0.51", order_type=OrderType.GTD, minimum="1"), Ticket)


def test_a_resting_buy_that_would_cross_for_less_than_a_dollar_is_too_small() -> None:
    assert buy("0.99", "0.10", order_type=OrderType.GTC) == Skip(
        SkipReason.BELOW_MIN_SIZE, value="0.990 USD", limit="1 USD"
    )
    assert isinstance(buy("1.00", "0.10", order_type=OrderType.GTC), Ticket)


def least(
    limit: str,
    *,
    order_type: OrderType = OrderType.FAK,
    fee: str = "0",
    minimum: str = "5",
    min_usd: str = "1",
) -> Ticket:
    return smallest_buy(
        order_type=order_type,
        limit_price=D(limit),
        market=a_market(fee_rate=fee, min_shares=minimum),
        min_marketable_usd=D(min_usd),
    )


def test_the_smallest_immediate_buy_is_a_dollar_and_its_fee() -> None:
    assert least("0.50") == Ticket(Amounts(1_000_000, 2_000_000, spend_usd=D(1)), Reservation(usd=D(1)))
    assert least("0.50", fee="0.05").reservation.usd == D("1.05")


def test_the_smallest_resting_buy_meets_the_markets_shares_and_the_dollar() -> None:
    five = least("0.51", order_type=OrderType.GTC)
    assert (five.amounts.shares, five.reservation.usd) == (D(5), D("2.55"))
    assert least("0.51", order_type=OrderType.GTC, fee="0.05").reservation.usd == D("2.62")  # 2.6124...
    dollar = least("0.06", order_type=OrderType.GTD)
    assert (dollar.amounts.shares, dollar.reservation.usd) == (D("16.67"), D("1.01"))
    assert least("0.50", order_type=OrderType.GTC, minimum="1").amounts.shares == D(2)


def test_a_minimum_that_is_no_whole_cent_or_hundredth_is_met_by_the_next_one() -> None:
    assert least("0.50", min_usd="1.001").amounts.spend_usd == D("1.01")
    assert least("0.50", order_type=OrderType.GTC, minimum="5.001").amounts.shares == D("5.01")


@pytest.mark.parametrize("order_type", list(OrderType))
@pytest.mark.parametrize("side", list(Side))
def test_an_order_of_nothing_is_too_small(side: Side, order_type: OrderType) -> None:
    order = ticket(
        side=side,
        order_type=order_type,
        limit_price=D("0.50"),
        market=a_market(min_shares="0"),
        min_marketable_usd=D(1),
    )
    assert isinstance(order, Skip)
    assert D(order.value.split()[0]) == 0


def test_what_is_bought_is_reserved_in_dollars_alone_and_what_is_sold_in_shares_alone() -> None:
    for order_type in OrderType:
        bought, sold = buy("10", "0.50", order_type=order_type), sell("7", "0.50", order_type=order_type)
        assert isinstance(bought, Ticket)
        assert isinstance(sold, Ticket)
        assert bought.reservation.shares == sold.reservation.usd == 0


def test_dust_is_not_sold() -> None:
    assert sell("0.009", "0.50") == Skip(SkipReason.BELOW_MIN_SIZE, value="0 shares", limit="0.01 shares")
    assert isinstance(sell("0.01", "0.50"), Ticket)
    assert isinstance(sell("4.99", "0.50", order_type=OrderType.GTC), Skip)
    assert isinstance(sell("5", "0.50", order_type=OrderType.GTC), Ticket)
    for order_type in OrderType:
        assert isinstance(sell("0.009", "0.50", order_type=order_type, minimum="0"), Skip)


_TICKS = st.sampled_from(sorted(AMOUNT_DECIMALS))
_BETS = numbers("0.01", 5000, 2)
_FEES = numbers(0, "0.1", 4)


@st.composite
def limits(draw: st.DrawFn) -> tuple[str, Decimal]:
    tick = draw(_TICKS)
    return tick, D(tick) * draw(st.integers(1, int(1 / D(tick)) - 1))


@given(limits(), _BETS, _FEES, st.sampled_from([1, 2]), st.sampled_from(IMMEDIATE), st.data())
def test_an_immediate_buy_never_costs_more_than_the_bet_at_any_price_it_may_meet(
    limit: tuple[str, Decimal],
    bet: Decimal,
    fee: Decimal,
    exponent: int,
    order_type: OrderType,
    data: st.DataObject,
) -> None:
    tick, price = limit
    market = a_market(tick=tick, fee_rate=str(fee), fee_exponent=exponent)
    order = ticket(
        side=Side.BUY,
        order_type=order_type,
        limit_price=price,
        market=market,
        bet_usd=bet,
        min_marketable_usd=D(1),
    )
    if isinstance(order, Skip):
        assert order.reason is SkipReason.BELOW_MIN_SIZE
        assert bet / (1 + fee) < D("1.01")
        return
    spend = order.amounts.spend_usd
    assert spend is not None
    met = D(tick) * data.draw(st.integers(1, int(price / D(tick))), label="ticks of the price met")
    assert spend + fee_usd(spend / met, met, market) <= order.reservation.usd <= bet
    _is_signable_immediate_buy(order.amounts, price)


def _is_signable_immediate_buy(amounts: Amounts, limit: Decimal) -> None:
    """polymarket-clob.md 4.1: dollars 2 decimals, shares 4; the price implied is the limit or a hair above."""
    maker, taker = D(amounts.maker_base_units) / BASE_UNITS, D(amounts.taker_base_units) / BASE_UNITS
    assert decimals(maker) <= 2
    assert decimals(taker) <= 4
    assert maker == amounts.spend_usd
    assert limit <= maker / taker < limit + D("0.0001")


def test_a_fee_per_share_is_bounded_by_the_lowest_price_of_the_grid() -> None:
    order = buy("100.00", "0.50", fee="0.001", exponent=0)
    assert isinstance(order, Ticket)
    spend = order.amounts.spend_usd
    assert spend is not None
    assert spend + spend / D("0.01") * D("0.001") <= order.reservation.usd <= D("100.00")


@given(limits(), _BETS, _FEES, st.sampled_from([1, 2]), st.sampled_from(RESTING), st.data())
def test_a_resting_buy_never_costs_more_than_the_bet_at_any_price_it_may_meet(
    limit: tuple[str, Decimal],
    bet: Decimal,
    fee: Decimal,
    exponent: int,
    order_type: OrderType,
    data: st.DataObject,
) -> None:
    tick, price = limit
    market = a_market(tick=tick, fee_rate=str(fee), fee_exponent=exponent)
    order = ticket(
        side=Side.BUY,
        order_type=order_type,
        limit_price=price,
        market=market,
        bet_usd=bet,
        min_marketable_usd=D(1),
    )
    if isinstance(order, Skip):
        assert order.reason is SkipReason.BELOW_MIN_SIZE
        return
    shares = order.amounts.shares
    assert shares is not None
    met = D(tick) * data.draw(st.integers(1, int(price / D(tick))), label="ticks of the price met")
    assert shares * met + fee_usd(shares, met, market) <= order.reservation.usd <= bet
    usd = D(order.amounts.maker_base_units) / BASE_UNITS
    assert usd == shares * price
    assert decimals(shares) <= 2
    assert decimals(usd) <= AMOUNT_DECIMALS[tick]
    assert shares >= market.min_order_size_shares


@given(limits(), numbers(0, 10_000, 6), st.sampled_from(list(OrderType)))
def test_a_sell_never_gives_more_than_is_held_and_asks_for_its_limit_to_a_hair(
    limit: tuple[str, Decimal], held: Decimal, order_type: OrderType
) -> None:
    tick, price = limit
    order = sell(str(held), str(price), order_type=order_type, tick=tick)
    if isinstance(order, Skip):
        assert held < (5 if order_type.rests else 1)
        return
    shares, usd = (
        D(order.amounts.maker_base_units) / BASE_UNITS,
        D(order.amounts.taker_base_units) / BASE_UNITS,
    )
    assert held - CENT < shares <= held
    assert order.reservation == Reservation(shares=shares)
    assert price - D("0.0001") < usd / shares <= price
    assert usd == shares * price or not order_type.rests
    assert decimals(shares) <= 2
    assert decimals(usd) <= (AMOUNT_DECIMALS[tick] if order_type.rests else 4)


@given(limits(), _BETS, _FEES)
def test_one_cent_more_would_not_have_fitted(limit: tuple[str, Decimal], bet: Decimal, fee: Decimal) -> None:
    tick, price = limit
    order = buy(str(bet), str(price), tick=tick, fee=str(fee))
    assume(isinstance(order, Ticket))
    assert isinstance(order, Ticket)
    assert order.amounts.spend_usd is not None
    more = order.amounts.spend_usd + CENT
    assert more * (1 + fee) > bet


@given(limits(), _FEES, st.sampled_from([1, 2]), st.sampled_from(list(OrderType)), st.integers(1, 20))
def test_the_smallest_buy_fits_its_own_cost_and_not_a_cent_less(
    limit: tuple[str, Decimal], fee: Decimal, exponent: int, order_type: OrderType, minimum: int
) -> None:
    tick, price = limit
    market = a_market(tick=tick, fee_rate=str(fee), fee_exponent=exponent, min_shares=str(minimum))

    def ticket_for(bet: Decimal) -> Ticket | Skip:
        return ticket(
            side=Side.BUY,
            order_type=order_type,
            limit_price=price,
            market=market,
            bet_usd=bet,
            min_marketable_usd=D(1),
        )

    smallest = smallest_buy(order_type=order_type, limit_price=price, market=market, min_marketable_usd=D(1))
    needed = smallest.reservation.usd
    found = ticket_for(needed)
    assert isinstance(found, Ticket)
    assert found.reservation.usd == needed
    assert isinstance(ticket_for(needed - CENT), Skip)
