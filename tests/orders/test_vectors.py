"""The tables of docs/price-and-size.md: worked out by hand, read from the page, and run through the pipeline.

The old columns are domain.md 2.5: what the executor before us made of a signal. Ours follow from protocol.md "Price"
and "Amounts and reservation"; the methods from domain.md 2.4.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.orders.builders import NOW, a_capital, a_market, a_signal, a_strategy, ft_wallet_row
from worker.orders.allocation import INPUTS, stake_usd
from worker.orders.decide import Plan, decide
from worker.orders.evidence import evidence_of
from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod
from worker.orders.terms import Mode

D = Decimal
PAGE = Path(__file__).parents[2] / "docs" / "price-and-size.md"


def table(first_heading: str) -> list[list[str]]:
    """The rows below the heading row that begins so."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows


METHODS = table("method | formula")
MISSING = table("method | without a win rate and an edge")
PRICES = table("the trader's price")
ABSENT: Sequence[dict[str, Any]] = (
    {"trader_win_rate": None, "edge_pct": None},
    {"conviction": None},
    {"model_probability": None},
)


def staked(method: str, **signal: Any) -> Decimal | Skip:
    """The example of the page: the builders' signal, a base of 10 and a bankroll of 1,000."""
    wallet = a_strategy(ft_wallet=ft_wallet_row(allocation_method=method)).ft_wallet
    assert wallet is not None
    stake = stake_usd(wallet, evidence_of(a_signal(**signal)), D(1000))
    return stake if isinstance(stake, Skip) else stake.quantize(D("0.00001"), ROUND_HALF_UP)


@pytest.mark.parametrize(("method", "stake"), [(row[0], row[2]) for row in METHODS])
def test_each_method_stakes_what_its_formula_says(method: str, stake: str) -> None:
    assert staked(method) == D(stake)


@pytest.mark.parametrize(
    ("method", "stake", "absent"),
    [(row[0], stake, absent) for row in MISSING for stake, absent in zip(row[1:], ABSENT, strict=True)],
)
def test_what_is_missing_is_neutral_or_a_skip(method: str, stake: str, absent: dict[str, Any]) -> None:
    found = staked(method, **absent)
    if stake == "skipped":
        assert isinstance(found, Skip)
        assert found.reason is SkipReason.INPUT_MISSING
    else:
        assert found == D(stake)


def test_no_method_is_left_out() -> None:
    every = {each.value for each in AllocationMethod}
    assert {row[0] for row in METHODS} == {row[0] for row in MISSING} == set(INPUTS) == every
    assert len(every) == 8


def planned(price: str, tick: str, bet: str, order_type: str) -> Plan:
    entry = (D(price) * D("1.003")).quantize(D("0.0001"), ROUND_HALF_UP)
    strategy = a_strategy(order_type=order_type, ft_wallet=ft_wallet_row(bet_size=bet))
    outcome = decide(
        a_signal(entry_price=str(entry)),
        strategy,
        a_market(tick=tick),
        None,
        a_capital(),
        DecisionPolicy(mode=Mode.LIVE),
        NOW,
    )
    assert isinstance(outcome, Plan), outcome
    return outcome


def test_the_seven_vectors_are_all_there() -> None:
    assert [row[:3] for row in PRICES] == [
        ["0.50", "0.01", "5.00"],
        ["0.50", "0.001", "5.00"],
        ["0.33", "0.01", "2.00"],
        ["0.05", "0.01", "1.00"],
        ["0.037", "0.001", "1.00"],
        ["0.90", "0.01", "10.00"],
        ["0.4985", "0.01", "1.20"],
    ]
    for row in PRICES:
        assert D(row[3]) * D(row[4]) == D(row[5])


@pytest.mark.parametrize("row", PRICES, ids=lambda row: f"{row[0]} at {row[1]}")
def test_an_immediate_order_costs_its_bet_where_the_old_one_could_cost_more(row: Sequence[str]) -> None:
    price, tick, bet, _, _, old_cost, limit, spends, least_shares, *_ = row
    made = planned(price, tick, bet, "FAK")
    assert made.limit_price == D(limit)
    assert made.amounts.spend_usd == made.reservation.usd == made.bet_usd == D(bet) == D(spends)
    assert made.amounts.taker_base_units == D(least_shares) * 10**6
    assert made.reservation.usd <= D(old_cost)


@pytest.mark.parametrize("row", PRICES, ids=lambda row: f"{row[0]} at {row[1]}")
def test_a_resting_order_costs_its_bet_which_a_minimum_may_raise_and_rounding_never_does(
    row: Sequence[str],
) -> None:
    price, tick, bet, _, _, old_cost, limit, _, _, shares, cost, _ = row
    made = planned(price, tick, bet, "GTC")
    assert made.limit_price == D(limit)
    assert made.amounts.shares == D(shares)
    assert made.reservation.usd == D(cost) <= made.bet_usd
    assert ("raise_to_usd" in made.snapshot) == (D(cost) > D(bet))
    assert made.reservation.usd <= max(D(old_cost), D(bet) + D("0.01"))
