"""The eight methods of the paper side at their edges, by hand from the formulas of domain.md 2.4; more: test_vectors."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.orders.builders import a_signal, a_strategy, ft_wallet_row
from tests.orders.draws import numbers
from worker.orders.allocation import INPUTS, NEEDS_EDGE, stake_usd
from worker.orders.evidence import Evidence, Input, evidence_of
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod, FtWallet

D = Decimal
METHODS = st.sampled_from(list(AllocationMethod))
# The builders' signal: price 0.5015 = 0.50 · 1.003, win rate 0.61, so an edge of 0.1085; conviction 1.5, score 0.58.


def a_wallet(method: str, **columns: str) -> FtWallet:
    wallet = a_strategy(ft_wallet=ft_wallet_row(allocation_method=method, **columns)).ft_wallet
    assert wallet is not None
    return wallet


def staked(method: str, *, bankroll: str = "1000", fraction: str = "0.25", **signal: Any) -> Decimal | Skip:
    """The stake of a wallet whose base is 10.00 and whose min_bet is 0.50."""
    wallet = a_wallet(method, kelly_fraction=fraction)
    return stake_usd(wallet, evidence_of(a_signal(**signal)), D(bankroll))


@pytest.mark.parametrize(
    ("entry", "win_rate", "bankroll", "fraction", "stake"),
    [
        ("0.5015", "0.6100", "1000", "0.50", "108.5"),
        ("0.5015", "0.6100", "40", "0.25", "2.17"),
        ("0.5015", "0.6100", "0", "0.25", "0"),
        ("0.2006", "0.3000", "1000", "0.25", "31.0625"),  # 1000 · 0.0994 / 0.80 · 0.25
        (
            "0.5015",
            "0.4000",
            "1000",
            "0.25",
            "-50.75",
        ),  # Kelly would bet against it: the wallet's min_bet follows
        ("0.9930", "1.0000", "1000", "0.25", "0.50"),  # p = 0.99003: min_bet
        (
            "0.9929",
            "1.0000",
            "100",
            "0.25",
            "17.62698019801980198019801980",
        ),  # p = 0.98993: 0.0071 · 1.003 / 0.0101
    ],
)
def test_kelly_stakes_a_fraction_of_the_bankroll_by_edge_and_odds(
    entry: str, win_rate: str, bankroll: str, fraction: str, stake: str
) -> None:
    found = staked("KELLY", bankroll=bankroll, fraction=fraction, entry_price=entry, trader_win_rate=win_rate)
    assert found == D(stake)


@pytest.mark.parametrize(
    ("win_rate", "stake"),
    [("0.6515", "17.5"), ("0.5015", "10"), ("0.4500", "7.425"), ("0.3000", "-0.075")],
)
def test_edge_scaled_grows_five_times_as_fast_as_the_edge(win_rate: str, stake: str) -> None:
    assert staked("EDGE_SCALED", trader_win_rate=win_rate) == D(stake)


@pytest.mark.parametrize(
    ("win_rate", "stake"),
    [
        ("0.6500", "20"),
        ("0.6499", "15"),
        ("0.6000", "15"),
        ("0.5999", "10"),
        ("0.5500", "10"),
        ("0.5499", "5"),
        ("0.1000", "5"),
    ],
)
def test_a_tier_begins_exactly_at_its_edge(win_rate: str, stake: str) -> None:
    assert staked("TIERED", entry_price="0.5000", trader_win_rate=win_rate) == D(stake)


@pytest.mark.parametrize(
    ("conviction", "stake"),
    [
        ("0", "5"),
        ("0.49", "5"),
        ("0.50", "5"),
        ("1.00", "10"),
        ("2.99", "29.9"),
        ("3.00", "30"),
        ("99.00", "30"),
    ],
)
def test_conviction_counts_from_a_half_to_three(conviction: str, stake: str) -> None:
    assert staked("CONVICTION", conviction=conviction) == D(stake)


@pytest.mark.parametrize(
    ("score", "stake"),
    [("0.2000", "5"), ("0.5000", "5"), ("0.5500", "5.5"), ("0.9000", "9"), ("1.0000", "10")],
)
def test_a_model_score_is_the_multiple_and_a_half_at_least(score: str, stake: str) -> None:
    assert staked("ML_SCALED", model_probability=score) == D(stake)


@pytest.mark.parametrize(
    ("entry", "win_rate", "conviction", "stake"),
    [
        ("0.2000", "0.9000", "5.00", "20"),  # every mark is full
        ("0.6000", "0.8000", "3.00", "20"),  # and just full
        ("0.6000", "0.5600", "0.25", "4.25"),  # -0.08 - 0.03 + 0.06 = -0.05
        ("0.9000", "0.3000", "0", "-16.9"),  # -1.2 - 0.06 - 0.2 = -1.46: the wallet's min_bet follows
    ],
)
def test_confidence_weighs_edge_conviction_and_skill(
    entry: str, win_rate: str, conviction: str, stake: str
) -> None:
    found = staked("CONFIDENCE", entry_price=entry, trader_win_rate=win_rate, conviction=conviction)
    assert found == D(stake)


@pytest.mark.parametrize(
    ("entry", "win_rate", "conviction", "score", "stake"),
    [
        ("0.2000", "0.8000", "3.00", "1.0000", "15"),  # every mark is full
        ("0.2000", "1.0000", "9.00", "1.0000", "15"),
        ("0.5000", "0.4000", "0.20", "0.3000", "4.5"),  # no mark but the edge goes below zero: -0.05
        ("0.5000", "0.6200", "1.75", "0.7500", "9.85"),  # 0.175 + 0.15 + 0.10 + 0.06
    ],
)
def test_whale_weighs_score_conviction_skill_and_edge(
    entry: str, win_rate: str, conviction: str, score: str, stake: str
) -> None:
    found = staked(
        "WHALE",
        entry_price=entry,
        trader_win_rate=win_rate,
        conviction=conviction,
        model_probability=score,
    )
    assert found == D(stake)


def test_a_base_is_the_bet_size_times_its_weight_for_every_method_but_kelly() -> None:
    evidence = evidence_of(a_signal())
    for method in AllocationMethod:
        single = stake_usd(a_wallet(method), evidence, D(1000))
        double = stake_usd(a_wallet(method, bet_size="8.00", bet_allocation_weight="2.50"), evidence, D(1000))
        assert isinstance(single, Decimal)
        assert isinstance(double, Decimal)
        assert double == pytest.approx(single if method is AllocationMethod.KELLY else 2 * single)


# --- what is missing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(NEEDS_EDGE))
def test_a_method_that_is_nothing_but_the_edge_skips_a_signal_without_one(method: AllocationMethod) -> None:
    skip = staked(method, trader_win_rate=None, edge_pct=None)
    assert skip == Skip(SkipReason.INPUT_MISSING, value="trader_win_rate", limit=method.value)
    assert SkipReason.INPUT_MISSING.final


@pytest.mark.parametrize("method", list(AllocationMethod))
def test_a_stated_edge_stands_for_a_missing_win_rate_in_every_method(method: AllocationMethod) -> None:
    assert staked(method, trader_win_rate=None, edge_pct="0.1085") == staked(method)


@pytest.mark.parametrize(
    ("method", "missing", "stake"),
    [
        ("CONVICTION", ["conviction"], "10"),  # an average trade
        ("ML_SCALED", ["model_probability"], "5.5"),  # 0.55
        ("CONFIDENCE", ["conviction"], "10.805"),  # 0.217 + 0.06 + 0.11
        ("CONFIDENCE", ["trader_win_rate", "edge_pct"], "6.8"),  # 0 + 0.12 + 0
        ("CONFIDENCE", ["trader_win_rate", "edge_pct", "conviction"], "5.9"),  # 0 + 0.06 + 0
        ("WHALE", ["trader_win_rate", "edge_pct"], "6.76"),  # 0.056 + 0.12 + 0 + 0
        ("WHALE", ["trader_win_rate", "edge_pct", "conviction", "model_probability"], "5.95"),
        ("FIXED", ["trader_win_rate", "edge_pct", "conviction", "model_probability"], "10"),
    ],
)
def test_a_missing_input_counts_as_its_neutral_value(method: str, missing: list[str], stake: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys(missing)
    assert staked(method, **nothing) == D(stake)


# --- rules ----------------------------------------------------------------------------------------------------------

BANKROLL = D(1000)
FRACTIONS = numbers(0, 1, 4)


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    return evidence_of(
        a_signal(
            entry_price=str(draw(numbers("0.0001", "0.9999", 4))),
            trader_win_rate=str(draw(FRACTIONS)),
            conviction=str(draw(numbers(0, 10, 2))),
            model_probability=str(draw(FRACTIONS)),
        )
    )


def bounded(method: AllocationMethod, evidence: Evidence, bankroll: Decimal = BANKROLL) -> Decimal:
    """The stake inside the wallet's bounds, where every method is monotone."""
    wallet = a_wallet(method)
    stake = stake_usd(wallet, evidence, bankroll)
    assert isinstance(stake, Decimal)
    return min(max(stake, wallet.min_bet_usd), wallet.max_bet_usd)


def with_(evidence: Evidence, name: Input, value: Decimal) -> Evidence:
    match name:
        case Input.WIN_RATE:
            return replace(evidence, win_rate=value, edge=value - evidence.entry_price)
        case Input.CONVICTION:
            return replace(evidence, conviction=value)
        case Input.SCORE:
            return replace(evidence, score=value)


@given(METHODS, evidences(), st.sampled_from(list(Input)), FRACTIONS, st.integers(1, 5))
def test_a_better_signal_never_stakes_less_and_an_unused_input_changes_nothing(
    method: AllocationMethod, evidence: Evidence, name: Input, value: Decimal, times: int
) -> None:
    new = value * times if name is Input.CONVICTION else value
    old = {
        Input.WIN_RATE: evidence.win_rate,
        Input.CONVICTION: evidence.conviction,
        Input.SCORE: evidence.score,
    }[name]
    before, after = bounded(method, evidence), bounded(method, with_(evidence, name, new))
    if name not in INPUTS[method]:
        assert after == before
    elif new >= old:
        assert after >= before
    else:
        assert after <= before


@given(METHODS, evidences(), numbers("0.0001", "0.9999", 4))
def test_a_dearer_price_never_stakes_more(
    method: AllocationMethod, evidence: Evidence, price: Decimal
) -> None:
    dearer = max(price, evidence.entry_price)
    after = replace(evidence, entry_price=dearer, edge=evidence.win_rate - dearer)
    assert bounded(method, after) <= bounded(method, evidence)


@given(
    evidences(),
    numbers(0, 5000, 2),
    numbers(0, 5000, 2),
)
def test_kelly_never_stakes_less_of_a_larger_bankroll(
    evidence: Evidence, bankroll: Decimal, more: Decimal
) -> None:
    assert bounded(AllocationMethod.KELLY, evidence, bankroll + more) >= bounded(
        AllocationMethod.KELLY, evidence, bankroll
    )


@given(evidences(), numbers("0.01", 1_000_000, 2))
def test_kelly_never_stakes_more_than_its_fraction_of_the_bankroll(
    evidence: Evidence, bankroll: Decimal
) -> None:
    assume(evidence.entry_price < D("0.9929"))
    wallet = a_wallet("KELLY")
    stake = stake_usd(wallet, evidence, bankroll)
    assert isinstance(stake, Decimal)
    assert stake <= bankroll * wallet.kelly_fraction
