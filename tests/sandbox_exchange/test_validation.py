"""Every rule an order must meet, with the venue's own words when it does not."""

import dataclasses

import pytest

from tests.support.exchange_clients import Trader, refused
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import OrderType, Side, TokenId
from worker.sandbox.exchange.refusals import FAK_NO_MATCH
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.venue import Venue

BUY, SELL = Side.BUY, Side.SELL
GTC, GTD, FAK, FOK = OrderType.GTC, OrderType.GTD, OrderType.FAK, OrderType.FOK
NOW_S = 1_795_000_000
INVALID = "order {id} is invalid."
BREAKS = "breaks minimum tick size rule:"


def too_fine(kind: str, maker: int, taker: int) -> str:
    return (
        f"invalid amounts, the {kind} orders maker amount supports a max accuracy of {maker} decimals, "
        f"taker amount a max of {taker} decimals"
    )


def open_venue(market: Market, rules: Rules | None = None) -> tuple[Venue, Trader]:
    venue = Venue(Exchange([market], clock=ManualClock(NOW_S), rules=rules))
    trader = Trader(venue, usd=10_000)
    venue.backoffice.fund_shares(trader.address, market.tokens[0], 10_000_000_000)
    return venue, trader


@pytest.mark.parametrize(
    ("tick", "side", "maker", "taker", "answer"),
    [
        ("0.01", BUY, 5_250_000, 10_000_000, f"{INVALID} Price (0.525) {BREAKS} 0.01"),
        ("0.1", SELL, 10_000_000, 5_200_000, f"{INVALID} Price (0.52) {BREAKS} 0.1"),
        ("0.01", BUY, 10_000_000, 10_000_000, f"{INVALID} Price (1) {BREAKS} 0.01"),
        ("0.01", BUY, 10_000, 10_000_000, f"{INVALID} Price (0.001) {BREAKS} 0.01"),
        ("0.01", SELL, 10_000_000, 11_000_000, f"{INVALID} Price (1.1) {BREAKS} 0.01"),
        ("0.01", BUY, 561_600, 1_080_000, f"{INVALID} Size (1.08) lower than the minimum: 5"),
        ("0.01", SELL, 4_990_000, 2_594_800, f"{INVALID} Size (4.99) lower than the minimum: 5"),
        ("0.01", BUY, 5_200_520, 10_001_000, too_fine("limit buy", 4, 2)),
        ("0.001", SELL, 10_001_000, 5_250_525, too_fine("limit sell", 2, 5)),
    ],
)
def test_a_limit_order_is_judged_by_tick_size_and_precision(
    tick: str, side: Side, maker: int, taker: int, answer: str
) -> None:
    market = synthetic_market("Rules", tick=tick)
    venue, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], side, maker, taker)
    with refused(answer.format(id=venue.engine.identify(signed))):
        trader.submit(signed, GTC)


@pytest.mark.parametrize(
    ("side", "maker", "taker", "answer"),
    [
        (BUY, 10_500_000, 20_000_000, f"{INVALID} Price (0.525) {BREAKS} 0.01"),
        (BUY, 980_000, 1_884_600, "invalid amount for a marketable BUY order ($0.98), min size: $1"),
        (BUY, 9_999_000, 19_228_800, too_fine("market buy", 2, 4)),
        (BUY, 10_000_000, 19_230_769, too_fine("market buy", 2, 4)),
        (SELL, 10_001_000, 5_200_500, too_fine("market sell", 2, 4)),
    ],
)
@pytest.mark.parametrize("order_type", [FAK, FOK])
def test_a_market_order_is_judged_by_worth_tick_and_precision(
    side: Side, maker: int, taker: int, answer: str, order_type: OrderType
) -> None:
    market = synthetic_market("Rules")
    venue, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], side, maker, taker)
    with refused(answer.format(id=venue.engine.identify(signed))):
        trader.submit(signed, order_type)


@pytest.mark.parametrize(
    ("tick", "price"),
    [("0.1", "0.9"), ("0.01", "0.01"), ("0.005", "0.995"), ("0.0025", "0.5025"), ("0.0001", "0.9999")],
)
def test_every_price_on_its_grid_inside_the_bounds_is_accepted(tick: str, price: str) -> None:
    market = synthetic_market("Grid", tick=tick)
    _, trader = open_venue(market)
    assert trader.limit(market.tokens[0], BUY, price, "10.01").status == "live"


def test_a_market_order_rounded_to_four_decimals_counts_as_on_its_tick() -> None:
    market = synthetic_market("Rounded")
    venue, trader = open_venue(market)
    venue.quote(market.tokens[0], SELL, "0.52", 100)
    floored = trader.sign(market.tokens[0], BUY, 10_000_000, 19_230_700)
    assert trader.submit(floored, FAK).shares == 19_230_769


def test_shares_rounded_up_put_the_limit_a_hair_below_the_ask_and_miss_it() -> None:
    market = synthetic_market("Rounded up")
    venue, trader = open_venue(market)
    venue.quote(market.tokens[0], SELL, "0.52", 100)
    rounded_up = trader.sign(market.tokens[0], BUY, 10_000_000, 19_230_800)
    with refused(FAK_NO_MATCH):
        trader.submit(rounded_up, FAK)


def test_the_lenient_reading_allows_market_orders_as_fine_as_the_tick() -> None:
    market = synthetic_market("Fine", tick="0.001")
    venue, trader = open_venue(market, Rules(strict_market_decimals=False))
    venue.quote(market.tokens[0], SELL, "0.985", 100)
    assert trader.submit(trader.sign(market.tokens[0], BUY, 9_980_000, 10_131_970), FAK).status == "matched"


def test_a_crossing_limit_buy_is_marketable_and_must_be_worth_a_dollar() -> None:
    market = synthetic_market("Cheap")
    venue, trader = open_venue(market)
    venue.quote(market.tokens[0], SELL, "0.10", 100)
    with refused("invalid amount for a marketable BUY order ($0.5), min size: $1"):
        trader.limit(market.tokens[0], BUY, "0.10", "5")
    assert trader.limit(market.tokens[0], BUY, "0.09", "5").status == "live"


def test_a_market_order_below_five_shares_passes_unless_the_venue_is_told_otherwise() -> None:
    market = synthetic_market("Small")
    venue, trader = open_venue(market)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    assert trader.buy(market.tokens[0], "1.00", "0.50").shares == 2_000_000
    venue, trader = open_venue(market, Rules(market_orders_need_min_size=True))
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    small = trader.sign(market.tokens[0], BUY, 1_000_000, 2_000_000)
    with refused(f"order {venue.engine.identify(small)} is invalid. Size (2) lower than the minimum: 5"):
        trader.submit(small, FAK)


@pytest.mark.parametrize(
    ("order_type", "expiration_s"),
    [(GTD, NOW_S + 179), (GTD, 0), (GTC, NOW_S + 1_000), (FAK, NOW_S + 1_000)],
)
def test_only_a_gtd_order_expires_and_not_before_three_minutes(
    order_type: OrderType, expiration_s: int
) -> None:
    market = synthetic_market("Expiry")
    _, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], BUY, 5_000_000, 10_000_000, expiration_s=expiration_s)
    with refused("invalid expiration"):
        trader.submit(signed, order_type)


def test_a_post_only_order_must_not_cross() -> None:
    market = synthetic_market("Post only")
    venue, trader = open_venue(market)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    with refused("invalid post-only order: order crosses book"):
        trader.limit(market.tokens[0], BUY, "0.50", "10", post_only=True)
    assert trader.limit(market.tokens[0], BUY, "0.49", "10", post_only=True).status == "live"


@pytest.mark.parametrize("order_type", [FAK, FOK])
def test_post_only_makes_no_sense_for_orders_that_never_rest(order_type: OrderType) -> None:
    market = synthetic_market("Post only and kill")
    _, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], BUY, 5_000_000, 10_000_000)
    with refused("Invalid order payload"):
        trader.submit(signed, order_type, post_only=True)


def test_an_order_of_nothing_is_refused() -> None:
    market = synthetic_market("Nothing")
    _, trader = open_venue(market)
    with refused("Invalid order payload"):
        trader.submit(trader.sign(market.tokens[0], BUY, 5_000_000, 0), GTC)


def test_a_token_that_no_market_lists_has_no_book() -> None:
    market = synthetic_market("Listed")
    _, trader = open_venue(market)
    with refused("No orderbook exists for the requested token id", status=404):
        trader.limit(TokenId("123456"), BUY, "0.50", "10")


def test_the_same_order_again_is_a_duplicate_even_when_it_would_now_be_refused_otherwise() -> None:
    market = synthetic_market("Twice")
    venue, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], BUY, 5_000_000, 10_000_000)
    first = trader.submit(signed, GTC)
    venue.backoffice.change_tick(market.condition, 1_000)
    with refused(f"order {first.order.id} is invalid. Duplicated."):
        trader.submit(signed, GTC)


def test_an_order_with_another_expiration_is_still_the_same_order() -> None:
    market = synthetic_market("Outside the hash")
    _, trader = open_venue(market)
    signed = trader.sign(market.tokens[0], BUY, 5_000_000, 10_000_000)
    first = trader.submit(signed, GTC)
    with refused(f"order {first.order.id} is invalid. Duplicated."):
        trader.submit(dataclasses.replace(signed, expiration_s=NOW_S + 1_000), GTD)


@pytest.mark.parametrize("remembers", [False, True])
def test_a_killed_order_sent_again_executes_unless_the_venue_remembers_it(*, remembers: bool) -> None:
    market = synthetic_market("Killed")
    venue, trader = open_venue(market, Rules(remember_killed=remembers))
    signed = trader.sign(market.tokens[0], BUY, 5_000_000, 10_000_000)
    with refused(FAK_NO_MATCH):
        trader.submit(signed, FAK)
    venue.quote(market.tokens[0], SELL, "0.50", 100)
    if remembers:
        with refused(f"order {venue.engine.identify(signed)} is invalid. Duplicated."):
            trader.submit(signed, FAK)
    else:
        assert trader.submit(signed, FAK).status == "matched"


def test_a_market_that_pauses_or_closes_takes_no_orders() -> None:
    market = synthetic_market("Closing")
    venue, trader = open_venue(market)
    venue.backoffice.pause(market.condition, accepting=False)
    with refused("the market is not yet ready to process new orders"):
        trader.limit(market.tokens[0], BUY, "0.50", "10")
    venue.backoffice.close(market.condition)
    with refused(f"the orderbook {market.tokens[0]} does not exist"):
        trader.limit(market.tokens[0], BUY, "0.50", "10")


def test_a_banned_address_trades_nothing_and_a_closed_only_one_may_still_sell() -> None:
    market = synthetic_market("Restricted")
    venue, trader = open_venue(market)
    venue.engine.keys.restrict(trader.address, closed_only=True)
    with refused(f"'{trader.address}' address in closed only mode"):
        trader.limit(market.tokens[0], BUY, "0.50", "10")
    assert trader.limit(market.tokens[0], SELL, "0.50", "10").status == "live"
    venue.engine.keys.restrict(trader.address, banned=True)
    with refused(f"'{trader.address}' address banned"):
        trader.limit(market.tokens[0], SELL, "0.50", "10")
