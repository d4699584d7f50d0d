"""How orders meet: time in force, price improvement, dollars against shares, complementary tokens."""

import pytest

from tests.support.exchange_clients import Trader, refused
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import OrderStatus, OrderType, Side
from worker.sandbox.exchange.refusals import FAK_NO_MATCH, FOK_NOT_FILLED, RefusedError
from worker.sandbox.exchange.units import amount_text
from worker.sandbox.exchange.venue import Venue
from worker.sandbox.exchange.wire import levels_of

BUY, SELL = Side.BUY, Side.SELL
NOW_S = 1_795_000_000


@pytest.fixture
def venue() -> Venue:
    market = synthetic_market("Matching")
    return Venue(Exchange([market], clock=ManualClock(NOW_S)))


def tokens(venue: Venue) -> tuple[str, str]:
    (market,) = venue.engine.markets.values()
    return market.tokens


def shown(venue: Venue, token: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(bids, asks) of a token, best level last."""
    (market,) = venue.engine.markets.values()
    bids, asks = levels_of(
        venue.engine.books[market.condition], market, market.tokens[token == tokens(venue)[1]]
    )
    return [(p, amount_text(s)) for p, s in bids], [(p, amount_text(s)) for p, s in asks]


def test_a_fak_buy_spends_its_dollars_and_gets_more_shares_when_the_price_is_better(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.40", 1_000)
    filled = trader.buy(yes, "10.00", "0.50")
    assert (filled.status, filled.usd, filled.shares) == ("matched", 10_000_000, 25_000_000)


def test_a_fak_buy_never_spends_more_than_its_dollars(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.67", 1_000)
    filled = trader.buy(yes, "10.00", "0.67")
    assert (amount_text(filled.usd), amount_text(filled.shares)) == ("9.999999", "14.925373")


def test_a_fak_takes_what_is_there_within_its_limit_and_drops_the_rest(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.50", 10)
    venue.quote(yes, SELL, "0.52", 10)
    filled = trader.buy(yes, "100.00", "0.51")
    assert (filled.usd, filled.shares) == (5_000_000, 10_000_000)
    assert filled.order.status is OrderStatus.MATCHED
    assert shown(venue, yes) == ([], [(5200, "10")])
    assert venue.engine.open_orders(trader.credentials.key) == []


def test_a_fak_that_meets_nobody_is_killed_with_its_id(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.52", 10)
    signed = trader.sign(yes, BUY, 10_200_000, 20_000_000)
    with pytest.raises(RefusedError) as refusal:
        trader.submit(signed, OrderType.FAK)
    assert (refusal.value.text, refusal.value.order_id) == (FAK_NO_MATCH, venue.engine.identify(signed))
    assert venue.engine.visible_order(venue.engine.identify(signed), trader.credentials.key) is None


def test_a_fok_is_filled_as_a_whole_or_not_at_all(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.50", 10)
    with refused(FOK_NOT_FILLED):
        trader.buy(yes, "5.01", "0.50", order_type=OrderType.FOK)
    assert shown(venue, yes)[1] == [(5000, "10")]
    assert trader.buy(yes, "5.00", "0.50", order_type=OrderType.FOK).shares == 10_000_000
    assert shown(venue, yes)[1] == []


def test_a_fak_sell_sells_shares_at_its_limit_or_better(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.backoffice.fund_shares(trader.address, yes, 100_000_000)
    venue.quote(yes, BUY, "0.55", 30)
    venue.quote(yes, BUY, "0.50", 30)
    filled = trader.sell(yes, "100", "0.50")
    assert (filled.shares, filled.usd) == (60_000_000, 31_500_000)
    assert [trade.price for trade in filled.trades] == [5500, 5000]


def test_a_gtc_buy_takes_shares_at_better_prices_and_rests_the_remainder_at_its_own(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.40", 10)
    accepted = trader.limit(yes, BUY, "0.50", "25")
    assert (accepted.status, accepted.shares, accepted.usd) == ("matched", 10_000_000, 4_000_000)
    assert accepted.order.status is OrderStatus.LIVE
    assert shown(venue, yes) == ([(5000, "15")], [])


def test_within_a_level_the_first_to_come_is_the_first_served(venue: Venue) -> None:
    yes, _ = tokens(venue)
    early, late, taker = Trader(venue, 1), Trader(venue, 2), Trader(venue, 3)
    venue.backoffice.fund_shares(taker.address, yes, 100_000_000)
    first = early.limit(yes, BUY, "0.50", "10").order
    second = late.limit(yes, BUY, "0.50", "10").order
    taker.sell(yes, "15", "0.50")
    assert (first.filled_shares, second.filled_shares) == (10_000_000, 5_000_000)
    assert (first.status, second.status) == (OrderStatus.MATCHED, OrderStatus.LIVE)


def test_the_better_price_is_met_first_whoever_came_first(venue: Venue) -> None:
    yes, _ = tokens(venue)
    early, late, taker = Trader(venue, 1), Trader(venue, 2), Trader(venue, 3)
    venue.backoffice.fund_shares(taker.address, yes, 100_000_000)
    worse = early.limit(yes, BUY, "0.49", "10").order
    better = late.limit(yes, BUY, "0.50", "10").order
    taker.sell(yes, "10", "0.40")
    assert (worse.filled_shares, better.filled_shares) == (0, 10_000_000)


def test_buying_yes_meets_buying_no_and_a_set_is_minted(venue: Venue) -> None:
    yes, no = tokens(venue)
    maker, taker = Trader(venue, 1), Trader(venue, 2)
    resting = maker.limit(no, BUY, "0.40", "10").order
    assert shown(venue, yes) == ([], [(6000, "10")])
    filled = taker.buy(yes, "6.00", "0.60")
    (trade,) = filled.trades
    assert (trade.price, trade.usd, trade.fills[0].maker_usd) == (6000, 6_000_000, 4_000_000)
    assert resting.status is OrderStatus.MATCHED


def test_selling_yes_meets_selling_no_and_a_set_is_merged(venue: Venue) -> None:
    yes, no = tokens(venue)
    maker, taker = Trader(venue, 1), Trader(venue, 2)
    venue.backoffice.fund_shares(maker.address, no, 10_000_000)
    venue.backoffice.fund_shares(taker.address, yes, 10_000_000)
    maker.limit(no, SELL, "0.40", "10")
    assert shown(venue, yes) == ([(6000, "10")], [])
    filled = taker.sell(yes, "10", "0.60")
    assert (filled.usd, filled.trades[0].fills[0].maker_usd) == (6_000_000, 4_000_000)


def test_the_secondary_token_shows_the_mirrored_book(venue: Venue) -> None:
    yes, no = tokens(venue)
    venue.quote(yes, SELL, "0.60", 10)
    venue.quote(yes, BUY, "0.55", 20)
    assert shown(venue, no) == ([(4000, "10")], [(4500, "20")])


def test_a_gtd_order_dies_a_minute_before_it_says(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    order = trader.limit(yes, BUY, "0.50", "10", order_type=OrderType.GTD, expiration_s=NOW_S + 300).order
    venue.advance(239)
    assert venue.engine.open_orders(trader.credentials.key) == [order]
    venue.advance(1)
    assert order.status is OrderStatus.CANCELED
    assert shown(venue, yes) == ([], [])


def test_a_resting_order_is_cancelled_once_and_a_matched_one_never(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader, stranger = Trader(venue, 1), Trader(venue, 2)
    order = trader.limit(yes, BUY, "0.50", "10").order
    venue.quote(yes, SELL, "0.60", 100)
    matched = trader.buy(yes, "5.00", "0.60").order
    cancel = venue.engine.cancel
    assert cancel([order.id], stranger.credentials.key).not_canceled == {
        order.id: "Order not found or already canceled"
    }
    answer = cancel([order.id, matched.id], trader.credentials.key)
    assert answer.canceled == [order.id]
    assert answer.not_canceled == {matched.id: "Order already matched"}
    assert cancel([order.id], trader.credentials.key).not_canceled == {
        order.id: "Order not found or already canceled"
    }


def test_a_sports_order_is_delayed_then_matched_and_not_cancellable_meanwhile() -> None:
    market = synthetic_market("Match day", seconds_delay=3.0)
    venue = Venue(Exchange([market], clock=ManualClock(NOW_S)))
    trader = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    accepted = trader.buy(market.tokens[0], "10.00", "0.50")
    assert (accepted.status, accepted.trades) == ("delayed", ())
    assert venue.engine.cancel([accepted.order.id], trader.credentials.key).canceled == []
    venue.advance(3)
    assert accepted.order.status is OrderStatus.MATCHED
    assert accepted.order.filled_shares == 20_000_000


def test_a_delayed_order_that_no_longer_matches_ends_cancelled() -> None:
    market = synthetic_market("Goal", seconds_delay=3.0)
    venue = Venue(Exchange([market], clock=ManualClock(NOW_S)))
    trader = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    accepted = trader.buy(market.tokens[0], "10.00", "0.50")
    venue.quote(market.tokens[0], SELL, "0.50", 0)
    venue.advance(3)
    assert accepted.order.status is OrderStatus.CANCELED


def test_a_delayed_limit_order_that_no_longer_crosses_rests() -> None:
    market = synthetic_market("Kick-off", seconds_delay=3.0)
    venue = Venue(Exchange([market], clock=ManualClock(NOW_S)))
    trader = Trader(venue)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    accepted = trader.limit(market.tokens[0], BUY, "0.50", "10")
    venue.quote(market.tokens[0], SELL, "0.50", 0)
    venue.advance(3)
    assert (accepted.status, accepted.order.status) == ("delayed", OrderStatus.LIVE)
    assert venue.engine.open_orders(trader.credentials.key) == [accepted.order]


def test_a_delayed_order_without_money_at_the_end_vanishes() -> None:
    market = synthetic_market("Broke", seconds_delay=3.0)
    venue = Venue(Exchange([market], clock=ManualClock(NOW_S)))
    trader = Trader(venue, usd=20)
    venue.quote(market.tokens[0], SELL, "0.50", 1_000)
    first = trader.buy(market.tokens[0], "15.00", "0.50").order
    second = trader.buy(market.tokens[0], "15.00", "0.50").order
    venue.advance(3)
    assert first.status is OrderStatus.MATCHED
    assert venue.engine.visible_order(second.id, trader.credentials.key) is None


def test_a_house_level_that_crosses_trades_with_users_and_replaces_stale_levels(venue: Venue) -> None:
    yes, _ = tokens(venue)
    trader = Trader(venue)
    venue.quote(yes, SELL, "0.60", 50)
    mine = trader.limit(yes, BUY, "0.50", "10").order
    venue.quote(yes, SELL, "0.45", 25)
    assert mine.status is OrderStatus.MATCHED
    assert shown(venue, yes) == ([], [(6000, "50"), (4500, "15")])
    venue.quote(yes, BUY, "0.45", 5)
    assert shown(venue, yes) == ([(4500, "5")], [(6000, "50")])


def test_closing_a_market_takes_every_order_off(venue: Venue) -> None:
    yes, no = tokens(venue)
    trader = Trader(venue)
    order = trader.limit(no, BUY, "0.30", "10").order
    venue.quote(yes, SELL, "0.60", 50)
    venue.backoffice.close(order.condition)
    assert order.status is OrderStatus.CANCELED_MARKET_RESOLVED
    assert shown(venue, yes) == ([], [])
