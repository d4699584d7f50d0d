"""What an order takes from a book: best price first, never beyond its limit, never more than its target."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.exchange_plans import SOME_TIME
from worker.exchange.shadow import Execution, ShadowOrder, execute
from worker.orders.market import Book, Level
from worker.orders.terms import OrderType, Side, TokenId

LIMIT = Decimal("0.55")


def book(*, asks: tuple[tuple[str, str], ...] = (), bids: tuple[tuple[str, str], ...] = ()) -> Book:
    return Book(TokenId("1"), bids=_levels(bids), asks=_levels(asks), seen_at=SOME_TIME)


def _levels(pairs: tuple[tuple[str, str], ...]) -> tuple[Level, ...]:
    return tuple(Level(Decimal(price), Decimal(size)) for price, size in pairs)


def buy_for(dollars: str, limit: Decimal = LIMIT) -> ShadowOrder:
    return ShadowOrder(Side.BUY, OrderType.FAK, limit, spend_usd=Decimal(dollars), shares=None)


def buy_shares(shares: str, limit: Decimal = LIMIT) -> ShadowOrder:
    return ShadowOrder(Side.BUY, OrderType.GTC, limit, spend_usd=None, shares=Decimal(shares))


def sell_shares(shares: str, limit: Decimal = LIMIT) -> ShadowOrder:
    return ShadowOrder(Side.SELL, OrderType.FAK, limit, spend_usd=None, shares=Decimal(shares))


def taken(execution: Execution) -> list[tuple[str, str]]:
    return [(str(each.price), format(each.shares.normalize(), "f")) for each in execution.taken]


def test_dollars_buy_more_shares_at_a_better_price() -> None:
    execution = execute(buy_for("11"), book(asks=(("0.50", "100"),)))
    assert taken(execution) == [("0.50", "22")]
    assert (execution.usd, execution.complete) == (Decimal(11), True)


def test_levels_are_taken_in_order_and_only_up_to_the_limit() -> None:
    execution = execute(buy_for("100"), book(asks=(("0.50", "20"), ("0.55", "10"), ("0.56", "500"))))
    assert taken(execution) == [("0.50", "20"), ("0.55", "10")]
    assert not execution.complete


def test_a_number_of_shares_is_never_exceeded_however_cheap() -> None:
    execution = execute(buy_shares("30"), book(asks=(("0.10", "20"), ("0.20", "50"))))
    assert taken(execution) == [("0.10", "20"), ("0.20", "10")]
    assert execution.complete


def test_sales_go_to_the_best_bid_first_and_never_below_the_limit() -> None:
    execution = execute(sell_shares("100"), book(bids=(("0.60", "30"), ("0.55", "20"), ("0.54", "900"))))
    assert taken(execution) == [("0.60", "30"), ("0.55", "20")]
    assert execution.usd == Decimal(29)


@pytest.mark.parametrize("order", [buy_for("10"), buy_shares("10"), sell_shares("10")])
def test_an_empty_book_gives_nothing(order: ShadowOrder) -> None:
    assert execute(order, book()) == Execution((), complete=False)


def test_an_order_without_a_target_is_refused() -> None:
    with pytest.raises(ValueError, match="Expected an order with a target"):
        execute(ShadowOrder(Side.BUY, OrderType.FAK, LIMIT, None, None), book())


PRICES = st.decimals("0.01", "0.99", places=2)
SIZES = st.decimals("0.01", "5000", places=2)
LEVELS = st.dictionaries(PRICES, SIZES, max_size=8)


@given(LEVELS, PRICES, st.decimals("1", "1000", places=2))
def test_dollars_spent_never_exceed_the_budget_nor_any_price_the_limit(
    levels: dict[Decimal, Decimal], limit: Decimal, dollars: Decimal
) -> None:
    asks = tuple((str(price), str(size)) for price, size in sorted(levels.items()))
    execution = execute(buy_for(str(dollars), limit), book(asks=asks))
    assert execution.usd <= dollars
    for each in execution.taken:
        assert each.price <= limit
        assert 0 < each.shares <= levels[each.price]
        assert each.shares == round(each.shares, 6)
    reachable = sum(price * size for price, size in levels.items() if price <= limit)
    assert execution.complete is (dollars - min(dollars, execution.usd) < Decimal("0.01"))
    assert execution.usd >= min(dollars, reachable) - Decimal("0.001")


@given(LEVELS, PRICES, st.decimals("0.01", "10000", places=2))
def test_shares_sold_are_all_that_the_bids_above_the_limit_can_take(
    levels: dict[Decimal, Decimal], limit: Decimal, shares: Decimal
) -> None:
    bids = tuple((str(price), str(size)) for price, size in sorted(levels.items(), reverse=True))
    execution = execute(sell_shares(str(shares), limit), book(bids=bids))
    assert execution.shares == min(shares, sum(size for price, size in levels.items() if price >= limit))
    assert all(each.price >= limit for each in execution.taken)
