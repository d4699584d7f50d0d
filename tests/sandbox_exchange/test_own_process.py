"""The exchange as a process of its own, and the control panel through which it is steered."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from polymarket import AsyncSecureClient

from tests.support.eventually import eventually
from tests.support.exchange_clients import address_of, private_key, sdk_environment
from worker.sandbox.exchange.remote import RemoteExchange


@pytest.fixture
async def remote() -> AsyncIterator[RemoteExchange]:
    arguments = (
        "--markets",
        "2",
        "--looks-per-s",
        "0",
        "--mined-after-s",
        "0.05",
        "--confirmed-after-s",
        "0.05",
    )
    async with RemoteExchange.spawn(*arguments) as exchange:
        yield exchange


async def test_a_client_trades_on_it_and_the_panel_tells_what_arrived(remote: RemoteExchange) -> None:
    key = private_key(5)
    granted = await remote.fund(address_of(key), 1_000)
    assert granted["balance"] == "1000"
    market = await remote.call("market", name="Steered from outside")
    token = market["tokens"][0]
    await remote.quote(token, "SELL", "0.50", "100")
    client = await AsyncSecureClient.create(
        private_key="0x" + key.secret.hex(),
        wallet=address_of(key),
        environment=sdk_environment(remote),
    )
    signed = await client.create_market_order(
        asset_id=token, side="BUY", amount="10", max_price="0.50", order_type="FAK"
    )
    answer = await client.post_order(signed)
    await client.close()
    assert answer.ok
    (receipt,) = await remote.read("journal", order_id=answer.order_id)
    assert (receipt["outcomes"], receipt["status"]) == (["matched"], 200)
    assert await remote.read("accepted") == [answer.order_id]
    assert await remote.read("arrivals") == {answer.order_id: receipt["arrived_ns"]}
    state = await remote.read("state")
    assert (state["orders"], state["trades"], state["order_posts"]) == (1, 1, 1)


async def test_the_panel_gives_shares_takes_liquidity_and_ends_markets(remote: RemoteExchange) -> None:
    market = await remote.call("market", name="Ending", tick="0.001")
    yes, _ = market["tokens"]
    address = address_of(private_key(6))
    await remote.call("shares", address=address, token=yes, shares="25")
    await remote.call("levels", levels=[{"token": yes, "side": "BUY", "price": "0.455", "shares": "10"}])
    assert await remote.call("print", token=yes, side="SELL", price="0.4", shares="4") == {"taken": "4"}
    await remote.call("tick", condition=market["condition"], tick="0.01")
    await remote.call("resolve", condition=market["condition"], winner=yes)
    assert await remote.call("redeem", address=address, condition=market["condition"]) == {"payout": "25"}
    (listed,) = [m for m in await remote.read("markets") if m["condition"] == market["condition"]]
    assert (listed["closed"], listed["winner"], listed["tick"]) == (True, yes, "0.01")


async def test_the_panel_scripts_faults(remote: RemoteExchange) -> None:
    await remote.call("fault", action="answer_instead", method="GET", path="/ok", status=503)
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(2):
            async with session.get(f"{remote.http_url}/ok") as response:
                statuses.append(response.status)
    assert statuses == [503, 200]


async def test_a_mistaken_call_is_refused_with_its_reason(remote: RemoteExchange) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as refusal:
        await remote.call("level", token="0", side="BUY", price="0.5", shares="1")
    assert refusal.value.status == 400


async def test_it_ends_when_its_parent_lets_go() -> None:
    async with RemoteExchange.spawn("--markets", "1") as exchange:
        url = exchange.http_url
        async with aiohttp.ClientSession() as session, session.get(f"{url}/ok") as response:
            assert response.status == 200

    async def gone() -> bool:
        host, port = url.removeprefix("http://").split(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            return True
        writer.close()
        await writer.wait_closed()
        return False

    assert await eventually(gone)


async def test_an_exchange_that_cannot_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="ended at once"):
        async with RemoteExchange.spawn("--markets", "many"):
            pass
