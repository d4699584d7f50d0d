from dataclasses import replace
from decimal import Decimal

from tests.orders.builders import (
    NOW,
    a_book,
    a_capital,
    a_market,
    a_signal,
    a_strategy,
    capital_row,
    ft_wallet_row,
)
from worker.orders.evidence import evidence_of
from worker.orders.policy import DecisionPolicy
from worker.orders.snapshot import bet_seen, config_digest, state_seen

POLICY = DecisionPolicy()


def test_a_limit_that_is_off_is_blank_and_zero_is_a_limit() -> None:
    strategy = a_strategy(max_position_size_usd=None, max_total_exposure_usd="0")
    shown = state_seen(a_signal(), strategy, a_market(), a_book(asks={"0.52": "5"}), a_capital(), POLICY, NOW)
    assert (shown["max_position_size_usd"], shown["max_total_exposure_usd"]) == ("", "0")
    assert (shown["best_bid"], shown["best_ask"]) == ("", "0.52")


def test_a_bet_shows_its_inputs_and_names_those_that_its_method_assumed() -> None:
    silent = evidence_of(a_signal(trader_win_rate=None, edge_pct=None, model_probability=None))
    fixed = a_strategy().ft_wallet
    whale = a_strategy(ft_wallet=ft_wallet_row(allocation_method="WHALE")).ft_wallet
    assert fixed is not None
    assert whale is not None
    shown = bet_seen(whale, silent, a_capital(available="70", cooldown="30"))
    assert shown == {
        "method": "WHALE",
        "win_rate": "0.5",
        "edge": "0",
        "conviction": "1.50",
        "score": "0.55",
        "assumed": "model_probability trader_win_rate",
        "bankroll_usd": "100",
    }
    assert bet_seen(fixed, silent, a_capital())["assumed"] == ""  # FIXED looks at none of them


def test_the_settings_digest_changes_with_every_setting_and_never_with_the_money() -> None:
    digest = config_digest(a_strategy(), POLICY)
    assert len(digest) == 12
    assert digest == config_digest(a_strategy(capital=capital_row(available_usd="1.00")), POLICY)
    changed = {
        config_digest(a_strategy(slippage_tolerance_pct="2"), POLICY),
        config_digest(a_strategy(ft_wallet=ft_wallet_row(bet_size="11")), POLICY),
        config_digest(a_strategy(max_position_size_usd="50"), POLICY),
        config_digest(a_strategy(), replace(POLICY, min_edge_after_fees=Decimal("0.02"))),
    }
    assert digest not in changed
    assert len(changed) == 4
