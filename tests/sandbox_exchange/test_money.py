"""Balances, reservations, fees and settlement: what an account has, and when it has it."""

from decimal import Decimal

import pytest

from tests.support.exchange_clients import Trader, refused
from worker.sandbox.exchange.accounts import ESCROW, FEES, HOUSE, USD, Holding, asset_of
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.hashing import STANDARD_EXCHANGE
from worker.sandbox.exchange.markets import FeeSchedule, Market, synthetic_market
from worker.sandbox.exchange.orders import OrderStatus, Side
from worker.sandbox.exchange.rules import Rules, SettlementDelays
from worker.sandbox.exchange.trades import Fate, TradeStatus
from worker.sandbox.exchange.units import MICRO, micro
from worker.sandbox.exchange.venue import Venue

BUY, SELL = Side.BUY, Side.SELL
DELAYS = SettlementDelays(to_mined_s=2, to_confirmed_s=3, retry_s=5)
SHORT = "not enough balance / allowance: the balance is not enough -> "


@pytest.fixture
def market() -> Market:
    return synthetic_market("Money", fees=FeeSchedule(Decimal("0.05")))


@pytest.fixture
def venue(market: Market) -> Venue:
    return Venue(Exchange([market], clock=ManualClock(), rules=Rules(settlement=DELAYS)))


def usd(venue: Venue, trader: Trader) -> Holding:
    return venue.engine.accounts.holding(trader.address, USD)


def shares(venue: Venue, trader: Trader, token: str) -> Holding:
    (market,) = venue.engine.markets.values()
    return venue.engine.accounts.holding(trader.address, asset_of(market.tokens[token == market.tokens[1]]))


@pytest.mark.parametrize(
    ("rate", "exponent", "count", "price", "fee"),
    [
        ("0.05", 1, "100", "0.50", "1.25"),
        ("0.05", 1, "14.925372", "0.67", "0.16500"),
        ("0.07", 1, "3", "0.33", "0.04643"),
        ("0.04", 2, "100", "0.50", "0.25"),
        ("0.05", 1, "0.0001", "0.10", "0"),
        ("0", 1, "100", "0.50", "0"),
    ],
)
def test_the_fee_is_the_published_formula_to_five_decimals(
    rate: str, exponent: int, count: str, price: str, fee: str
) -> None:
    schedule = FeeSchedule(Decimal(rate), exponent)
    assert schedule.fee(micro(count), int(Decimal(price) * 10_000)) == micro(fee)


def test_a_buyer_pays_the_fee_on_top_and_only_the_taker_pays(venue: Venue, market: Market) -> None:
    maker, taker = Trader(venue, 1), Trader(venue, 2)
    maker.limit(market.tokens[1], BUY, "0.50", "100")
    (trade,) = taker.buy(market.tokens[0], "50.00", "0.50").trades
    venue.advance(2)
    assert trade.fee == micro("1.25")
    assert usd(venue, taker).balance == micro(1_000 - 50) - micro("1.25")
    assert usd(venue, maker).balance == micro(1_000 - 50)
    assert venue.engine.accounts.holding(FEES, USD).balance == micro("1.25")
    assert venue.engine.accounts.holding(ESCROW, USD).balance == micro(100)


def test_a_seller_receives_the_proceeds_less_the_fee(venue: Venue, market: Market) -> None:
    taker = Trader(venue)
    venue.backoffice.fund_shares(taker.address, market.tokens[0], 100 * MICRO)
    venue.quote(market.tokens[0], BUY, "0.50", 100)
    taker.sell(market.tokens[0], "100", "0.50")
    venue.advance(2)
    assert usd(venue, taker).balance == micro(1_000) + micro("48.75")


def test_each_price_met_is_a_trade_with_its_own_fee(venue: Venue, market: Market) -> None:
    taker = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.40", 10)
    venue.quote(market.tokens[0], SELL, "0.50", 10)
    trades = taker.buy(market.tokens[0], "9.00", "0.50").trades
    assert [(t.price, t.shares, t.usd, t.fee, t.bucket_index) for t in trades] == [
        (4000, micro(10), micro(4), micro("0.12"), 0),
        (5000, micro(10), micro(5), micro("0.125"), 1),
    ]


def test_money_moves_when_the_trade_is_mined_and_is_held_until_then(venue: Venue, market: Market) -> None:
    taker = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    (trade,) = taker.buy(market.tokens[0], "50.00", "0.50").trades
    assert usd(venue, taker) == Holding(micro(1_000), 0, micro("51.25"))
    assert shares(venue, taker, market.tokens[0]).balance == 0
    assert trade.transaction_hash == ""
    venue.advance(2)
    assert usd(venue, taker) == Holding(micro("948.75"), 0, 0)
    assert shares(venue, taker, market.tokens[0]) == Holding(100 * MICRO, 0, 0)
    assert len(trade.transaction_hash) == 66
    venue.advance(3)
    assert trade.history == [TradeStatus.MATCHED, TradeStatus.MINED, TradeStatus.CONFIRMED]


def test_shares_just_bought_cannot_be_sold_before_they_are_mined(venue: Venue, market: Market) -> None:
    taker = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    venue.quote(market.tokens[0], BUY, "0.45", 100)
    taker.buy(market.tokens[0], "50.00", "0.50")
    with refused(f"{SHORT}balance: 0, order amount: 100000000"):
        taker.sell(market.tokens[0], "100", "0.45")
    venue.advance(2)
    assert taker.sell(market.tokens[0], "100", "0.45").shares == 100 * MICRO


@pytest.mark.parametrize(
    ("fate", "history", "mined"),
    [
        (Fate.SETTLES, ["MATCHED", "MINED", "CONFIRMED"], True),
        (Fate.RETRIES, ["MATCHED", "RETRYING", "MINED", "CONFIRMED"], True),
        (Fate.FAILS, ["MATCHED", "FAILED"], False),
        (Fate.FAILS_AFTER_RETRY, ["MATCHED", "RETRYING", "FAILED"], False),
        (Fate.STUCK, ["MATCHED"], None),
    ],
)
def test_a_trade_meets_the_fate_that_was_scripted(
    venue: Venue, market: Market, fate: Fate, history: list[str], *, mined: bool | None
) -> None:
    taker = Trader(venue)
    venue.engine.settlement.fate_of = lambda _: fate
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    (trade,) = taker.buy(market.tokens[0], "50.00", "0.50").trades
    venue.advance(60)
    expected = {
        True: Holding(micro("948.75"), 0, 0),
        False: Holding(micro(1_000), 0, 0),
        None: Holding(micro(1_000), 0, micro("51.25")),
    }
    assert trade.history == history
    assert usd(venue, taker) == expected[mined]
    assert shares(venue, taker, market.tokens[0]).balance == (100 * MICRO if mined else 0)


def test_open_orders_hold_money_and_give_it_back_when_cancelled(venue: Venue, market: Market) -> None:
    trader = Trader(venue, usd=100)
    order = trader.limit(market.tokens[0], BUY, "0.60", "100").order
    assert usd(venue, trader) == Holding(micro(100), micro(60), 0)
    with refused(f"{SHORT}balance: 100000000, sum of active orders: 60000000, order amount: 60000000"):
        trader.limit(market.tokens[0], BUY, "0.60", "100")
    venue.engine.cancel([order.id], trader.credentials.key)
    assert usd(venue, trader).available == micro(100)


def test_matched_orders_count_against_the_balance_until_mined(venue: Venue, market: Market) -> None:
    trader = Trader(venue, usd=100)
    venue.quote(market.tokens[0], SELL, "0.50", 1_000)
    trader.buy(market.tokens[0], "60.00", "0.50")
    trader.limit(market.tokens[0], BUY, "0.20", "50")
    with refused(
        f"{SHORT}balance: 100000000, sum of active orders: 10000000, sum of matched orders: 61500000, "
        "order amount: 30750000"
    ):
        trader.buy(market.tokens[0], "30.00", "0.50")


def test_a_market_buy_needs_its_fee_as_well(venue: Venue, market: Market) -> None:
    trader = Trader(venue, usd=50)
    venue.quote(market.tokens[0], SELL, "0.50", 1_000)
    with refused(f"{SHORT}balance: 50000000, order amount: 51250000"):
        trader.buy(market.tokens[0], "50.00", "0.50")
    assert trader.buy(market.tokens[0], "48.00", "0.50").status == "matched"


def test_without_an_allowance_there_is_no_order(venue: Venue, market: Market) -> None:
    trader = Trader(venue)
    venue.engine.accounts.set_allowance(trader.address, USD, STANDARD_EXCHANGE, 0)
    with refused(
        "not enough balance / allowance: the allowance is not enough -> "
        f"spender: {STANDARD_EXCHANGE}, allowance: 0, order amount: 5000000"
    ):
        trader.limit(market.tokens[0], BUY, "0.50", "10")


def test_a_partly_filled_resting_order_holds_only_what_is_left(venue: Venue, market: Market) -> None:
    maker, taker = Trader(venue, 1), Trader(venue, 2)
    order = maker.limit(market.tokens[0], BUY, "0.30", "100").order
    taker.buy(market.tokens[1], "7.00", "0.70")
    assert order.filled_shares == 10 * MICRO
    assert usd(venue, maker) == Holding(micro(1_000), micro(27), micro(3))


def test_winning_tokens_are_redeemed_for_a_dollar_each(venue: Venue, market: Market) -> None:
    winner, loser = Trader(venue, 1), Trader(venue, 2)
    loser.limit(market.tokens[1], BUY, "0.40", "100")
    winner.buy(market.tokens[0], "60.00", "0.60")
    resting = winner.limit(market.tokens[0], BUY, "0.10", "100").order
    venue.advance(10)
    venue.backoffice.resolve(market.condition, market.tokens[0])
    assert resting.status is OrderStatus.CANCELED_MARKET_RESOLVED
    before = usd(venue, winner).balance
    assert venue.backoffice.redeem(winner.address, market.condition) == 100 * MICRO
    assert venue.backoffice.redeem(loser.address, market.condition) == 0
    assert usd(venue, winner).balance == before + 100 * MICRO
    assert venue.engine.accounts.holding(ESCROW, USD).balance == 0


def test_either_token_of_a_voided_market_is_redeemed_for_half_a_dollar(venue: Venue, market: Market) -> None:
    one, other = Trader(venue, 1), Trader(venue, 2)
    other.limit(market.tokens[1], BUY, "0.40", "100")
    one.buy(market.tokens[0], "60.00", "0.60")
    venue.advance(10)
    venue.backoffice.void(market.condition)
    for trader in (one, other):
        before = usd(venue, trader).balance
        assert venue.backoffice.redeem(trader.address, market.condition) == 50 * MICRO
        assert usd(venue, trader).balance == before + 50 * MICRO
    assert venue.engine.accounts.holding(ESCROW, USD).balance == 0


def test_the_house_trades_without_limit_and_its_own_trades_leave_no_trace(
    venue: Venue, market: Market
) -> None:
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    assert venue.house.trade(market.tokens[0], BUY, 5_000, 40 * MICRO) == 40 * MICRO
    assert venue.house.size_at(market.tokens[0], SELL, 5_000) == 60 * MICRO
    assert venue.engine.trades == {}
    assert venue.engine.accounts.holding(HOUSE, USD) == Holding(0, 0, 0)
    assert market.last_trade_price == 5_000
