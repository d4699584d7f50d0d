"""Which fills an order made, read from the exchange's trades."""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.exchange_plans import SOME_TIME, listed_market
from worker.exchange.trades import (
    fill_of,
    fill_state,
    order_status,
    orders_of,
    standing_shares,
    taker_fee_usd,
)
from worker.orders.lifecycle import FillState
from worker.orders.terms import OrderId, Side

OURS = OrderId("0x" + "11" * 32)
THEIRS = OrderId("0x" + "22" * 32)
NOBODYS = OrderId("0x" + "33" * 32)
MARKET = listed_market()


@dataclass(frozen=True)
class Entry:
    order_id: str = THEIRS
    asset_id: str = "yes"
    side: str = "SELL"
    price: Decimal = Decimal("0.52")
    matched_amount: Decimal = Decimal(10)


@dataclass(frozen=True)
class Listed:
    """A trade as the exchange states it: the taker's token, side, price and size."""

    id: str = "trade-1"
    condition_id: str = MARKET.condition_id
    taker_order_id: str = OURS
    asset_id: str = "yes"
    side: str = "BUY"
    price: Decimal = Decimal("0.52")
    size: Decimal = Decimal(10)
    status: str = "MATCHED"
    maker_orders: tuple[Entry, ...] = (Entry(),)
    matched_at: datetime = SOME_TIME


def test_as_taker_the_fill_is_the_trade_and_pays_the_fee() -> None:
    fill = fill_of(Listed(), OURS, MARKET)
    assert (fill.role, fill.side, fill.token_id) == ("TAKER", Side.BUY, "yes")
    assert (fill.price, fill.shares) == (Decimal("0.52"), Decimal(10))
    assert fill.fee_usd == Decimal("0.12480")  # 10 x 0.05 x 0.52 x 0.48


def test_as_maker_the_fill_is_our_entry_alone_and_pays_nothing() -> None:
    trade = Listed(
        taker_order_id=THEIRS,
        size=Decimal(100),
        maker_orders=(
            Entry(order_id=NOBODYS, matched_amount=Decimal(93)),
            Entry(order_id=OURS, matched_amount=Decimal(7)),
        ),
    )
    fill = fill_of(trade, OURS, MARKET)
    assert (fill.role, fill.side, fill.shares, fill.fee_usd) == ("MAKER", Side.SELL, Decimal(7), Decimal(0))


def test_when_two_buyers_of_opposite_outcomes_meet_the_makers_own_price_counts() -> None:
    entry = Entry(order_id=OURS, asset_id="no", side="BUY", price=Decimal("0.48"))
    trade = Listed(taker_order_id=THEIRS, price=Decimal("0.52"), maker_orders=(entry,))
    fill = fill_of(trade, OURS, MARKET)
    assert (fill.token_id, fill.side, fill.price) == ("no", Side.BUY, Decimal("0.48"))


def test_an_order_met_in_two_pieces_by_one_trade_is_one_fill() -> None:
    pieces = (
        Entry(order_id=OURS, matched_amount=Decimal(3)),
        Entry(order_id=OURS, matched_amount=Decimal(4)),
    )
    fill = fill_of(Listed(taker_order_id=THEIRS, maker_orders=pieces), OURS, MARKET)
    assert fill.shares == Decimal(7)


def test_a_trade_is_of_its_taker_and_its_makers_and_of_nobody_else() -> None:
    trade = Listed(maker_orders=(Entry(order_id=THEIRS),))
    assert orders_of(trade) == {OURS, THEIRS}
    with pytest.raises(ValueError, match="Expected a trade of order"):
        fill_of(trade, NOBODYS, MARKET)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("MATCHED", FillState.PROVISIONAL),
        ("MATCHED_NOT_BROADCASTED", FillState.PROVISIONAL),
        ("MINED", FillState.PROVISIONAL),
        ("RETRYING", FillState.PROVISIONAL),
        ("SOMETHING_NEW", FillState.PROVISIONAL),
        ("CONFIRMED", FillState.FINAL),
        ("TRADE_STATUS_CONFIRMED", FillState.FINAL),
        ("FAILED", FillState.REVERSED),
        ("TRADE_STATUS_FAILED", FillState.REVERSED),
    ],
)
def test_only_a_confirmed_trade_is_final_and_only_a_failed_one_is_reversed(
    status: str, state: FillState
) -> None:
    assert fill_of(replace(Listed(), status=status), OURS, MARKET).state is state
    assert fill_state(status) is state


def test_a_failed_trade_gave_an_order_nothing() -> None:
    ours_as_maker = Listed(
        taker_order_id=THEIRS, maker_orders=(Entry(order_id=OURS, matched_amount=Decimal(4)),)
    )
    assert standing_shares(Listed(), OURS) == Decimal(10)
    assert standing_shares(ours_as_maker, OURS) == Decimal(4)
    assert standing_shares(ours_as_maker, NOBODYS) == 0
    assert standing_shares(replace(Listed(), status="FAILED"), OURS) == 0


@pytest.mark.parametrize(
    ("dressed", "plain"),
    [
        ("LIVE", "LIVE"),
        ("live", "LIVE"),
        ("ORDER_STATUS_LIVE", "LIVE"),
        ("order_status_matched", "MATCHED"),
        ("CANCELED", "CANCELED"),
        ("CANCELED_MARKET_RESOLVED", "CANCELED"),
        ("ORDER_STATUS_CANCELED_EXPIRED_ORDER", "CANCELED"),
        ("INVALID", "INVALID"),
    ],
)
def test_an_orders_status_reads_the_same_however_it_is_dressed(dressed: str, plain: str) -> None:
    assert order_status(dressed) == plain


@given(
    st.decimals("0.01", "100000", places=2),
    st.decimals("0.001", "0.999", places=3),
)
def test_a_fee_is_never_negative_and_has_five_decimals(shares: Decimal, price: Decimal) -> None:
    fee = taker_fee_usd(shares, price, MARKET)
    assert fee >= 0
    assert fee == round(fee, 5)
    assert abs(fee - shares * Decimal("0.05") * price * (1 - price)) <= Decimal("0.000005")


def test_the_documented_example_of_a_fee() -> None:
    assert taker_fee_usd(Decimal(100), Decimal("0.50"), MARKET) == Decimal("1.25")


def test_a_market_without_fees_charges_none() -> None:
    free = listed_market(fee_rate=Decimal(0), fee_exponent=0)
    assert taker_fee_usd(Decimal(1000), Decimal("0.5"), free) == 0
