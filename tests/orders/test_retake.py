"""What is made of what an order has left: never a worse price than its cap, never more than its target and its bet."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.orders.builders import NOW, YES, a_book, a_capital, a_market, a_signal, a_strategy
from worker.orders.decide import Plan, decide
from worker.orders.market import Book, Market
from worker.orders.policy import DecisionPolicy
from worker.orders.reasons import SkipReason
from worker.orders.reprice import CallOff, Resting, call_off
from worker.orders.retake import Next, NotOffered, Remainder, RemainderPolicy, next_attempt
from worker.orders.skips import Skip
from worker.orders.terms import ConditionId, LtOrderId, Mode, OrderId, OrderType, Side

D = Decimal
PLENTY = {"0.50": "100000"}
SIGNAL = a_signal()
STRATEGY = a_strategy(slippage_tolerance_pct="3", max_order_size_usd="1000", max_position_size_usd=None)
EXTRA = D("0.04")


def a_remainder(**changes: Any) -> Remainder:
    """Six of ten dollars are left of a FAK with a cap of 0.51."""
    return replace(
        Remainder(
            lt_order_id=LtOrderId("one"),
            strategy_id=STRATEGY.strategy_id,
            mode=Mode.LIVE,
            wallet=STRATEGY.wallet_address,
            order_type=OrderType.FAK,
            side=Side.BUY,
            token_id=YES,
            base_price=D("0.50"),
            limit_price=D("0.51"),
            left=D(6),
            left_usd=D("6.20"),
            attempt_no=1,
            attempts=1,
            closed_at=NOW,
            is_off_tick=False,
            is_unsent=False,
            signal=SIGNAL,
        ),
        **changes,
    )


def what_next(remainder: Remainder, book: Book, market: Market | None = None) -> Next:
    policy = DecisionPolicy(mode=Mode.LIVE)
    return next_attempt(remainder, STRATEGY, market or a_market(), book, a_capital(), policy, EXTRA)


def a_plan(remainder: Remainder, book: Book, market: Market | None = None) -> Plan:
    plan = what_next(remainder, book, market)
    assert isinstance(plan, Plan), plan
    return plan


def test_an_offer_at_the_cap_is_taken_and_one_beyond_it_is_waited_for() -> None:
    plan = a_plan(a_remainder(), a_book(asks={"0.51": "1"}))
    assert (plan.limit_price, plan.amounts.spend_usd, plan.order_type) == (D("0.51"), D(6), OrderType.FAK)
    assert what_next(a_remainder(), a_book(asks={"0.52": "1000"})) == NotOffered(D("0.51"))
    assert what_next(a_remainder(), a_book(bids=PLENTY)) == NotOffered(D("0.51"))


def test_a_fill_or_kill_waits_for_enough_of_it() -> None:
    whole = a_remainder(order_type=OrderType.FOK)
    assert isinstance(what_next(whole, a_book(asks={"0.51": "11", "0.52": "1000"})), NotOffered)
    assert a_plan(whole, a_book(asks={"0.50": "2", "0.51": "10"})).amounts.spend_usd == D(6)
    sale = replace(whole, side=Side.SELL, limit_price=D("0.49"), left=D(12), left_usd=D(0))
    assert isinstance(what_next(sale, a_book(bids={"0.49": "11.99", "0.48": "100"})), NotOffered)
    assert a_plan(sale, a_book(bids={"0.49": "10", "0.60": "2"})).amounts.shares == D(12)


@pytest.mark.parametrize(
    ("remainder", "limit"),
    [
        (a_remainder(limit_price=D("0.515")), "0.51"),
        (a_remainder(side=Side.SELL, limit_price=D("0.485"), left=D(9), left_usd=D(0)), "0.49"),
    ],
)
def test_on_a_coarser_grid_the_cap_is_stricter(remainder: Remainder, limit: str) -> None:
    assert a_plan(remainder, a_book(asks=PLENTY, bids=PLENTY)).limit_price == D(limit)


@pytest.mark.parametrize(
    "remainder",
    [
        a_remainder(left=D("0.99")),
        a_remainder(left_usd=D("0.99")),
        a_remainder(order_type=OrderType.GTC, left=D("4.99")),
        a_remainder(side=Side.SELL, limit_price=D("0.49"), left=D("0.005"), left_usd=D(0)),
    ],
)
def test_what_the_exchange_would_not_take_stays_undone(remainder: Remainder) -> None:
    refused = what_next(remainder, a_book(asks=PLENTY, bids=PLENTY))
    assert isinstance(refused, Skip)
    assert refused.reason is SkipReason.BELOW_MIN_SIZE


def test_each_repricing_has_more_room_counted_from_the_base() -> None:
    """3 % and 4 % of 0.50 are 0.535: never what the attempt before had, and 4 % more."""
    resting = a_remainder(order_type=OrderType.GTC, left=D(10), left_usd=D(20), limit_price=D("0.51"))
    assert a_plan(resting, a_book(asks=PLENTY)).limit_price == D("0.53")
    assert a_plan(replace(resting, attempts=2), a_book(asks=PLENTY)).limit_price == D("0.55")
    assert what_next(resting, a_book(asks={"0.54": "1000"})) == NotOffered(D("0.53"))


def test_a_dearer_price_buys_fewer_shares_and_never_costs_more() -> None:
    resting = a_remainder(order_type=OrderType.GTC, left=D(10), left_usd=D("5.10"))
    plan = a_plan(resting, a_book(asks=PLENTY))
    assert (plan.amounts.shares, plan.reservation.usd) == (D("9.62"), D("5.10"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signal": a_signal(outcome="WON")}, SkipReason.FT_NOT_OPEN),
        ({"wallet": "0x" + "99" * 20}, SkipReason.WALLET_MISMATCH),
        ({"token_id": "123"}, SkipReason.TOKEN_LABEL_MISMATCH),
    ],
)
def test_what_has_changed_since_is_a_reason_to_leave_it(changes: dict[str, Any], reason: SkipReason) -> None:
    refused = what_next(a_remainder(**changes), a_book(asks=PLENTY))
    assert isinstance(refused, Skip)
    assert refused.reason is reason


@pytest.mark.parametrize("order_type", [OrderType.FAK, OrderType.GTC])
@pytest.mark.parametrize(("age", "goes_out"), [(timedelta(0), True), (timedelta(hours=20), False)])
def test_what_never_went_out_needs_the_edge_that_a_signal_of_its_age_needs(
    order_type: OrderType, age: timedelta, *, goes_out: bool
) -> None:
    policy = DecisionPolicy(mode=Mode.LIVE, min_edge_after_fees=D("0.02"), unknown_edge_passes=True)
    signal = replace(SIGNAL, trader_win_rate=None, edge_pct=None, created_at=NOW - age)
    strategy, book = replace(STRATEGY, order_type=order_type), a_book(asks=PLENTY)
    left = D(12) if order_type.rests else D(6)
    unsent = a_remainder(order_type=order_type, left=left, attempts=0, is_unsent=True, signal=signal)
    for verdict in (
        decide(signal, strategy, a_market(), book, a_capital(), policy, NOW),
        next_attempt(unsent, strategy, a_market(), book, a_capital(), policy, EXTRA),
    ):
        assert isinstance(verdict, Plan) == goes_out, verdict
        assert goes_out or (isinstance(verdict, Skip) and verdict.reason is SkipReason.EDGE_UNKNOWN)


def test_a_closed_market_and_a_halt_end_it() -> None:
    closed = what_next(a_remainder(), a_book(asks=PLENTY), a_market(closed=True))
    assert isinstance(closed, Skip)
    assert closed.reason is SkipReason.MARKET_CLOSED


cents = st.integers(min_value=100, max_value=50_000).map(lambda n: D(n) / 100)


@given(
    left=cents,
    paid=cents,
    order_type=st.sampled_from([OrderType.FAK, OrderType.FOK, OrderType.GTC]),
    rate=st.sampled_from(["0", "0.04", "0.07"]),
    price=st.integers(min_value=2, max_value=97),
)
def test_no_remainder_asks_for_more_than_is_left_of_target_and_of_bet(
    left: Decimal, paid: Decimal, order_type: OrderType, rate: str, price: int
) -> None:
    cap = D(price) / 100
    remainder = a_remainder(left=left, left_usd=paid, order_type=order_type, limit_price=cap, base_price=cap)
    result = what_next(remainder, a_book(asks={"0.01": "1000000"}), a_market(fee_rate=rate))
    if not isinstance(result, Plan):
        return
    target = result.amounts.spend_usd if result.amounts.spend_usd is not None else result.amounts.shares
    assert target is not None
    assert target <= left
    assert result.reservation.usd <= paid


def a_resting(limit: str, *, side: Side = Side.BUY, attempts: int = 1) -> Resting:
    wallet, condition = STRATEGY.wallet_address, ConditionId("0x1")
    return Resting(
        OrderId("0x2"),
        STRATEGY.strategy_id,
        Mode.LIVE,
        wallet,
        condition,
        YES,
        side,
        D(limit),
        attempts,
        None,
    )


@pytest.mark.parametrize(
    ("side", "bids", "asks", "moved"),
    [
        (Side.BUY, {"0.50": "9"}, {"0.51": "9"}, False),  # first in line, next to the offer
        (Side.BUY, {"0.50": "9"}, {"0.52": "9"}, True),
        (Side.BUY, {"0.51": "9", "0.50": "9"}, {}, True),  # others bid better
        (Side.BUY, {"0.50": "9"}, {}, False),  # nobody to follow
        (Side.SELL, {"0.49": "9"}, {"0.50": "9"}, False),
        (Side.SELL, {"0.48": "9"}, {"0.50": "9"}, True),
        (Side.SELL, {"0.48": "9"}, {"0.49": "9", "0.50": "9"}, True),
    ],
)
def test_an_order_is_left_behind_when_others_bid_better_or_the_other_side_is_away(
    side: Side, bids: dict[str, str], asks: dict[str, str], *, moved: bool
) -> None:
    why = call_off(a_resting("0.50", side=side), a_market(), a_book(bids=bids, asks=asks), reprices_most=1)
    assert why is (CallOff.REPRICE if moved else None)


def test_what_was_repriced_often_enough_comes_off_for_good() -> None:
    away = a_book(asks={"0.60": "9"})
    assert call_off(a_resting("0.50", attempts=2), a_market(), away, reprices_most=1) is CallOff.LEFT_BEHIND
    assert call_off(a_resting("0.50"), a_market(), away, reprices_most=0) is CallOff.LEFT_BEHIND


def test_a_remainder_ends_with_its_signals_freshness_or_so_long_after_the_call_off() -> None:
    policy = RemainderPolicy(3, 2, EXTRA, timedelta(minutes=5), timedelta(minutes=2), timedelta(days=1))
    assert a_remainder().until(policy) == SIGNAL.created_at + timedelta(minutes=2)
    resting = a_remainder(order_type=OrderType.GTC)
    assert resting.until(policy) == NOW + timedelta(minutes=5)
    old = replace(SIGNAL, created_at=NOW - timedelta(days=1, minutes=-1))
    assert replace(resting, signal=old).until(policy) == NOW + timedelta(minutes=1)
