"""Switches that are turned while the exchange runs: its clock, its pages, its idle connections; and markets of protocol V2."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.exchange_clients import Trader
from tests.support.exchange_wire import WireClient
from worker.sandbox.exchange import OrderType, Side, SimulatedExchange, synthetic_market
from worker.sandbox.exchange.hashing import V3_EXCHANGE, exchange_of

PLAIN = synthetic_market("Plain")
POSITIONS = synthetic_market("Positions", protocol_v2=True)


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([PLAIN, POSITIONS]) as exchange:
        yield exchange


@pytest.fixture
async def client(exchange: SimulatedExchange) -> AsyncIterator[WireClient]:
    async with WireClient.open(Trader(exchange), exchange.http_url) as client:
        yield client


async def _turn(client: WireClient, verb: str, **body: object) -> dict[str, int]:
    response = await client.session.post(f"{client.url}/_sim/{verb}", json=body)
    response.raise_for_status()
    return dict(response.json())


async def _time(client: WireClient) -> int:
    return int((await client.session.get(f"{client.url}/time")).text)


async def test_a_clock_that_is_turned_is_off_on_the_wall_and_at_the_door(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    true_s = await _time(client)
    await _turn(client, "clock", offset_s=300)
    assert await _time(client) - true_s >= 300
    assert (await client.order("0x00")).status == 404  # this client goes by the exchange's clock
    assert not exchange.engine.keys._is_fresh(str(true_s))


async def test_pages_are_as_long_as_is_said(client: WireClient) -> None:
    for shares in (10, 20, 30):
        assert (await client.post_order(client.bid(PLAIN.tokens[0], shares // 2, shares))).status == 200
    await _turn(client, "visibility", page_size=2)
    page = (await client.send("GET", "/data/orders")).body
    assert (page["limit"], page["count"], page["next_cursor"] == "LTE=") == (2, 2, False)
    await _turn(client, "visibility", page_size=100)
    assert (await client.send("GET", "/data/orders")).body["count"] == 3


async def test_idle_connections_are_closed_and_the_one_in_use_is_not(client: WireClient) -> None:
    async with httpx.AsyncClient(trust_env=False) as idle:
        await idle.get(f"{client.url}/ok")
        assert (await _turn(client, "hang-up"))["closed"] >= 1
        assert (await client.session.get(f"{client.url}/ok")).status_code == 200
        assert (await idle.get(f"{client.url}/ok")).status_code == 200  # over a new one


async def test_a_market_of_protocol_v2_has_a_shorter_name_in_the_listing_and_trades_on_its_own_contract(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    short = POSITIONS.listed_as
    assert (len(short), len(POSITIONS.condition), POSITIONS.condition) == (64, 66, short + "00")
    assert PLAIN.listed_as == PLAIN.condition
    assert (await client.session.get(f"{client.url}/clob-markets/{short}")).status_code == 404
    assert (await client.session.get(f"{client.url}/clob-markets/{POSITIONS.condition}")).status_code == 200
    listed = (await client.session.get(f"{client.url}/markets", params={"condition_ids": short})).json()
    assert [(one["conditionId"], one["version"], one["positionIds"]) for one in listed] == [
        (short, "v2", list(POSITIONS.tokens))
    ]
    for token in POSITIONS.tokens:
        assert exchange_of(token, neg_risk=False) == V3_EXCHANGE
    trader = client.trader
    signed = trader.sign(POSITIONS.tokens[1], Side.BUY, 5_000_000, 10_000_000)
    assert trader.submit(signed, OrderType.GTC).status == "live"
