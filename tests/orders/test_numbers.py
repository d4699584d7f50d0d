import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.draws import numbers
from worker.orders.numbers import ceil_to, exact_decimal, floor_to, plain, utc_moment


@given(numbers(0, "99999999.99", 2))
def test_money_survives_its_journey_through_a_json_float(amount: Decimal) -> None:
    assert exact_decimal(json.loads(f"[{amount}]")[0]) == amount


@given(numbers(0, "99.9999", 4))
def test_prices_survive_their_journey_through_a_json_float(price: Decimal) -> None:
    assert exact_decimal(json.loads(f"[{price}]")[0]) == price


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "abc",
        "NaN",
        "Infinity",
        float("nan"),
        float("inf"),
        0.1 + 0.2,
        1234567890123.4567,
        b"1",
        [],
    ],
)
def test_what_does_not_state_an_exact_number_is_no_number(value: object) -> None:
    assert exact_decimal(value) is None


def test_text_keeps_every_digit() -> None:
    assert exact_decimal("0.1234567890123456789012345") == Decimal("0.1234567890123456789012345")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00.123456+00:00",
        "2026-11-22T12:00:00.123456Z",
        "2026-11-22 12:00:00.123456+00",
        "2026-11-22T13:00:00.123456+01:00",
    ],
)
def test_every_spelling_of_a_moment_is_the_same_moment_in_utc(text: str) -> None:
    assert utc_moment(text) == datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize("value", [None, "infinity", "", "yesterday", "2026-11-22T12:00:00", 1763812800])
def test_a_moment_without_an_offset_or_a_date_is_no_moment(value: object) -> None:
    assert utc_moment(value) is None


@given(
    numbers(0, 1000, 6),
    st.sampled_from([Decimal(step) for step in ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")]),
)
def test_rounding_brackets_the_number_by_less_than_a_step(number: Decimal, step: Decimal) -> None:
    low, high = floor_to(number, step), ceil_to(number, step)
    assert low <= number <= high
    assert number - low < step
    assert high - number < step
    assert low % step == high % step == 0


def test_plain_numbers_have_no_exponent() -> None:
    assert plain(Decimal("1E+3")) == "1000"
    assert plain(Decimal("1E-7")) == "0.0000001"
