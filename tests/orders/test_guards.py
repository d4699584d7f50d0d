from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.orders.builders import (
    CONDITION,
    NOW,
    a_book,
    a_capital,
    a_market,
    a_signal,
    a_strategy,
    ft_wallet_row,
)
from worker.orders import guards
from worker.orders.evidence import evidence_of
from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import Mode, Side

D = Decimal


def test_the_best_price_is_found_in_any_order_of_levels_and_ghosts_are_no_offer() -> None:
    book = a_book(
        bids={"0.48": "30", "0.50": "40", "0.51": "0"}, asks={"0.54": "30", "0.52": "25", "0.515": "0"}
    )
    backwards = a_book(bids={"0.50": "40", "0.48": "30"}, asks={"0.52": "25", "0.54": "30"})
    for each in (book, backwards):
        assert guards.best_price(each, Side.BUY) == D("0.52")
        assert guards.best_price(each, Side.SELL) == D("0.50")
    assert guards.best_price(a_book(), Side.BUY) is None
    assert guards.best_price(None, Side.SELL) is None


def test_an_old_signal_needs_an_offer_inside_its_cap() -> None:
    book = a_book(bids={"0.49": "10"}, asks={"0.51": "10"})
    assert guards.offered(book, Side.BUY, D("0.51")) is None
    assert guards.offered(book, Side.BUY, D("0.50")) == Skip(SkipReason.SIGNAL_STALE, "0.51", "0.50")
    assert guards.offered(book, Side.SELL, D("0.49")) is None
    assert guards.offered(book, Side.SELL, D("0.50")) == Skip(SkipReason.SIGNAL_STALE, "0.49", "0.50")


@pytest.mark.parametrize("book", [None, a_book()])
def test_no_book_is_no_offer(book: None) -> None:
    skip = guards.offered(book, Side.BUY, D("0.99"))
    assert skip is not None
    assert skip.reason is SkipReason.SIGNAL_STALE


def collapsed(best_ask: str, base: str, **wallet: object) -> Skip | None:
    ft_wallet = a_strategy(ft_wallet=ft_wallet_row(**wallet)).ft_wallet
    assert ft_wallet is not None
    return guards.not_collapsed(a_book(asks={best_ask: "100"}), Side.BUY, D(base), ft_wallet)


def test_a_collapsed_price_is_no_bargain() -> None:
    assert collapsed("0.10", "0.50") is None  # exactly 80 % down is still inside
    assert collapsed("0.09", "0.50") == Skip(SkipReason.PRICE_MOVED, value="0.09", limit="0.1000")


def test_a_price_below_the_floor_is_dead_unless_the_trader_entered_there() -> None:
    assert collapsed("0.03", "0.05") == Skip(SkipReason.PRICE_MOVED, value="0.03", limit="0.0400")
    assert collapsed("0.03", "0.045") is None


def test_the_dead_market_guard_can_be_switched_off_and_stops_no_exit() -> None:
    assert collapsed("0.01", "0.50", dead_market_guard=False) is None
    ft_wallet = a_strategy().ft_wallet
    assert ft_wallet is not None
    assert guards.not_collapsed(a_book(bids={"0.01": "5"}), Side.SELL, D("0.5"), ft_wallet) is None


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"max_order_size_usd": "9.99"}, SkipReason.ABOVE_MAX_ORDER_SIZE),
        ({"max_position_size_usd": "9.99"}, SkipReason.MAX_POSITION_SIZE),
        ({"max_total_exposure_usd": "29.99"}, SkipReason.MAX_TOTAL_EXPOSURE),
        ({"daily_budget_usd": "9.99"}, SkipReason.DAILY_BUDGET),
    ],
)
def test_a_limit_trips_one_cent_beyond_itself(columns: dict[str, str], reason: SkipReason) -> None:
    capital = a_capital(available="50.00", exposure="20.00")
    column, ceiling = next(iter(columns.items()))
    reached = {column: str(D(ceiling) + D("0.01"))}
    assert guards.within_limits(D("10.00"), a_strategy(**reached), capital) is None
    skip = guards.within_limits(D("10.00"), a_strategy(**columns), capital)
    assert skip is not None
    assert skip.reason is reason
    assert skip.limit == ceiling


def test_available_capital_is_a_limit_too() -> None:
    assert guards.within_limits(D("10.00"), a_strategy(), a_capital(available="10.00")) is None
    skip = guards.within_limits(D("10.00"), a_strategy(), a_capital(available="9.99"))
    assert skip == Skip(SkipReason.INSUFFICIENT_CAPITAL, value="10.00", limit="9.99")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"controls": ["kill"], "is_active": False, "is_paused": True}, SkipReason.KILL_SWITCH),
        ({"is_active": False, "is_paused": True}, SkipReason.STRATEGY_PAUSED),
        ({"is_active": False, "shadow_mode": True}, SkipReason.STRATEGY_INACTIVE),
        ({"controls": ["pause"]}, SkipReason.STRATEGY_PAUSED),
        ({"shadow_mode": True, "circuit_breaker_active": True}, SkipReason.SHADOW_MODE),
        ({"controls": ["breaker"]}, SkipReason.BREAKER_ACTIVE),
        ({"circuit_breaker_active": True}, SkipReason.BREAKER_ACTIVE),
    ],
)
def test_the_strongest_switch_gives_the_reason(columns: dict[str, object], reason: SkipReason) -> None:
    skip = guards.switches(a_strategy(**columns), Side.BUY, Mode.LIVE)
    assert skip is not None
    assert skip.reason is reason


def test_a_breaker_stops_no_exit_and_a_shadow_strategy_trades_on_paper() -> None:
    assert guards.switches(a_strategy(circuit_breaker_active=True), Side.SELL, Mode.LIVE) is None
    assert guards.switches(a_strategy(shadow_mode=True), Side.BUY, Mode.PAPER) is None


def edge(
    least: str | None,
    *,
    fee: str = "0.05",
    fresh: bool = True,
    unknown_passes: bool = False,
    **signal: object,
) -> Skip | None:
    """At a limit of 0.51: win rate 0.61 - 0.51 - 0.05 · 0.51 · 0.49 = 0.087505 dollars a share."""
    policy = DecisionPolicy(
        min_edge_after_fees=None if least is None else D(least), unknown_edge_passes=unknown_passes
    )
    return guards.enough_edge(
        evidence_of(a_signal(**signal)), D("0.51"), a_market(fee_rate=fee), policy, fresh=fresh
    )


def test_an_edge_is_counted_after_fees_at_the_worst_price_and_trips_exactly_at_its_least() -> None:
    assert edge("0.087505") is None
    assert edge("0.087506") == Skip(SkipReason.EDGE_TOO_SMALL, value="0.087505", limit="0.087506")
    assert edge("0.0875", fee="0") is None
    assert edge("0.1001", fee="0") == Skip(SkipReason.EDGE_TOO_SMALL, value="0.1000", limit="0.1001")


def test_an_edge_that_is_not_asked_for_may_be_anything_and_one_of_zero_is_asked_for() -> None:
    assert edge(None, trader_win_rate="0.0100") is None
    assert edge(None, trader_win_rate=None, edge_pct=None, fresh=False) is None
    assert edge("0", trader_win_rate="0.5200") == Skip(
        SkipReason.EDGE_TOO_SMALL, value="-0.002495", limit="0"
    )


def test_an_unknown_edge_is_a_choice_for_a_fresh_signal_and_a_no_for_any_other() -> None:
    unknown = Skip(SkipReason.EDGE_UNKNOWN, value="trader_win_rate", limit="0.02")
    silent: dict[str, Any] = {"trader_win_rate": None, "edge_pct": None}
    assert edge("0.02", **silent) == unknown
    assert edge("0.02", unknown_passes=True, **silent) is None
    assert edge("0.02", unknown_passes=True, fresh=False, **silent) == unknown
    assert edge("0.02", unknown_passes=True, trader_win_rate="0.1000") is not None


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ft_wallet": ft_wallet_row(max_bet="2.54")}, SkipReason.ABOVE_MAX_ORDER_SIZE),
        ({"max_order_size_usd": "2.54"}, SkipReason.ABOVE_MAX_ORDER_SIZE),
        ({"max_position_size_usd": "2.54"}, SkipReason.MAX_POSITION_SIZE),
        ({"max_total_exposure_usd": "22.54"}, SkipReason.MAX_TOTAL_EXPOSURE),
    ],
)
def test_a_bet_is_raised_up_to_every_limit_and_not_a_cent_beyond(
    columns: dict[str, object], reason: SkipReason
) -> None:
    strategy, capital = a_strategy(**columns), a_capital(available="50.00", exposure="20.00")
    assert strategy.ft_wallet is not None
    assert guards.raisable(D("2.54"), strategy.ft_wallet, strategy, capital) is None
    refused = guards.raisable(D("2.55"), strategy.ft_wallet, strategy, capital)
    assert refused is not None
    assert refused.reason is reason


def test_a_paper_order_that_is_not_open_says_what_it_is() -> None:
    assert guards.paper_order_open(a_signal()) is None
    assert guards.paper_order_open(a_signal(outcome="WON")) == Skip(SkipReason.FT_NOT_OPEN, "WON", "OPEN")
    assert guards.paper_order_open(a_signal(outcome=None)) == Skip(SkipReason.FT_NOT_OPEN, "NULL", "OPEN")


def test_a_signal_is_too_old_a_moment_after_its_last_and_says_by_how_much() -> None:
    policy = DecisionPolicy(backfill_max_age=timedelta(hours=1))
    signal = a_signal(created_at=NOW.isoformat())
    assert guards.young_enough(signal, policy, NOW + timedelta(hours=1)) is None
    late = guards.young_enough(signal, policy, NOW + timedelta(hours=1, seconds=1, microseconds=1))
    assert late == Skip(SkipReason.SIGNAL_TOO_OLD, value="3601 s", limit="3600 s")


def test_a_market_that_cannot_be_traded_is_named() -> None:
    assert guards.tradable(a_market()) is None
    assert guards.tradable(a_market(closed=True)) == Skip(SkipReason.MARKET_CLOSED, value=CONDITION)
    assert guards.tradable(a_market(accepting=False)) == Skip(SkipReason.MARKET_NOT_READY, value=CONDITION)


def test_no_offer_is_told_with_the_limit_that_it_would_have_had_to_meet() -> None:
    assert guards.offered(None, Side.BUY, D("0.51")) == Skip(
        SkipReason.SIGNAL_STALE, "no price offered", "0.51"
    )
    assert guards.offered(a_book(asks={"0.51": "0.5"}), Side.BUY, D("0.51")) is None
    assert guards.offered(a_book(bids={"0.51": "0.5"}), Side.SELL, D("0.51")) is None


@pytest.mark.parametrize(
    ("best_ask", "base", "reason"),
    [
        ("0.04", "0.05", None),  # at the floor is not below it
        ("0.0399", "0.05", SkipReason.PRICE_MOVED),  # an entry a hundredth above the floor is one above it
        ("0.0399", "0.0499", None),  # and a hair less is not: half of that price is no collapse
        ("0.0080", "0.0400", None),  # exactly 80 % down
        ("0.0079", "0.0400", SkipReason.PRICE_MOVED),
    ],
)
def test_the_floor_and_the_drift_trip_exactly_at_their_numbers(
    best_ask: str, base: str, reason: SkipReason | None
) -> None:
    found = collapsed(best_ask, base)
    assert (found and found.reason) == reason


def test_a_raise_above_the_wallets_most_says_both_numbers() -> None:
    strategy = a_strategy(ft_wallet=ft_wallet_row(max_bet="2.54"))
    assert strategy.ft_wallet is not None
    assert guards.raisable(D("2.55"), strategy.ft_wallet, strategy, a_capital()) == Skip(
        SkipReason.ABOVE_MAX_ORDER_SIZE, value="2.55", limit="2.54"
    )


def test_a_total_exposure_is_told_with_what_is_exposed_already() -> None:
    strategy = a_strategy(max_total_exposure_usd="29.99")
    assert guards.within_limits(D("10.00"), strategy, a_capital(exposure="20.00")) == Skip(
        SkipReason.MAX_TOTAL_EXPOSURE, value="30.00", limit="29.99"
    )
