"""The vectors of domain.md 2.5: what the executor before us made of a signal, and what this one makes of it.

The old columns are kept as they were worked out there. Ours are worked out by hand from protocol.md "Price" and
"Amounts and reservation" and go through the whole of `decide`.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.orders.builders import NOW, a_capital, a_market, a_signal, a_strategy, ft_wallet_row
from worker.orders.decide import Plan, decide
from worker.orders.policy import DecisionPolicy
from worker.orders.terms import Mode

D = Decimal


@dataclass(frozen=True)
class Old:
    """What the executor before us sent: it rounded shares up, then to 5, at a limit that it had rounded down."""

    limit: str
    shares: str
    cost: str


@dataclass(frozen=True)
class Ours:
    """FAK spends `fak_cost` for at least `fak_shares`; GTC asks for `gtc_shares` and can cost `gtc_cost`."""

    limit: str
    fak_shares: str
    fak_cost: str
    gtc_shares: str
    gtc_cost: str


# the trader's price, tick, bet; every tolerance is 3 %
VECTORS = [
    ("0.50", "0.01", "5.00", Old("0.51", "10", "5.10"), Ours("0.51", "9.8039", "5.00", "9.80", "5.00")),
    ("0.50", "0.001", "5.00", Old("0.515", "10", "5.15"), Ours("0.515", "9.7087", "5.00", "9.70", "5.00")),
    # The old limit had no tolerance left; one tick is granted.
    ("0.33", "0.01", "2.00", Old("0.33", "7", "2.31"), Ours("0.34", "5.8823", "2.00", "5.88", "2.00")),
    # As above; 16.66 shares at rest would be a hair below the exchange's dollar, so the bet is raised by a cent.
    ("0.05", "0.01", "1.00", Old("0.05", "20", "1.00"), Ours("0.06", "16.6666", "1.00", "16.67", "1.01")),
    ("0.037", "0.001", "1.00", Old("0.038", "30", "1.14"), Ours("0.038", "26.3157", "1.00", "26.32", "1.01")),
    ("0.90", "0.01", "10.00", Old("0.92", "11.25", "10.35"), Ours("0.92", "10.8695", "10.00", "10.86", "10.00")),
    # 0.4985 is no price of this market: rounded to the stricter tick. At rest the market wants 5 shares.
    ("0.4985", "0.01", "1.20", Old("0.51", "5", "2.55"), Ours("0.50", "2.4", "1.20", "5", "2.50")),
]  # fmt: skip


def planned(price: str, tick: str, bet: str, order_type: str, max_bet: str = "100.00") -> Plan:
    entry = (D(price) * D("1.003")).quantize(D("0.0001"), ROUND_HALF_UP)
    strategy = a_strategy(order_type=order_type, ft_wallet=ft_wallet_row(bet_size=bet, max_bet=max_bet))
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


@pytest.mark.parametrize(("price", "tick", "bet", "old", "ours"), VECTORS)
def test_an_immediate_order_costs_its_bet_at_a_limit_of_at_least_one_tick(
    price: str, tick: str, bet: str, old: Old, ours: Ours
) -> None:
    made = planned(price, tick, bet, "FAK")
    assert made.limit_price == D(ours.limit)
    assert made.amounts.spend_usd == made.reservation.usd == made.bet_usd == D(bet) == D(ours.fak_cost)
    assert made.amounts.taker_base_units == D(ours.fak_shares) * 10**6
    assert made.reservation.usd <= D(old.cost)
    assert D(old.limit) * D(old.shares) == D(old.cost)


@pytest.mark.parametrize(("price", "tick", "bet", "old", "ours"), VECTORS)
def test_a_resting_order_costs_at_most_its_bet_which_is_raised_to_a_minimum_and_never_by_rounding(
    price: str, tick: str, bet: str, old: Old, ours: Ours
) -> None:
    made = planned(price, tick, bet, "GTC")
    assert made.limit_price == D(ours.limit)
    assert made.amounts.shares == D(ours.gtc_shares)
    assert made.reservation.usd == D(ours.gtc_cost) <= made.bet_usd
    assert ("raise_to_usd" in made.snapshot) == (D(ours.gtc_cost) > D(bet))
    assert made.reservation.usd <= max(D(old.cost), D(bet) + D("0.01"))
