from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import a_capital, a_signal, a_strategy, ft_wallet_row
from tests.orders.draws import numbers
from worker.orders.allocation import INPUTS, NEEDS_EDGE
from worker.orders.evidence import Input, evidence_of
from worker.orders.reasons import SkipReason
from worker.orders.sizing import bet_usd
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod

D = Decimal


def bet(
    available: str = "1000",
    *,
    least: str = "1.00",
    most: str = "100.00",
    cooldown: str = "0",
    signal: dict[str, Any] | None = None,
    **wallet: str,
) -> Decimal | Skip:
    strategy = a_strategy(
        ft_wallet=ft_wallet_row(**wallet), min_order_size_usd=least, max_order_size_usd=most
    )
    assert strategy.ft_wallet is not None
    evidence = evidence_of(a_signal(**(signal or {})))
    return bet_usd(strategy.ft_wallet, strategy, evidence, a_capital(available=available, cooldown=cooldown))


def test_a_fixed_bet_is_its_base_times_its_weight() -> None:
    assert bet(bet_size="1.20", bet_allocation_weight="1.50") == D("1.80")


@pytest.mark.parametrize(
    ("method", "dollars"),
    [
        ("FIXED", "10.00"),
        ("KELLY", "54.25"),
        ("EDGE_SCALED", "15.43"),  # 15.425
        ("TIERED", "15.00"),
        ("CONFIDENCE", "11.71"),  # 11.705
        ("CONVICTION", "15.00"),
        ("ML_SCALED", "5.80"),
        ("WHALE", "8.22"),  # 8.219...
    ],
)
def test_each_method_bets_its_stake_in_whole_cents_half_up(method: str, dollars: str) -> None:
    assert bet(allocation_method=method) == D(dollars)


def test_the_paper_wallets_bounds_come_before_the_strategys() -> None:
    assert bet(bet_size="50", max_bet="10.00") == D("10.00")
    assert bet(bet_size="0.10", min_bet="0.50", least="0.25") == D("0.50")
    assert bet(bet_size="50", max_bet="10.00", most="8.00") == D("8.00")
    assert bet(bet_size="0.10", min_bet="0.50", least="2.00") == D("2.00")


def test_a_method_that_would_bet_against_the_signal_bets_the_wallets_least() -> None:
    hopeless = {"trader_win_rate": "0.1000"}
    for method in ("KELLY", "EDGE_SCALED", "CONFIDENCE"):
        assert bet(allocation_method=method, signal=hopeless, least="0.25") == D("0.50")


def test_a_bet_is_whole_cents() -> None:
    assert bet(bet_size="2.47", bet_allocation_weight="0.50") == D(
        "1.24"
    )  # 1.235: half up, as the paper side
    assert bet(bet_size="3.33", bet_allocation_weight="0.55") == D("1.83")
    assert bet(bet_size="2.50", most="2.005") == D("2.00")
    assert bet(bet_size="50", max_bet="10.005", most="100") == D("10.00")


def test_a_bet_shrinks_to_what_is_available_but_not_below_the_strategys_minimum() -> None:
    assert bet("6.789", bet_size="10.00") == D("6.78")
    assert bet("1.00", bet_size="10.00") == D("1.00")
    assert bet("0.99", bet_size="10.00") == Skip(SkipReason.INSUFFICIENT_CAPITAL, value="10.00", limit="0.99")


def test_nothing_available_is_no_bet_even_without_a_minimum() -> None:
    skip = bet("0", bet_size="10.00", least="0")
    assert isinstance(skip, Skip)
    assert skip.reason is SkipReason.INSUFFICIENT_CAPITAL
    assert isinstance(bet("-3", bet_size="10.00", least="0"), Skip)


def test_ten_dollars_available_afford_an_order_of_six() -> None:
    assert bet("10.00", bet_size="6.00") == D("6.00")


def test_kelly_bets_of_what_is_free_or_cooling_down_and_of_no_open_position() -> None:
    assert a_capital(available="600", cooldown="400", locked="5000").bankroll_usd == 1000
    assert bet("600", cooldown="400", allocation_method="KELLY") == bet("1000", allocation_method="KELLY")
    assert bet("20", cooldown="980", allocation_method="KELLY") == D("20.00")  # 54.25, of which 20 are free


def test_a_bankroll_below_zero_is_none() -> None:
    assert a_capital(available="-50", cooldown="20").bankroll_usd == 0
    assert isinstance(bet("-50", allocation_method="KELLY"), Skip)


CENTS = numbers(0, 500, 2)
OPTIONAL_FRACTIONS = st.none() | numbers(0, 1, 4).map(str)


@st.composite
def signals(draw: st.DrawFn) -> dict[str, Any]:
    price = draw(numbers("0.0001", "0.9999", 4))
    return {
        "entry_price": str(price),
        "trader_win_rate": draw(OPTIONAL_FRACTIONS),
        "edge_pct": draw(st.none() | numbers(-1, 1, 4).map(str)),
        "conviction": draw(st.none() | numbers(0, 9999, 2).map(str)),
        "model_probability": draw(OPTIONAL_FRACTIONS),
    }


@given(
    st.sampled_from(list(AllocationMethod)), signals(), CENTS, CENTS, CENTS, CENTS, CENTS, CENTS, st.data()
)
def test_a_bet_is_positive_whole_cents_and_inside_every_bound_or_an_explained_skip(
    method: AllocationMethod,
    signal: dict[str, Any],
    size: Decimal,
    one_bound: Decimal,
    other_bound: Decimal,
    one_order: Decimal,
    other_order: Decimal,
    available: Decimal,
    data: st.DataObject,
) -> None:
    min_bet, max_bet = sorted((one_bound, other_bound))
    least, most = sorted((one_order, other_order))
    max_bet += D("0.01")
    found = bet(
        str(available),
        least=str(least),
        most=str(most),
        cooldown=str(data.draw(CENTS, label="cooldown")),
        signal=signal,
        allocation_method=method.value,
        bet_size=str(size + D("0.01")),
        min_bet=str(min_bet),
        max_bet=str(max_bet),
    )
    if isinstance(found, Skip):
        assert found.reason in {SkipReason.INPUT_MISSING, SkipReason.INSUFFICIENT_CAPITAL}
        assert found.value
        assert found.limit
        if found.reason is SkipReason.INPUT_MISSING:
            assert method in NEEDS_EDGE
            assert not evidence_of(a_signal(**signal)).edge_known
        else:
            assert available < max(least, D("0.01")) or most == 0 or max(min_bet, least) == 0
        return
    assert found > 0
    assert found == found.quantize(D("0.01"))
    assert least <= found <= min(most, available)
    assert found <= max(max_bet, least)
    assert found >= min(min_bet, most, available)


@given(st.sampled_from(list(AllocationMethod)), signals())
def test_what_a_signal_lacks_is_named_or_skipped_and_never_counted_as_zero(
    method: AllocationMethod, signal: dict[str, Any]
) -> None:
    evidence = evidence_of(a_signal(**signal))
    found = bet(signal=signal, allocation_method=method.value)
    lacking = evidence.assumed & INPUTS[method]
    for name, column in ((Input.CONVICTION, "conviction"), (Input.SCORE, "model_probability")):
        assert (name in evidence.assumed) == (signal[column] is None)
    if Input.WIN_RATE in lacking and method in NEEDS_EDGE:
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.INPUT_MISSING
        return
    assert isinstance(found, Decimal)
    if lacking:  # the same signal with the neutral values written out is sized the same
        spelled = signal | {
            "conviction": signal["conviction"] or str(evidence.conviction),
            "model_probability": signal["model_probability"] or str(evidence.score),
        }
        assert bet(signal=spelled, allocation_method=method.value) == found
