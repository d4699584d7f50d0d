"""Orders taken in against the rules of matching, and orders and trades that look-ups do not find yet."""

from collections.abc import AsyncIterator

import pytest

from tests.support.exchange_clients import Trader
from tests.support.exchange_wire import WireClient
from worker.sandbox.exchange.accounts import USD
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.fates import Odds
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import OrderId, OrderStatus, Side
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.trades import Fate
from worker.sandbox.exchange.units import micro

MARKET = synthetic_market("Handling")
TOKEN = MARKET.tokens[0]


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([MARKET], clock=ManualClock()) as running:
        running.quote(TOKEN, Side.SELL, "0.50", 100)
        yield running


@pytest.fixture
async def client(exchange: SimulatedExchange) -> AsyncIterator[WireClient]:
    async with WireClient.open(Trader(exchange), exchange.http_url) as opened:
        yield opened


async def struck(
    exchange: SimulatedExchange, client: WireClient, name: FaultName, order_type: str = "FAK"
) -> OrderId:
    signed = client.bid(TOKEN)
    exchange.faults.add(scripted(name))
    assert (await client.post_order(signed, order_type)).body["orderID"] == client.id_of(signed)
    return client.id_of(signed)


@pytest.mark.parametrize("name", [FaultName.LIVE_FAK, FaultName.UNMATCHED_RESTING])
async def test_a_fak_can_come_to_rest_and_stays_until_it_is_cancelled(
    exchange: SimulatedExchange, client: WireClient, name: FaultName
) -> None:
    order_id = await struck(exchange, client, name)
    exchange.advance(3_600)
    seen = (await client.order(order_id)).body
    assert (seen["status"], seen["order_type"], seen["size_matched"]) == ("LIVE", "FAK", "0")
    holding = exchange.engine.accounts.holding(client.trader.address, USD)
    assert holding.in_orders == micro(5)
    assert (await client.cancel(order_id)).body["canceled"] == [order_id]
    assert (await client.order(order_id)).body["status"] == "CANCELED"
    assert exchange.engine.accounts.holding(client.trader.address, USD).in_orders == 0
    assert await client.trades() == []


async def test_a_fak_that_rests_can_be_filled_long_after_its_answer(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    order_id = await struck(exchange, client, FaultName.LIVE_FAK)
    exchange.advance(600)
    exchange.quote(TOKEN, Side.SELL, "0.49", 4)
    (trade,) = await client.trades()
    (entry,) = trade["maker_orders"]
    assert (entry["order_id"], entry["matched_amount"], trade["trader_side"]) == (order_id, "4", "MAKER")
    exchange.quote(TOKEN, Side.SELL, "0.49", 40)
    assert (await client.order(order_id)).body["status"] == "MATCHED"
    assert exchange.engine.resting == {}


@pytest.mark.parametrize(("order_type", "status"), [("FAK", OrderStatus.CANCELED), ("GTC", OrderStatus.LIVE)])
async def test_an_unmatched_order_rests_if_its_type_does_and_is_dead_otherwise(
    exchange: SimulatedExchange, client: WireClient, order_type: str, status: OrderStatus
) -> None:
    order_id = await struck(exchange, client, FaultName.UNMATCHED, order_type)
    assert exchange.engine.orders[order_id].status is status
    assert (await client.order(order_id)).body["size_matched"] == "0"
    assert exchange.journal.accepted_ids() == [order_id]


async def test_an_unannounced_delay_ends_in_a_match(exchange: SimulatedExchange, client: WireClient) -> None:
    exchange.faults.add(scripted(FaultName.DELAYED, seconds=5))
    signed = client.bid(TOKEN)
    order_id = client.id_of(signed)
    assert (await client.post_order(signed, "FAK")).body["status"] == "delayed"
    assert "is delayed" in (await client.cancel(order_id)).body["not_canceled"][order_id]
    exchange.advance(4)
    assert (await client.order(order_id)).body["status"] == "DELAYED"
    exchange.advance(1)
    assert (await client.order(order_id)).body["status"] == "MATCHED"
    assert len(await client.trades()) == 1


@pytest.mark.parametrize("name", [FaultName.SLOW_TO_APPEAR, FaultName.SLOW_TRADES])
async def test_one_order_can_be_hidden_from_look_ups_for_a_while(
    exchange: SimulatedExchange, client: WireClient, name: FaultName
) -> None:
    other = client.bid(TOKEN)
    await client.post_order(other, "FAK")
    order_id = await struck(exchange, client, name)
    for seconds, hidden in ((0, True), (1.9, True), (0.1, False)):
        exchange.advance(seconds)
        order_hidden = hidden and name is FaultName.SLOW_TO_APPEAR
        assert (await client.order(order_id)).status == (404 if order_hidden else 200)
        assert len(await client.trades()) == (1 if hidden else 2)
        assert (await client.order(client.id_of(other))).status == 200


async def test_a_hidden_order_is_not_among_the_open_ones_but_can_be_cancelled(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    exchange.faults.add(scripted(FaultName.SLOW_TO_APPEAR))
    signed = client.bid(TOKEN, usd=4)
    await client.post_order(signed)
    assert (await client.send("GET", "/data/orders")).body["data"] == []
    assert (await client.send("DELETE", "/cancel-all")).body["canceled"] == [client.id_of(signed)]


async def test_all_look_ups_can_lag_behind(client: WireClient, exchange: SimulatedExchange) -> None:
    sight = exchange.engine.sight
    sight.orders_delay_s, sight.trades_delay_s, sight.missing_as_null = 2, 4, True
    signed = client.bid(TOKEN)
    await client.post_order(signed, "FAK")
    seen = await client.order(client.id_of(signed))
    assert (seen.status, seen.body, await client.trades()) == (200, None, [])
    exchange.advance(2)
    assert (await client.order(client.id_of(signed))).body["status"] == "MATCHED"
    assert await client.trades() == []
    exchange.advance(2)
    assert len(await client.trades()) == 1


async def test_the_rules_set_how_far_look_ups_lag_behind() -> None:
    rules = Rules(visibility_delay_s=1, trades_visibility_delay_s=2)
    async with SimulatedExchange.start(rules=rules) as exchange:
        sight = exchange.engine.sight
        assert (sight.orders_delay_s, sight.trades_delay_s, sight.missing_as_null) == (1, 2, False)


async def test_fates_are_met_by_their_odds_whatever_the_order_of_trades(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    trades = [client.trader.buy(TOKEN, "1.00", "0.50").trades[0] for _ in range(50)]
    odds = {Fate.RETRIES: 0.3, Fate.FAILS: 0.3}
    forward, backward = Odds(odds, seed=3), Odds(odds, seed=3)
    assert [forward(trade) for trade in trades] == [backward(trade) for trade in reversed(trades)][::-1]
    assert forward.met == backward.met
    assert all(forward.met[fate] > 5 for fate in (Fate.RETRIES, Fate.FAILS, Fate.SETTLES))
    assert forward.met.total() == 50


@pytest.mark.parametrize("odds", [{Fate.FAILS: 0.6, Fate.STUCK: 0.6}, {Fate.FAILS: -0.1}])
def test_odds_are_probabilities(odds: dict[Fate, float]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        Odds(odds)
