from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import a_signal
from tests.orders.draws import numbers
from worker.orders.evidence import Evidence, Input, evidence_of

D = Decimal


def evidence(**columns: Any) -> Evidence:
    return evidence_of(a_signal(**columns))


def test_the_edge_is_the_win_rate_over_the_price_with_its_markup() -> None:
    seen = evidence(entry_price="0.5015", trader_win_rate="0.6100", edge_pct="0.9000")
    assert (seen.win_rate, seen.edge) == (D("0.6100"), D("0.1085"))
    assert seen.assumed == frozenset()


def test_an_edge_that_is_stated_alone_states_the_win_rate() -> None:
    seen = evidence(entry_price="0.5015", trader_win_rate=None, edge_pct="0.1085")
    assert (seen.win_rate, seen.edge, seen.edge_known) == (D("0.6100"), D("0.1085"), True)


@pytest.mark.parametrize(("price", "edge"), [("0.9500", "0.1000"), ("0.0500", "-0.1000")])
def test_an_edge_that_states_an_impossible_win_rate_states_nothing(price: str, edge: str) -> None:
    seen = evidence(entry_price=price, trader_win_rate=None, edge_pct=edge)
    assert (seen.win_rate, seen.edge, seen.edge_known) == (D("0.5"), D(0), False)


def test_a_cheap_outcome_of_an_unknown_trader_has_no_edge() -> None:
    """A win rate of one half against a price of five cents would be an edge of 45 points out of nothing."""
    assert evidence(entry_price="0.0500", trader_win_rate=None, edge_pct=None).edge == 0


@pytest.mark.parametrize(
    ("columns", "name", "neutral"),
    [
        ({"trader_win_rate": None, "edge_pct": None}, Input.WIN_RATE, "0.5"),
        ({"conviction": None}, Input.CONVICTION, "1"),
        ({"model_probability": None}, Input.SCORE, "0.55"),
    ],
)
def test_what_is_missing_is_neutral_and_named(columns: dict[str, Any], name: Input, neutral: str) -> None:
    seen = evidence(**columns)
    values = {
        Input.WIN_RATE: seen.win_rate,
        Input.CONVICTION: seen.conviction,
        Input.SCORE: seen.score,
    }
    assert values[name] == D(neutral)
    assert seen.assumed == {name}


def test_zero_is_a_value_and_not_an_absence() -> None:
    seen = evidence(trader_win_rate="0", conviction="0.00", model_probability="0")
    assert (seen.win_rate, seen.conviction, seen.score) == (D(0), D(0), D(0))
    assert seen.assumed == frozenset()


@given(
    st.none() | numbers(-2, 2, 4),
    st.none() | numbers(-2, 2, 4),
    st.none() | numbers(-10, 10, 2),
    st.none() | numbers(-2, 2, 4),
)
def test_evidence_is_always_whole_and_possible(
    win_rate: Decimal | None, edge: Decimal | None, conviction: Decimal | None, score: Decimal | None
) -> None:
    text = [None if value is None else str(value) for value in (win_rate, edge, conviction, score)]
    seen = evidence(trader_win_rate=text[0], edge_pct=text[1], conviction=text[2], model_probability=text[3])
    assert 0 <= seen.win_rate <= 1
    assert 0 <= seen.score <= 1
    assert seen.conviction >= 0
    assert seen.edge == (seen.win_rate - seen.entry_price if seen.edge_known else 0)
