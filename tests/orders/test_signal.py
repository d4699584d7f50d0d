import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import NOW, a_signal, signal_row
from worker.orders.reasons import SkipReason
from worker.orders.signal import Malformed, Signal, parse_signal
from worker.orders.terms import Side


def test_a_row_as_sql_writes_it_is_read_exactly() -> None:
    signal = a_signal()
    assert signal.entry_price == Decimal("0.5015")
    assert signal.size_usd == Decimal("12.00")
    assert signal.side is Side.BUY
    assert signal.is_open
    assert (NOW - signal.created_at).total_seconds() == 1
    assert signal.conviction == Decimal("1.50")
    assert signal.trader_resolved_count == 120


def test_the_same_row_over_realtime_is_the_same_signal() -> None:
    numeric = {
        "entry_price": 0.5015,
        "size": 12.00,
        "trader_win_rate": 0.61,
        "model_probability": 0.58,
        "edge_pct": 0.1085,
        "conviction": 1.5,
    }
    assert parse_signal(json.loads(json.dumps(signal_row(**numeric)))) == a_signal()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("wallet_id", None, SkipReason.MISSING_WALLET),
        ("condition_id", None, SkipReason.MISSING_MARKET),
        ("condition_id", "  ", SkipReason.MISSING_MARKET),
        ("token_label", "", SkipReason.MISSING_LABEL),
        ("side", None, SkipReason.UNKNOWN_SIDE),
        ("side", "HOLD", SkipReason.UNKNOWN_SIDE),
        ("side", ["BUY"], SkipReason.UNKNOWN_SIDE),
        ("entry_price", 0, SkipReason.BAD_PRICE),
        ("entry_price", "1", SkipReason.BAD_PRICE),
        ("entry_price", "1.0000", SkipReason.BAD_PRICE),
        ("entry_price", "-0.5", SkipReason.BAD_PRICE),
        ("entry_price", "NaN", SkipReason.BAD_PRICE),
        ("entry_price", None, SkipReason.BAD_PRICE),
        ("entry_price", 0.1 + 0.2, SkipReason.BAD_PRICE),
        ("size", 0, SkipReason.BAD_SIZE),
        ("size", "-1.00", SkipReason.BAD_SIZE),
        ("size", None, SkipReason.BAD_SIZE),
        ("created_at", None, SkipReason.BAD_TIME),
        ("order_time", "infinity", SkipReason.BAD_TIME),
    ],
)
def test_a_row_that_cannot_be_traded_on_names_its_defect(column: str, value: Any, reason: SkipReason) -> None:
    row = signal_row(**{column: value})
    malformed = parse_signal(row)
    assert isinstance(malformed, Malformed)
    assert malformed.reason is reason
    assert malformed.ft_order_id == row["order_id"]


@pytest.mark.parametrize("order_id", [None, "", "17"])
def test_a_row_without_an_id_is_no_signal_that_a_decision_could_be_written_for(order_id: str | None) -> None:
    with pytest.raises(ValueError, match="UUID"):
        parse_signal(signal_row(order_id=order_id))


@pytest.mark.parametrize(
    ("column", "value", "shown", "expected"),
    [
        ("entry_price", "1", "1", "above 0, below 1"),
        ("size", "-1.00", "-1.00", "above 0 USD"),
        ("side", "HOLD", "HOLD", "BUY or SELL"),
        ("token_label", " ", "' '", ""),
    ],
)
def test_a_defect_stands_beside_what_was_expected(column: str, value: str, shown: str, expected: str) -> None:
    malformed = parse_signal(signal_row(**{column: value}))
    assert isinstance(malformed, Malformed)
    assert (malformed.value, malformed.expected) == (shown, expected)


def test_a_defect_is_shown_but_never_stored_whole() -> None:
    malformed = parse_signal(signal_row(entry_price="9" * 10_000))
    assert isinstance(malformed, Malformed)
    assert len(malformed.value) <= 80


def test_optional_numbers_that_are_missing_are_none_and_never_zero() -> None:
    missing = dict.fromkeys(
        ["trader_win_rate", "conviction", "model_probability", "edge_pct", "trader_resolved_count"]
    )
    signal = a_signal(**missing, source_trade_id=None, market_end_time=None)
    assert signal.trader_win_rate is None
    assert signal.conviction is None
    assert signal.model_probability is None
    assert signal.trader_resolved_count is None
    assert signal.source_trade_id is None


@pytest.mark.parametrize(
    ("column", "impossible", "possible"),
    [
        ("trader_win_rate", ["61", "1.0001", "-0.01"], ["0", "1.0000"]),
        ("model_probability", ["1.5", "-0.5"], ["0", "1"]),
        ("edge_pct", ["10.85", "-1.01"], ["-1", "0", "1"]),
        ("conviction", ["-0.01"], ["0", "9999.99"]),
    ],
)
def test_an_optional_number_that_cannot_be_what_it_says_is_none(
    column: str, impossible: list[str], possible: list[str]
) -> None:
    for value in impossible:
        assert getattr(a_signal(**{column: value}), column) is None
    for value in possible:
        assert getattr(a_signal(**{column: value}), column) == Decimal(value)


def test_text_is_kept_as_the_table_has_it_because_the_claim_compares_it_there() -> None:
    assert a_signal(token_label=" Over ").token_label == " Over "


_JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.just([]),
    st.just({}),
)


_COLUMNS = st.sampled_from(sorted(signal_row().keys() - {"order_id"}))


@given(_COLUMNS, _COLUMNS, _JSON_VALUES, _JSON_VALUES)
def test_no_row_with_an_id_can_make_the_reader_raise(
    one: str, other: str, value: Any, other_value: Any
) -> None:
    outcome = parse_signal({**signal_row(), one: value, other: other_value})
    assert isinstance(outcome, Signal | Malformed)
    if isinstance(outcome, Signal):
        assert 0 < outcome.entry_price < 1
        assert outcome.size_usd > 0
