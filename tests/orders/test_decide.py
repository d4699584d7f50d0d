"""A signal becomes one order or one reason: the same case is judged the same, and each no says what it saw."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import (
    CONDITION,
    NO,
    NOW,
    YES,
    a_book,
    a_capital,
    a_holding,
    a_market,
    a_signal,
    a_strategy,
    ft_wallet_row,
    signal_row,
    strategy_row,
)
from tests.orders.draws import numbers
from tests.orders.judging import POLICY, D, aged, judge, plan, skip
from worker.orders.decide import screen
from worker.orders.evidence import evidence_of
from worker.orders.guards import edge_after_fees
from worker.orders.reasons import SkipReason
from worker.orders.signal import Malformed, parse_signal
from worker.orders.skips import Skip
from worker.orders.strategy import AllocationMethod, InvalidStrategy, Strategy, parse_strategy
from worker.orders.terms import OrderType, Side


def test_a_fresh_signal_becomes_a_plan_without_a_look_at_the_book() -> None:
    made = plan()
    assert made.token.token_id == YES
    assert made.side is Side.BUY
    assert made.order_type is OrderType.FAK
    assert (made.base_price, made.limit_price) == (D("0.50"), D("0.51"))
    assert made.bet_usd == made.reservation.usd == D("10.00")
    assert made.amounts.spend_usd == D("10.00")
    assert made.expires_at is None


def test_the_same_case_is_judged_the_same_twice() -> None:
    assert plan() == plan()


def test_the_label_chooses_the_token_whatever_its_case() -> None:
    assert plan(a_signal(token_label="no")).token.token_id == NO


def test_a_label_that_the_market_does_not_have_is_refused_and_never_guessed() -> None:
    refused = skip(a_signal(token_label="Maybe"))
    assert refused.reason is SkipReason.TOKEN_LABEL_MISMATCH
    assert (refused.value, refused.limit) == ("Maybe", "Yes | No")


def test_a_label_that_two_outcomes_share_is_refused() -> None:
    assert skip(market=a_market(labels=("Yes", "YES "))).reason is SkipReason.TOKEN_LABEL_MISMATCH


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"signal": a_signal(outcome="WON")}, SkipReason.FT_NOT_OPEN),
        ({"signal": a_signal(outcome=None)}, SkipReason.FT_NOT_OPEN),
        ({"strategy": a_strategy(ft_wallet=None)}, SkipReason.UNKNOWN_WALLET),
        ({"strategy": a_strategy(controls=["kill"])}, SkipReason.KILL_SWITCH),
        ({"strategy": a_strategy(is_active=False)}, SkipReason.STRATEGY_INACTIVE),
        ({"strategy": a_strategy(is_paused=True)}, SkipReason.STRATEGY_PAUSED),
        ({"strategy": a_strategy(shadow_mode=True)}, SkipReason.SHADOW_MODE),
        ({"strategy": a_strategy(circuit_breaker_active=True)}, SkipReason.BREAKER_ACTIVE),
        ({"signal": aged(hours=25)}, SkipReason.SIGNAL_TOO_OLD),
        ({"signal": aged(minutes=3)}, SkipReason.SIGNAL_STALE),
        ({"signal": a_signal(side="SELL"), "holdings": a_holding("0")}, SkipReason.SELL_NO_POSITION),
        (
            {
                "signal": a_signal(trader_win_rate=None, edge_pct=None),
                "strategy": a_strategy(ft_wallet=ft_wallet_row(allocation_method="KELLY")),
            },
            SkipReason.INPUT_MISSING,
        ),
        ({"policy": replace(POLICY, min_edge_after_fees=D("0.1001"))}, SkipReason.EDGE_TOO_SMALL),
        (
            {
                "signal": a_signal(trader_win_rate=None, edge_pct=None),
                "policy": replace(POLICY, min_edge_after_fees=D("0.02")),
            },
            SkipReason.EDGE_UNKNOWN,
        ),
        ({"capital": a_capital(available="0.50")}, SkipReason.INSUFFICIENT_CAPITAL),
        ({"market": a_market(closed=True, accepting=False)}, SkipReason.MARKET_CLOSED),
        ({"signal": a_signal(entry_price="0.9999")}, SkipReason.PRICE_OUT_OF_BAND),
        ({"signal": a_signal(entry_price="0.0401")}, SkipReason.NO_TICK_ROOM),
        ({"book": a_book(asks={"0.05": "100"})}, SkipReason.PRICE_MOVED),
        (
            {
                "strategy": a_strategy(ft_wallet=ft_wallet_row(bet_size="1", max_bet="1.04")),
                "market": a_market(fee_rate="0.05"),
            },
            SkipReason.BELOW_MIN_SIZE,
        ),
        ({"strategy": a_strategy(max_position_size_usd="5")}, SkipReason.MAX_POSITION_SIZE),
        ({"strategy": a_strategy(max_total_exposure_usd="5")}, SkipReason.MAX_TOTAL_EXPOSURE),
    ],
)
def test_each_no_is_final_and_says_what_it_saw(case: dict[str, Any], reason: SkipReason) -> None:
    refused = skip(**case)
    assert refused.reason is reason
    assert not refused.deferred
    assert refused.snapshot["entry_price"]
    assert refused.snapshot["available_usd"]


SMALL = {"bet_size": "1.20", "max_bet": "10.00"}


def small(order_type: str = "GTC", *, wallet: dict[str, str] | None = None, **columns: Any) -> Strategy:
    return a_strategy(order_type=order_type, ft_wallet=ft_wallet_row(**(wallet or SMALL)), **columns)


def test_a_bet_below_the_markets_minimum_is_raised_to_it_inside_every_limit() -> None:
    made = plan(strategy=small())
    assert (made.amounts.shares, made.bet_usd, made.reservation.usd) == (D(5), D("2.55"), D("2.55"))
    assert (made.snapshot["bet_usd"], made.snapshot["raise_to_usd"]) == ("1.20", "2.55")


def test_a_dollar_bet_is_raised_by_its_fee() -> None:
    made = plan(
        strategy=small("FAK", wallet={"bet_size": "1.00", "max_bet": "10.00"}),
        market=a_market(fee_rate="0.05"),
    )
    assert (made.amounts.spend_usd, made.bet_usd, made.reservation.usd) == (D(1), D("1.05"), D("1.05"))


def test_a_bet_that_is_large_enough_is_not_raised() -> None:
    assert "raise_to_usd" not in plan().snapshot


@pytest.mark.parametrize(
    ("case", "refused"),
    [
        (
            {"strategy": small(wallet={"bet_size": "1.20", "max_bet": "2.54"})},
            "above_max_order_size 2.54",
        ),
        ({"strategy": small(max_order_size_usd="2.54")}, "above_max_order_size 2.54"),
        ({"strategy": small(max_position_size_usd="2.54")}, "max_position_size 2.54"),
        (
            {"strategy": small(max_total_exposure_usd="5"), "capital": a_capital(exposure="2.46")},
            "max_total_exposure 5",
        ),
        ({"strategy": small(), "capital": a_capital(available="2.54")}, "insufficient_capital 2.54"),
    ],
)
def test_a_raise_that_any_limit_refuses_leaves_the_bet_too_small(case: dict[str, Any], refused: str) -> None:
    small_bet = skip(**case)
    assert (small_bet.reason, small_bet.value, small_bet.limit) == (
        SkipReason.BELOW_MIN_SIZE,
        "2.35 shares",
        "5 shares",
    )
    assert (small_bet.snapshot["raise_to_usd"], small_bet.snapshot["raise_refused"]) == ("2.55", refused)


def test_dust_is_never_raised_to_more_than_is_held() -> None:
    dust = skip(SELL, small(), holdings=a_holding("4.99"))
    assert dust.reason is SkipReason.BELOW_MIN_SIZE
    assert "raise_to_usd" not in dust.snapshot


def test_no_edge_is_asked_of_an_exit() -> None:
    policy = replace(POLICY, min_edge_after_fees=D("0.9"))
    assert plan(SELL, policy=policy, holdings=a_holding("20")).amounts.shares == D(20)


def test_an_unknown_method_blocks_its_own_strategy_and_no_other() -> None:
    unknown = strategy_row(strategy_id="LT_ODD", ft_wallet=ft_wallet_row(allocation_method="MARTINGALE"))
    rows = [strategy_row(strategy_id="LT_ONE"), unknown, strategy_row(strategy_id="LT_TWO")]
    answers = [screen(a_signal(), parse_strategy(row), POLICY, NOW) for row in rows]
    assert (answers[0], answers[2]) == (None, None)
    blocked = answers[1]
    assert blocked is not None
    assert blocked.reason is SkipReason.STRATEGY_INVALID
    assert "MARTINGALE" in blocked.value
    assert "KELLY" in blocked.value


def test_a_malformed_row_keeps_its_own_reason() -> None:
    malformed = parse_signal(signal_row(side=None))
    assert isinstance(malformed, Malformed)
    expected = Skip(SkipReason.UNKNOWN_SIDE, value="NULL", limit="BUY or SELL")
    assert screen(malformed, a_strategy(), POLICY, NOW) == expected


def test_an_invalid_strategy_skips_its_signals_with_its_problem() -> None:
    invalid = parse_strategy(strategy_row(order_type="MARKET"))
    assert isinstance(invalid, InvalidStrategy)
    refused = screen(a_signal(), invalid, POLICY, NOW)
    assert refused == Skip(SkipReason.STRATEGY_INVALID, value=invalid.problem)


def test_the_screen_lets_through_what_only_the_market_can_refuse() -> None:
    assert screen(a_signal(), a_strategy(), POLICY, NOW) is None


def test_a_gtd_order_states_an_expiry_that_the_exchange_accepts() -> None:
    made = plan(strategy=a_strategy(order_type="GTD"))
    assert made.expires_at == NOW + timedelta(minutes=11)  # the exchange drops it a minute early
    short = replace(POLICY, gtd_lifetime=timedelta(seconds=5))
    made = plan(strategy=a_strategy(order_type="GTD"), policy=short)
    assert made.expires_at is not None
    assert made.expires_at - NOW > timedelta(seconds=180)
    assert plan(strategy=a_strategy(order_type="GTC")).expires_at is None


SELL = a_signal(side="SELL")


def test_a_sell_without_a_position_is_never_a_buy() -> None:
    refused = skip(SELL, holdings=a_holding("0"))
    assert refused.reason is SkipReason.SELL_NO_POSITION
    assert not refused.deferred


def test_a_sell_is_not_judged_without_a_look_at_the_holdings() -> None:
    with pytest.raises(ValueError, match="holdings"):
        judge(SELL)
    assert skip(a_signal(side="SELL", token_label="?")).reason is SkipReason.TOKEN_LABEL_MISMATCH


def test_a_sell_waits_for_shares_that_are_not_settled() -> None:
    waiting = skip(SELL, holdings=a_holding("7", settled="6.99"))
    assert waiting.reason is SkipReason.POSITION_UNSETTLED
    assert waiting.deferred


def test_a_sell_gives_the_traders_part_of_the_shares_at_a_bounded_price_and_no_dollars() -> None:
    # $12.00 at 0.5015 are half of $24.00 at the same price.
    made = plan(SELL, holdings=a_holding("20", settled="16", paper_bought=str(D(24) / D("0.5015"))))
    assert made.side is Side.SELL
    assert made.amounts.shares == made.reservation.shares == D(10)
    assert made.reservation.usd == made.bet_usd == 0
    assert made.limit_price == D("0.49")
    assert (made.snapshot["part"], made.snapshot["unsold_shares"]) == ("0.50000000", "20")
    assert plan(SELL, holdings=a_holding("20")).amounts.shares == D(20)


def test_limits_and_breakers_never_block_an_exit() -> None:
    strategy = a_strategy(circuit_breaker_active=True, max_position_size_usd="0", max_total_exposure_usd="0")
    exit_plan = plan(
        SELL, strategy, capital=a_capital(available="-1", exposure="50"), holdings=a_holding("20")
    )
    assert exit_plan.amounts.shares == D(20)


def test_pause_and_kill_block_exits_too() -> None:
    held = a_holding("20")
    assert skip(SELL, a_strategy(is_paused=True), holdings=held).reason is SkipReason.STRATEGY_PAUSED
    assert skip(SELL, a_strategy(controls=["kill"]), holdings=held).reason is SkipReason.KILL_SWITCH


def test_a_snapshot_has_a_fixed_set_of_short_texts() -> None:
    crowded = a_book(asks={str(D(n) / 1000): "1" for n in range(300, 1000)}, bids={"0.2": "1"})
    seen = plan(book=crowded).snapshot
    assert len(seen) <= 32
    assert all(len(value) <= 64 for value in seen.values())
    assert seen["best_ask"] == "0.3"
    assert seen["limit_price"] == "0.51"


def test_the_skip_shows_how_far_the_judgement_came() -> None:
    assert "limit_price" in skip(strategy=a_strategy(max_position_size_usd="5")).snapshot
    assert "limit_price" not in skip(market=a_market(closed=True)).snapshot


@given(
    numbers("0.0001", "0.9999", 4),
    st.sampled_from(["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001"]),
    st.sampled_from(list(OrderType)),
    numbers("0.01", 500, 2),
    numbers(0, 1000, 2),
    numbers(0, "0.1", 3),
    numbers(0, 20, 3),
    st.sampled_from(list(AllocationMethod)),
    numbers("0.01", 200, 2),
    st.none() | numbers(-1, "0.2", 3),
)
def test_no_plan_can_cost_more_than_the_bet_the_caps_and_the_capital(
    entry: Decimal,
    tick: str,
    order_type: OrderType,
    bet: Decimal,
    available: Decimal,
    fee_rate: Decimal,
    slippage_pct: Decimal,
    method: AllocationMethod,
    max_bet: Decimal,
    least_edge: Decimal | None,
) -> None:
    strategy = a_strategy(
        order_type=order_type.value,
        slippage_tolerance_pct=str(slippage_pct),
        max_order_size_usd="100.00",
        max_position_size_usd="80.00",
        max_total_exposure_usd="90.00",
        ft_wallet=ft_wallet_row(
            bet_size=str(bet), min_bet="0.01", max_bet=str(max_bet), allocation_method=method.value
        ),
    )
    signal = a_signal(entry_price=str(entry))
    outcome = judge(
        signal,
        strategy,
        market := a_market(tick=tick, fee_rate=str(fee_rate)),
        capital=a_capital(available=str(available), exposure="15.00"),
        policy=replace(POLICY, min_edge_after_fees=least_edge),
    )
    if isinstance(outcome, Skip):
        assert outcome.reason.final
        return
    cost = outcome.reservation.usd
    assert 0 < cost <= outcome.bet_usd <= min(available, D("100.00"))
    assert outcome.bet_usd <= max(max_bet, strategy.min_order_size_usd)
    if least_edge is not None:
        assert edge_after_fees(evidence_of(signal), outcome.limit_price, market) >= least_edge
    assert cost <= D("75.00")  # the exposure cap less what is exposed; the position cap is wider
    assert outcome.limit_price % D(tick) == 0
    cap = max(outcome.base_price * (1 + strategy.slippage), outcome.base_price + D(tick))
    assert outcome.limit_price <= cap
    assert outcome.market.condition_id == CONDITION
