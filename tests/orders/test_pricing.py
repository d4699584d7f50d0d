from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.orders.draws import numbers
from worker.orders.numbers import floor_to
from worker.orders.pricing import base_price, limit_price
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import Side

D = Decimal
TICKS = [D(tick) for tick in ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")]
MARKUP, PAPER_CAP = D("1.003"), D("0.9999")
ROOMY = D(100)  # percent: one tick is always granted


def paper_entry(price: Decimal) -> Decimal:
    """What the paper side stores for a trader's price (domain.md 1.2)."""
    return min(PAPER_CAP, (price * MARKUP).quantize(D("0.0001"), ROUND_HALF_UP))


@st.composite
def grid_prices(draw: st.DrawFn) -> tuple[Decimal, Decimal]:
    tick = draw(st.sampled_from(TICKS))
    steps = int(1 / tick)
    return tick * draw(st.integers(1, steps - 1)), tick


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("tick", TICKS)
def test_the_markup_is_taken_off_every_price_of_every_grid_exactly(tick: Decimal, side: Side) -> None:
    for step in range(1, int(1 / tick)):
        price = tick * step
        entry = paper_entry(price)
        if entry < PAPER_CAP:
            assert base_price(entry, side, tick) == price


def test_a_tie_that_was_rounded_down_by_binary_arithmetic_is_inverted_too() -> None:
    assert D("0.05") * MARKUP == D("0.05015")
    assert base_price(D("0.0502"), Side.BUY, D("0.01")) == D("0.05")
    assert base_price(D("0.0501"), Side.BUY, D("0.01")) == D("0.05")


def test_the_hand_vector_of_the_platform_is_unslipped_once() -> None:
    assert base_price(D("0.5015"), Side.BUY, D("0.01")) == D("0.50")


def test_a_price_between_the_ticks_makes_the_cap_stricter_on_both_sides() -> None:
    entry = paper_entry(D("0.5133"))  # a trader's average over several levels
    assert base_price(entry, Side.BUY, D("0.01")) == D("0.51")
    assert base_price(entry, Side.SELL, D("0.01")) == D("0.52")


@pytest.mark.parametrize(
    ("entry", "tick"),
    [
        ("0.9999", "0.001"),  # at the cap: 0.997, 0.998 and 0.999 all end there
        ("0.9999", "0.01"),
        ("0.0049", "0.01"),  # below the first tick of a grid that has become coarser
        ("0.0001", "0.001"),
    ],
)
def test_a_price_that_cannot_be_one_of_this_market_is_out_of_band(entry: str, tick: str) -> None:
    skip = base_price(D(entry), Side.BUY, D(tick))
    assert isinstance(skip, Skip)
    assert skip.reason is SkipReason.PRICE_OUT_OF_BAND
    assert skip.value
    assert skip.limit


@given(
    numbers("0.0001", "0.9999", 4),
    st.sampled_from(TICKS),
    st.sampled_from(list(Side)),
)
def test_a_base_price_is_on_the_grid_and_within_a_tick_of_what_the_trader_paid(
    entry: Decimal, tick: Decimal, side: Side
) -> None:
    base = base_price(entry, side, tick)
    if isinstance(base, Skip):
        assert base.reason is SkipReason.PRICE_OUT_OF_BAND
    else:
        assert base % tick == 0
        assert tick <= base <= 1 - tick
        assert abs(base - entry / MARKUP) < tick


def test_what_is_out_of_band_is_told_with_the_band() -> None:
    assert base_price(PAPER_CAP, Side.BUY, D("0.01")) == Skip(
        SkipReason.PRICE_OUT_OF_BAND, value="0.9999", limit="below 0.9999"
    )
    assert base_price(D("0.0049"), Side.BUY, D("0.01")) == Skip(
        SkipReason.PRICE_OUT_OF_BAND, value="0.0049", limit="0.01..0.99"
    )


def test_the_highest_price_that_the_paper_side_can_tell_is_one() -> None:
    assert base_price(D("0.9998"), Side.BUY, D("0.0001")) == D("0.9968")


@pytest.mark.parametrize("tick", [D("0.1"), D("0.01")])
def test_a_price_above_the_last_tick_is_a_price_to_buy_at_and_none_to_sell_at(tick: Decimal) -> None:
    assert base_price(D("0.9980"), Side.BUY, tick) == 1 - tick
    assert isinstance(base_price(D("0.9980"), Side.SELL, tick), Skip)


# (trader's price, slippage, tick, old executor's limit, our limit): domain.md 2.5
VECTORS = [
    ("0.50", "0.03", "0.01", "0.51", "0.51"),
    ("0.50", "0.03", "0.001", "0.515", "0.515"),
    ("0.33", "0.03", "0.01", "0.33", "0.34"),  # the old one had no slippage at all
    ("0.05", "0.03", "0.01", "0.05", "0.06"),  # the same
    ("0.037", "0.03", "0.001", "0.038", "0.038"),
    ("0.90", "0.03", "0.01", "0.92", "0.92"),
]


@pytest.mark.parametrize(("price", "slippage", "tick", "old", "ours"), VECTORS)
def test_the_limit_of_each_hand_vector_is_the_old_one_or_one_tick_of_room(
    price: str, slippage: str, tick: str, old: str, ours: str
) -> None:
    assert floor_to(D(price) * (1 + D(slippage)), D(tick)) == D(old)
    base = base_price(paper_entry(D(price)), Side.BUY, D(tick))
    assert base == D(price)
    assert limit_price(D(price), Side.BUY, D(slippage), D(tick), D(20)) == D(ours)


@pytest.mark.parametrize(
    ("price", "slippage", "tick", "ours"),
    [
        ("0.50", "0.03", "0.01", "0.49"),
        ("0.50", "0.03", "0.001", "0.485"),
        ("0.33", "0.03", "0.01", "0.32"),
        ("0.90", "0.03", "0.01", "0.88"),
    ],
)
def test_a_sell_gives_way_downwards_by_the_mirrored_rule(
    price: str, slippage: str, tick: str, ours: str
) -> None:
    assert limit_price(D(price), Side.SELL, D(slippage), D(tick), D(20)) == D(ours)


def test_one_tick_is_refused_where_it_would_be_too_dear() -> None:
    assert limit_price(D("0.05"), Side.BUY, D("0.03"), D("0.01"), D(20)) == D("0.06")
    skip = limit_price(D("0.04"), Side.BUY, D("0.03"), D("0.01"), D(20))
    assert skip == Skip(SkipReason.NO_TICK_ROOM, value="25.0 %", limit="20 %")


def test_a_tolerance_of_zero_gets_no_room() -> None:
    assert limit_price(D("0.50"), Side.BUY, D(0), D("0.01"), ROOMY) == D("0.50")
    assert limit_price(D("0.50"), Side.SELL, D(0), D("0.01"), ROOMY) == D("0.50")


def test_one_tick_of_room_reaches_the_last_price_of_the_grid_and_the_first() -> None:
    assert limit_price(D("0.98"), Side.BUY, D("0.001"), D("0.01"), ROOMY) == D("0.99")
    assert limit_price(D("0.02"), Side.SELL, D("0.001"), D("0.01"), ROOMY) == D("0.01")


def test_a_tolerance_of_everything_still_asks_for_the_lowest_price() -> None:
    assert limit_price(D("0.50"), Side.SELL, D(1), D("0.01"), ROOMY) == D("0.01")


def test_at_the_edge_of_the_grid_the_limit_is_the_edge() -> None:
    assert limit_price(D("0.99"), Side.BUY, D("0.03"), D("0.01"), ROOMY) == D("0.99")
    assert limit_price(D("0.99"), Side.BUY, D("0.001"), D("0.01"), ROOMY) == D("0.99")
    assert limit_price(D("0.01"), Side.SELL, D("0.03"), D("0.01"), ROOMY) == D("0.01")
    assert limit_price(D("0.98"), Side.BUY, D("0.50"), D("0.01"), ROOMY) == D("0.99")


@given(
    grid_prices(),
    numbers(0, "0.2", 5),
    st.sampled_from(list(Side)),
)
def test_a_limit_is_on_the_grid_and_never_worse_than_the_cap_or_one_tick(
    grid: tuple[Decimal, Decimal], slippage: Decimal, side: Side
) -> None:
    base, tick = grid
    limit = limit_price(base, side, slippage, tick, ROOMY)
    assume(isinstance(limit, Decimal))
    assert isinstance(limit, Decimal)
    assert limit % tick == 0
    assert tick <= limit <= 1 - tick
    if side is Side.BUY:
        assert base <= limit <= max(base * (1 + slippage), base + tick)
    else:
        assert base >= limit >= min(base * (1 - slippage), base - tick)


@given(grid_prices(), numbers("0.00001", "0.2", 5))
def test_a_limit_has_room_wherever_one_tick_is_affordable_and_inside_the_grid(
    grid: tuple[Decimal, Decimal], slippage: Decimal
) -> None:
    base, tick = grid
    assume(tick * 100 <= base * 20 and base + tick <= 1 - tick)
    limit = limit_price(base, Side.BUY, slippage, tick, D(20))
    assert isinstance(limit, Decimal)
    assert limit >= base + tick
