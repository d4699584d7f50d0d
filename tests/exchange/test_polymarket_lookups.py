"""Looking orders up: the order and its trades together, whatever the exchange remembers of either."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.exchange_floor import FAST_SETTLEMENT, Floor, open_floor, polymarket, prepared
from worker.errors import ExchangeRefused, ExchangeUnreachable
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.orders.lifecycle import FillState
from worker.orders.ports import OrderView
from worker.orders.terms import OrderId, OrderType, Side
from worker.sandbox.exchange import Rules
from worker.sandbox.exchange import Side as VenueSide
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.trades import Fate
from worker.sandbox.exchange.units import micro, price_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_ORDER = OrderId("0x" + "77" * 32)


async def sent(floor: Floor, exchange: PolymarketExchange, **wanted: Any) -> OrderId:
    envelope = await prepared(floor, exchange, **wanted)
    answer = await exchange.submit(envelope)
    assert answer.http_status == 200, answer
    return envelope.order_id


async def test_a_fill_is_provisional_until_its_trade_is_confirmed(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    floor.offer("0.50", "1000")
    order_id = await sent(floor, exchange)
    states: list[FillState] = []

    async def final() -> OrderView:
        view = await exchange.lookup(floor.wallet, order_id)
        states.extend(fill.state for fill in view.fills)
        assert states[-1] is FillState.FINAL
        return view

    await eventually(final)
    assert set(states) <= {FillState.PROVISIONAL, FillState.FINAL}


async def test_a_trade_that_fails_on_chain_is_reversed(floor: Floor, exchange: PolymarketExchange) -> None:
    settlement = floor.venue.engine.settlement
    before, settlement.fate_of = settlement.fate_of, lambda _: Fate.FAILS
    try:
        floor.offer("0.50", "1000")
        order_id = await sent(floor, exchange)

        async def failed() -> OrderView:
            view = await exchange.lookup(floor.wallet, order_id)
            assert {fill.state for fill in view.fills} == {FillState.REVERSED}
            return view

        await eventually(failed)
    finally:
        settlement.fate_of = before


async def test_an_order_that_others_come_to_is_filled_as_maker_at_its_own_price_without_a_fee(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    order_id = await sent(floor, exchange, limit_price="0.45", order_type=OrderType.GTC)
    floor.venue.house.trade(floor.yes, VenueSide.SELL, price_of("0.40"), micro(12))
    view = await exchange.lookup(floor.wallet, order_id)
    (fill,) = view.fills
    assert (fill.role, fill.side, fill.token_id) == ("MAKER", Side.BUY, floor.yes)
    assert (fill.price, fill.shares, fill.fee_usd) == (Decimal("0.45"), Decimal(12), Decimal(0))
    assert (view.status, view.size_matched) == ("LIVE", Decimal(12))


async def test_a_buyer_of_the_other_outcome_fills_us_at_our_own_price(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    order_id = await sent(floor, exchange, limit_price="0.45", order_type=OrderType.GTC)
    floor.venue.house.trade(floor.no, VenueSide.BUY, price_of("0.55"), micro(8))
    (fill,) = (await exchange.lookup(floor.wallet, order_id)).fills
    assert (fill.token_id, fill.side) == (floor.yes, Side.BUY)
    assert (fill.price, fill.shares) == (Decimal("0.45"), Decimal(8))


async def test_taking_the_other_outcomes_offer_is_our_own_token_and_price(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    floor.bid("0.60", "500", token=floor.no)  # whoever bids 0.60 for No offers Yes at 0.40
    order_id = await sent(floor, exchange, limit_price="0.42")
    fills = (await exchange.lookup(floor.wallet, order_id)).fills
    assert {(fill.token_id, fill.price) for fill in fills} == {(floor.yes, Decimal("0.40"))}


async def test_only_the_orders_own_trades_are_its_fills(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.offer("0.50", "1000")
    first = await sent(floor, exchange, bet_usd="10")
    second = await sent(floor, exchange, bet_usd="20")
    for order_id in (first, second):
        view = await exchange.lookup(floor.wallet, order_id)
        assert {fill.order_id for fill in view.fills} == {order_id}
        assert sum(fill.shares for fill in view.fills) == view.size_matched


async def test_a_market_that_closed_since_keeps_its_fills(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.offer("0.50", "1000")
    order_id = await sent(floor, exchange)
    floor.venue.backoffice.close(floor.condition_id)
    assert (await exchange.lookup(floor.wallet, order_id)).fills


@pytest.mark.parametrize("levels", [1, 3, 9])
async def test_every_trade_is_read_however_many_there_are(levels: int) -> None:
    rules = Rules(settlement=FAST_SETTLEMENT, page_size=2)
    prices = [f"0.4{digit}" for digit in range(levels)]
    async with open_floor(rules) as floor, polymarket(floor) as exchange:
        for price in prices:
            floor.offer(price, "5")
        order_id = await sent(floor, exchange)
        view = await exchange.lookup(floor.wallet, order_id)
    assert sorted(fill.price for fill in view.fills) == [Decimal(price) for price in prices]


async def test_looking_one_order_up_does_not_read_the_wallets_other_trades(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    floor.offer("0.50", "1000")
    orders = [await sent(floor, exchange, bet_usd="5") for _ in range(5)]
    (trade,) = (await exchange.lookup(floor.wallet, orders[2])).fills
    asked = floor.venue.journal.latest_others[-1]
    assert (asked.path, asked.query) == ("/data/trades", f"id={trade.trade_id}")


async def test_an_order_on_the_book_that_nobody_met_has_no_trades_to_be_read(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    order_id = await sent(floor, exchange, limit_price="0.45", order_type=OrderType.GTC)
    before = reads_of_trades(floor)
    view = await exchange.lookup(floor.wallet, order_id)
    assert (view.status, view.size_matched, view.fills) == ("LIVE", Decimal(0), ())
    assert reads_of_trades(floor) == before
    assert await exchange.cancel(floor.wallet, order_id)
    assert (await exchange.lookup(floor.wallet, order_id)).status == "CANCELED"
    assert reads_of_trades(floor) > before  # it is over: trades decide


def reads_of_trades(floor: Floor) -> int:
    return floor.venue.journal.counts["GET", "/data/trades"]


async def test_orders_that_are_not_found_share_the_reading_of_the_trades_that_decide() -> None:
    rules = Rules(settlement=FAST_SETTLEMENT, visibility_delay_s=60)
    async with open_floor(rules) as floor, polymarket(floor) as exchange:
        floor.offer("0.50", "1000")
        before = datetime.now(UTC)
        order_ids = [await sent(floor, exchange, bet_usd="5") for _ in range(12)]
        slow = Fault(
            action=Action.ANSWER_LATE, method="GET", path="/data/trades", seconds=0.2, times=None
        )  # long enough for the look-ups that are under way
        floor.venue.faults.add(slow)
        views = await asyncio.gather(
            *(exchange.lookup(floor.wallet, order_id, since=before) for order_id in order_ids)
        )
        reads = reads_of_trades(floor)
    assert [view.found for view in views] == [False] * len(order_ids)
    assert [{fill.order_id for fill in view.fills} for view in views] == [{one} for one in order_ids]
    assert reads <= len(order_ids) / 2


async def test_trades_that_an_order_does_not_name_are_found_all_the_same(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    for price in ("0.45", "0.46"):
        floor.offer(price, "10")
    order_id = await sent(floor, exchange)
    forgetful = floor.venue.engine.orders[order_id]  # type: ignore[index]  # the venue's own type of id
    forgotten = forgetful.trade_ids.pop()
    view = await exchange.lookup(floor.wallet, order_id)
    assert forgotten in {fill.trade_id for fill in view.fills}
    assert len(view.fills) == 2


@pytest.mark.parametrize("as_null", [False, True], ids=["404", "null"])
async def test_an_unknown_order_is_not_found_in_either_of_the_exchanges_ways_to_say_so(
    *, as_null: bool
) -> None:
    rules = Rules(settlement=FAST_SETTLEMENT, missing_order_as_null=as_null)
    async with open_floor(rules) as floor, polymarket(floor) as exchange:
        view = await exchange.lookup(floor.wallet, NO_ORDER)
    assert view == OrderView(NO_ORDER, found=False)


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "restarted"])
async def test_an_order_that_is_not_visible_yet_shows_its_trades(*, restarted: bool) -> None:
    rules = Rules(settlement=FAST_SETTLEMENT, visibility_delay_s=60)
    async with open_floor(rules) as floor:
        async with polymarket(floor) as exchange:
            floor.offer("0.50", "1000")
            order_id = await sent(floor, exchange)
            view = await exchange.lookup(floor.wallet, order_id)
        if restarted:
            async with polymarket(floor) as exchange:
                view = await exchange.lookup(floor.wallet, order_id)
    assert (view.found, view.status, view.size_matched) == (False, "", None)
    assert len(view.fills) == 1


@pytest.mark.parametrize("path", ["/data/order", "/data/trades"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(action=Action.DROP_BEFORE),
        Fault(action=Action.ANSWER_INSTEAD, status=500, body='{"error":"oops"}'),
        Fault(action=Action.ANSWER_INSTEAD, status=425),
        Fault(action=Action.ANSWER_INSTEAD, status=429),
        Fault(action=Action.ANSWER_INSTEAD, status=200, body='{"unheard":"of"}'),
        Fault(action=Action.ANSWER_INSTEAD, status=200, body="<html>", content_type="text/html"),
    ],
    ids=["dropped", "500", "425", "429", "odd", "html"],
)
async def test_a_look_up_that_was_not_answered_says_nothing_about_the_order(
    floor: Floor, exchange: PolymarketExchange, path: str, fault: Fault
) -> None:
    floor.offer("0.50", "1000")
    order_id = await sent(floor, exchange)
    fault.method, fault.path, fault.times = "GET", path, 1
    floor.venue.faults.add(fault)
    with pytest.raises(ExchangeUnreachable):
        await exchange.lookup(floor.wallet, order_id)
    assert (await exchange.lookup(floor.wallet, order_id)).found


async def test_a_look_up_that_takes_too_long_is_given_up() -> None:
    async with open_floor() as floor:
        hasty = floor.settings.model_copy(update={"read_timeout_s": 1.0})
        async with polymarket(floor, settings=hasty) as exchange:
            floor.venue.faults.add(Fault(action=Action.HANG_BEFORE, method="GET", path="/data/"))
            with pytest.raises(ExchangeUnreachable, match="TimeoutError"):
                await exchange.lookup(floor.wallet, NO_ORDER)


async def test_refused_credentials_are_a_refusal_and_not_a_missing_order(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    refusal = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/data/order", status=401)
    floor.venue.faults.add(refusal)
    with pytest.raises(ExchangeRefused, match="401"):
        await exchange.lookup(floor.wallet, NO_ORDER)


async def test_trades_that_are_not_found_say_nothing_about_a_market(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    missing = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/data/trades", status=404)
    floor.venue.faults.add(missing)
    with pytest.raises(ExchangeRefused, match="404"):
        await exchange.lookup(floor.wallet, NO_ORDER)


async def test_an_order_that_the_exchange_does_not_know_was_not_cancelled(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    missing = Fault(action=Action.ANSWER_INSTEAD, method="DELETE", path="/order", status=404)
    floor.venue.faults.add(missing)
    assert not await exchange.cancel(floor.wallet, NO_ORDER)


async def test_a_filled_order_cannot_be_cancelled(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.offer("0.50", "1000")
    order_id = await sent(floor, exchange)
    assert not await exchange.cancel(floor.wallet, order_id)


async def test_a_cancel_that_was_not_answered_is_not_a_no(floor: Floor, exchange: PolymarketExchange) -> None:
    order_id = await sent(floor, exchange, limit_price="0.40", order_type=OrderType.GTC)
    floor.venue.faults.add(Fault(action=Action.DROP_AFTER, method="DELETE", path="/order"))
    with pytest.raises(ExchangeUnreachable):
        await exchange.cancel(floor.wallet, order_id)
    assert (await exchange.lookup(floor.wallet, order_id)).status == "CANCELED"


async def test_what_stands_on_the_book_is_told_page_by_page_with_what_was_matched_of_each(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    before = await exchange.open_orders(floor.wallet)
    sight = floor.venue.engine.sight
    usual, sight.page_size = sight.page_size, 2
    try:
        resting = [
            await sent(floor, exchange, limit_price="0.45", order_type=OrderType.GTC) for _ in range(3)
        ]
        floor.venue.house.trade(floor.yes, VenueSide.SELL, price_of("0.45"), micro(12))
        assert await exchange.cancel(floor.wallet, resting[2])
        standing = await exchange.open_orders(floor.wallet)
    finally:
        sight.page_size = usual
    assert {order_id: shares for order_id, shares in standing.items() if order_id not in before} == {
        resting[0]: Decimal(12),
        resting[1]: Decimal(0),
    }
