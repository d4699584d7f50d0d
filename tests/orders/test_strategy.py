from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import WALLET, a_strategy, capital_row, ft_wallet_row, strategy_row
from worker.orders.strategy import AllocationMethod, InvalidStrategy, Strategy, parse_strategy
from worker.orders.terms import OrderType


def test_percentages_become_fractions_once() -> None:
    strategy = a_strategy(slippage_tolerance_pct="3.000")
    assert strategy.slippage == Decimal("0.03")
    assert strategy.ft_wallet is not None
    assert strategy.ft_wallet.dead_market_max_drift == Decimal("0.8")


@pytest.mark.parametrize(
    ("word", "order_type"),
    [
        ("IOC", OrderType.FAK),
        ("ioc", OrderType.FAK),
        ("FAK", OrderType.FAK),
        ("FOK", OrderType.FOK),
        ("GTC", OrderType.GTC),
        ("gtd", OrderType.GTD),
    ],
)
def test_the_strategys_order_type_is_honoured(word: str, order_type: OrderType) -> None:
    assert a_strategy(order_type=word).order_type is order_type


def test_a_limit_that_is_null_is_off_and_zero_is_a_limit() -> None:
    strategy = a_strategy(max_position_size_usd=None, max_total_exposure_usd="0")
    assert strategy.max_position_size_usd is None
    assert strategy.max_total_exposure_usd == 0


def test_a_percentage_is_a_percentage_and_a_fraction_is_a_typing_mistake() -> None:
    assert a_strategy(circuit_breaker_loss_pct=None).breaker_drawdown is None
    assert a_strategy(circuit_breaker_loss_pct="20.00").breaker_drawdown == Decimal("0.2")
    assert a_strategy(circuit_breaker_loss_pct="1.00").breaker_drawdown == Decimal("0.01")
    for mistake in ("0.10", "0", "100.01"):
        strategy = parse_strategy(strategy_row(circuit_breaker_loss_pct=mistake))
        assert isinstance(strategy, InvalidStrategy)
        assert "from 1 to 100 (20 is 20 %)" in strategy.problem


@pytest.mark.parametrize("column", ["max_consecutive_losses", "max_open_positions", "max_orders_per_minute"])
def test_a_count_is_a_whole_number_from_one_or_off(column: str) -> None:
    for value, count in ((None, None), (1, 1), ("3", 3)):
        assert getattr(a_strategy(**{column: value}), column) == count
    for mistake in (0, "1.5", -1):
        strategy = parse_strategy(strategy_row(**{column: mistake}))
        assert isinstance(strategy, InvalidStrategy)
        assert strategy.problem.startswith(column)


def test_the_wallet_address_is_lower_case() -> None:
    assert a_strategy().wallet_address == WALLET.lower()


def test_controls_of_an_operator_pause_and_kill() -> None:
    assert a_strategy(controls=["pause"]).is_paused
    assert a_strategy(controls=["kill"]).is_killed
    assert not a_strategy().is_paused
    assert not a_strategy().is_killed


def test_a_switch_that_cannot_be_read_is_off_for_trading() -> None:
    unreadable = a_strategy(is_active=None, is_paused=None, shadow_mode=None, circuit_breaker_active=None)
    assert not unreadable.is_active
    assert unreadable.is_paused
    assert unreadable.shadow_mode
    assert unreadable.breaker_active


def test_a_strategy_whose_paper_wallet_is_gone_is_valid_without_it() -> None:
    assert a_strategy(ft_wallet=None).ft_wallet is None


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"order_type": "MARKET"}, "order_type"),
        ({"order_type": None}, "order_type"),
        ({"wallet_address": "0x12"}, "wallet_address"),
        ({"wallet_address": None}, "wallet_address"),
        ({"slippage_tolerance_pct": None}, "slippage_tolerance_pct"),
        ({"slippage_tolerance_pct": "-1"}, "slippage_tolerance_pct"),
        ({"slippage_tolerance_pct": "100"}, "slippage_tolerance_pct"),
        ({"min_order_size_usd": "20", "max_order_size_usd": "10"}, "min_order_size_usd"),
        ({"max_order_size_usd": None}, "max_order_size_usd"),
        ({"max_position_size_usd": "-5"}, "max_position_size_usd"),
        ({"ft_wallet": ft_wallet_row(allocation_method="MARTINGALE")}, "allocation_method"),
        ({"ft_wallet": ft_wallet_row(bet_size="0")}, "bet_size"),
        ({"ft_wallet": ft_wallet_row(min_bet="5", max_bet="1")}, "min_bet"),
        ({"ft_wallet": ft_wallet_row(min_bet="0", max_bet="0")}, "max_bet"),
        ({"ft_wallet": ft_wallet_row(allocation_method=None)}, "allocation_method"),
        ({"ft_wallet": ft_wallet_row(kelly_fraction="25")}, "kelly_fraction"),
        ({"ft_wallet": ft_wallet_row(kelly_fraction="1.01")}, "kelly_fraction"),
        ({"ft_wallet": ft_wallet_row(kelly_fraction="-0.25")}, "kelly_fraction"),
    ],
)
def test_contradicting_settings_make_the_strategy_invalid_and_name_the_column(
    columns: dict[str, Any], named: str
) -> None:
    invalid = parse_strategy(strategy_row(**columns))
    assert isinstance(invalid, InvalidStrategy)
    assert invalid.strategy_id == "LT_FT_HIGH_CONVICTION"
    assert invalid.ft_wallet_id == "FT_HIGH_CONVICTION"
    assert named in invalid.problem


@pytest.mark.parametrize("method", list(AllocationMethod))
def test_every_method_of_the_paper_side_is_known(method: AllocationMethod) -> None:
    wallet = a_strategy(ft_wallet=ft_wallet_row(allocation_method=method.value)).ft_wallet
    assert wallet is not None
    assert wallet.allocation_method is method


def test_an_older_schema_without_the_dead_market_columns_gets_their_defaults() -> None:
    row = ft_wallet_row()
    for column in ("dead_market_guard", "dead_market_floor", "dead_market_max_drift_pct"):
        del row[column]
    wallet = a_strategy(ft_wallet=row).ft_wallet
    assert wallet is not None
    assert wallet.dead_market_guard
    assert wallet.dead_market_floor == Decimal("0.04")


def test_a_dead_market_floor_of_zero_is_zero() -> None:
    wallet = a_strategy(ft_wallet=ft_wallet_row(dead_market_floor="0")).ft_wallet
    assert wallet is not None
    assert wallet.dead_market_floor == 0


def test_capital_that_is_no_number_makes_the_strategy_invalid_and_no_other() -> None:
    for broken in (None, "NaN"):
        invalid = parse_strategy(strategy_row(capital=capital_row(available_usd=broken)))
        assert isinstance(invalid, InvalidStrategy)
        assert "available_usd" in invalid.problem


def test_a_kelly_fraction_of_nothing_is_a_quarter_as_on_the_paper_side() -> None:
    for nothing in (None, "0"):
        wallet = a_strategy(ft_wallet=ft_wallet_row(kelly_fraction=nothing)).ft_wallet
        assert wallet is not None
        assert wallet.kelly_fraction == Decimal("0.25")
    whole = a_strategy(ft_wallet=ft_wallet_row(kelly_fraction="1.00")).ft_wallet
    assert whole is not None
    assert whole.kelly_fraction == 1


JSON_VALUES: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just([]) | st.just({})
)


@given(st.sampled_from(sorted(set(strategy_row()) - {"ft_wallet", "controls", "capital"})), JSON_VALUES)
def test_no_setting_can_make_the_reader_raise(column: str, value: Any) -> None:
    assert isinstance(parse_strategy(strategy_row(**{column: value})), Strategy | InvalidStrategy)


@given(st.sampled_from(sorted(ft_wallet_row())), JSON_VALUES)
def test_no_setting_of_the_paper_wallet_can_make_the_reader_raise(column: str, value: Any) -> None:
    row = strategy_row(ft_wallet=ft_wallet_row(**{column: value}))
    assert isinstance(parse_strategy(row), Strategy | InvalidStrategy)


def test_settings_that_nobody_obeys_are_named_where_they_are_set_and_only_there() -> None:
    asked = {
        "stop_loss_pct": "5.00",
        "take_profit_pct": "20.00",
        "max_hold_hours": 0,
        "sync_ft_changes": False,
    }
    unasked = {**dict.fromkeys(asked), "sync_ft_changes": True}
    assert a_strategy(**unasked).inert == ()
    found = a_strategy(**asked).inert
    assert [(one.column, one.value) for one in found] == [
        ("stop_loss_pct", "5.00"),
        ("take_profit_pct", "20.00"),
        ("max_hold_hours", "0"),
        ("sync_ft_changes", "false"),
    ]
    assert (
        found[0].sentence
        == "stop_loss_pct = 5.00 has no effect: a position is sold only when its trader sells"
    )
