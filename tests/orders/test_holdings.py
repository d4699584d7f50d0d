"""The part of a position that a trader's sale takes along."""

from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import a_holding, a_signal
from worker.orders.holdings import Holdings, part_sold, shares_to_sell
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal
from worker.orders.skips import Skip

D = Decimal
CRUMB = D("0.01")


def sale(size: str, price: str = "0.5000") -> Signal:
    return a_signal(side="SELL", size=size, entry_price=price)


def sold(signal: Signal, holdings: Holdings, least: Decimal = CRUMB) -> Decimal:
    shares = shares_to_sell(signal, holdings, least_shares=least)
    assert isinstance(shares, Decimal), shares
    return shares


def refused(signal: Signal, holdings: Holdings, least: Decimal = CRUMB) -> Skip:
    skip = shares_to_sell(signal, holdings, least_shares=least)
    assert isinstance(skip, Skip), skip
    return skip


@pytest.mark.parametrize(
    ("size", "price", "bought", "earlier", "part"),
    [
        ("5.00", "0.5000", "20", "0", "0.5"),
        ("5.00", "0.2500", "20", "0", "1"),
        (
            "8.00",
            "0.8000",
            "20",
            "0",
            "0.5",
        ),  # in dollars it would be four fifths of the $10 that bought them
        ("2.00", "0.5000", "20", "12", "0.5"),  # of what an earlier sale left
        ("30.00", "0.5000", "20", "0", "1"),
        ("0.01", "0.5000", "20", "20", "1"),  # earlier sales left nothing: an exit all the same
        ("0.01", "0.9999", "99999999999", "0", "0.00000001"),
    ],
)
def test_the_part_is_of_the_paper_shares_that_were_open_and_never_more_than_all(
    size: str, price: str, bought: str, earlier: str, part: str
) -> None:
    assert part_sold(sale(size, price), a_holding("1", paper_bought=bought, paper_sold=earlier)) == D(part)


def test_a_quotient_without_an_end_makes_a_whole_half() -> None:
    halves = a_holding("100", paper_bought="19.940179461615")  # $10.00 at 0.5015, as the database divides
    assert sold(sale("5.00", "0.5015"), halves) == D(50)
    assert sold(sale("10.00", "0.5015"), halves) == D(100)


@given(
    st.lists(st.integers(1, 400), min_size=2, max_size=4),
    st.integers(1, 10**9),
)
def test_sales_in_any_order_come_to_the_same_to_a_millionth(sizes: list[int], unsold: int) -> None:
    """Each knows what was sold on paper before it; executed in another order, they leave the same."""
    bought = D(sum(sizes) + 10)
    left = set()
    for order in permutations(range(len(sizes))):
        shares = D(unsold)
        for index in order:
            signal = sale(f"{sizes[index]}.00", "0.9900")
            before = sum(sizes[:index]) / D("0.99")
            held = a_holding(str(shares), paper_bought=str(bought / D("0.99")), paper_sold=str(before))
            shares *= 1 - part_sold(signal, held)
        left.add(shares)
    assert max(left) - min(left) <= D(unsold) / 10**6
    assert abs(max(left) - unsold * 10 / bought) <= D(unsold) / 10**6


def test_a_trader_whose_purchases_nobody_copied_sells_nothing_of_ours() -> None:
    others = refused(sale("5.00"), a_holding("20", paper_bought="0"))
    assert (others.reason, others.value) == (SkipReason.SELL_NO_POSITION, "0 paper shares")


def test_nothing_held_is_no_position_unless_an_order_may_still_bring_some() -> None:
    assert refused(sale("5.00"), a_holding("0")).reason is SkipReason.SELL_NO_POSITION
    assert refused(sale("5.00"), a_holding("0", selling=True)).reason is SkipReason.POSITION_UNSETTLED
    assert refused(sale("5.00"), a_holding("0", buying=True)).reason is SkipReason.POSITION_UNSETTLED
    less_than_nothing = refused(sale("5.00"), a_holding("-3"))
    assert (less_than_nothing.reason, less_than_nothing.value) == (SkipReason.SELL_NO_POSITION, "-3 shares")


def test_a_sale_waits_for_the_purchases_before_it_however_much_is_held() -> None:
    waiting = refused(sale("5.00"), a_holding("100", buying=True))
    assert (waiting.reason, waiting.value) == (SkipReason.POSITION_UNSETTLED, "100 shares")
    assert sold(sale("5.00"), a_holding("100", selling=True, paper_bought="10")) == D(100)


def test_only_settled_shares_are_sold_and_a_part_that_is_not_settled_waits_as_a_whole() -> None:
    half = sale("5.00")
    assert sold(half, a_holding("100", settled="50", paper_bought="20")) == D(50)
    waiting = refused(half, a_holding("100", settled="49.99", paper_bought="20"))
    assert (waiting.reason, waiting.limit) == (SkipReason.POSITION_UNSETTLED, "49.99")
    assert D(waiting.value.removesuffix(" shares")) == D(50)


@pytest.mark.parametrize(
    ("unsold", "size", "shares"),
    [
        ("20", "8.00", "20"),  # 16, and the 4 that could not be sold by themselves
        ("20", "7.50", "15"),  # leaves 5, which can
        ("20", "1.00", "2"),  # too little for a sale: not made larger
        ("8", "5.00", "4"),
        ("4.99", "5.00", "2.495"),
    ],
)
def test_a_rest_below_the_exchanges_minimum_is_sold_along_with_a_sale_that_reaches_it(
    unsold: str, size: str, shares: str
) -> None:
    assert sold(sale(size), a_holding(unsold, paper_bought="20"), D(5)) == D(shares)


def test_a_rest_that_would_be_sold_along_must_have_settled_too() -> None:
    waiting = refused(sale("8.00"), a_holding("20", settled="16", paper_bought="20"), D(5))
    assert (waiting.reason, waiting.value, waiting.limit) == (
        SkipReason.POSITION_UNSETTLED,
        "20 shares",
        "16",
    )
