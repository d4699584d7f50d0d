from decimal import Decimal

import pytest

from tests.orders.builders import a_strategy, ft_wallet_row
from worker.orders.reasons import SkipReason
from worker.orders.sizing import bet_usd
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod

D = Decimal


def bet(
    available: str = "1000", *, least: str = "1.00", most: str = "100.00", **wallet: str
) -> Decimal | Skip:
    strategy = a_strategy(
        ft_wallet=ft_wallet_row(**wallet), min_order_size_usd=least, max_order_size_usd=most
    )
    assert strategy.ft_wallet is not None
    return bet_usd(strategy.ft_wallet, strategy, D(available))


def test_a_fixed_bet_is_its_base_times_its_weight() -> None:
    assert bet(bet_size="1.20", bet_allocation_weight="1.50") == D("1.80")


def test_the_paper_wallets_bounds_come_before_the_strategys() -> None:
    assert bet(bet_size="50", max_bet="10.00") == D("10.00")
    assert bet(bet_size="0.10", min_bet="0.50", least="0.25") == D("0.50")
    assert bet(bet_size="50", max_bet="10.00", most="8.00") == D("8.00")
    assert bet(bet_size="0.10", min_bet="0.50", least="2.00") == D("2.00")


def test_a_bet_is_whole_cents() -> None:
    assert bet(bet_size="2.47", bet_allocation_weight="0.50") == D(
        "1.24"
    )  # 1.235: half up, as the paper side
    assert bet(bet_size="3.33", bet_allocation_weight="0.55") == D("1.83")
    assert bet(bet_size="2.50", most="2.005") == D("2.00")


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


@pytest.mark.parametrize("method", [each for each in AllocationMethod if each is not AllocationMethod.FIXED])
def test_a_method_that_is_not_built_is_a_skip_and_never_another_method(method: AllocationMethod) -> None:
    assert bet(allocation_method=method.value) == Skip(
        SkipReason.UNSUPPORTED_ALLOCATION, value=method.value, limit="FIXED"
    )
