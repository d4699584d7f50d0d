"""The exchange as a process of its own, and the control panel through which it is steered."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from polymarket import AsyncSecureClient
from polymarket.errors import RateLimitError, UnexpectedResponseError

from tests.support.eventually import eventually
from tests.support.exchange_clients import address_of, private_key, sdk_environment
from worker.sandbox.errors import ProcessError
from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.exchange.recording import Recording
from worker.sandbox.exchange.remote import RemoteExchange
from worker.sandbox.signals import recorded_trades


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
    other = await remote.call("market", name="Voided")
    await remote.call("void", condition=other["condition"])
    (listed,) = [m for m in await remote.read("markets") if m["condition"] == other["condition"]]
    assert (listed["closed"], listed["winner"], listed["voided"]) == (True, None, True)


async def test_the_panel_scripts_faults(remote: RemoteExchange) -> None:
    await remote.call("fault", action="answer_instead", method="GET", path="/ok", status=503)
    async with aiohttp.ClientSession() as session:
        statuses = []
        for _ in range(2):
            async with session.get(f"{remote.http_url}/ok") as response:
                statuses.append(response.status)
    assert statuses == [503, 200]


async def test_the_panel_inflicts_faults_by_name_and_counts_them(remote: RemoteExchange) -> None:
    await remote.inflict(FaultName.LOOKUP_DROPPED, times=3)
    await remote.inflict(FaultName.BAD_GATEWAY_BEFORE, times=None, probability=0.5)
    async with httpx.AsyncClient(base_url=remote.http_url, trust_env=False) as session:
        for _ in range(3):
            with pytest.raises(httpx.TransportError):
                await session.get("/data/order/0x00")
        statuses = [(await session.post("/order", content=b"{}")).status_code for _ in range(40)]
    struck = await remote.faults_struck()
    assert struck == {"lookup_dropped": 3, "bad_gateway_before": statuses.count(502)}
    assert 5 < struck["bad_gateway_before"] < 35
    await remote.call("clear-faults")
    assert await remote.faults_struck() == struck


async def test_the_panel_shuts_the_doors_and_opens_them(remote: RemoteExchange) -> None:
    async def mode() -> str:
        return str((await remote.read("state"))["mode"])

    assert await mode() == "open"
    await remote.enter(Mode.DISABLED)
    assert await mode() == "disabled"
    await remote.call("restart", seconds=3_600)
    assert await mode() == "restarting"
    await remote.call("restart", seconds=0.1, post_only_s=3_600)
    await eventually(lambda: _is(mode, "post_only"))
    await remote.call("restart", seconds=0.05, post_only_s=0.05)
    await eventually(lambda: _is(mode, "open"))


async def _is(mode: Callable[[], Awaitable[str]], wanted: str) -> bool:
    return await mode() == wanted


async def test_the_panel_limits_hides_and_fails_what_follows(remote: RemoteExchange) -> None:
    key = private_key(7)
    await remote.fund(address_of(key), 1_000)
    token = (await remote.call("market", name="Everything goes wrong"))["tokens"][0]
    await remote.quote(token, "SELL", "0.50", "100")
    await remote.call("rate-limit", errand="order", per_s=0.001, burst=1)
    await remote.call("visibility", orders_delay_s=3_600, missing_as_null=True)
    await remote.call("fates", fails=1.0, seed=1)
    client = await AsyncSecureClient.create(
        private_key="0x" + key.secret.hex(), wallet=address_of(key), environment=sdk_environment(remote)
    )
    signed = [
        await client.create_market_order(
            asset_id=token, side="BUY", amount="5", max_price="0.50", order_type="FAK"
        )
        for _ in range(2)
    ]
    answer = await client.post_order(signed[0])
    assert answer.ok
    with pytest.raises(RateLimitError):
        await client.post_order(signed[1])
    with pytest.raises(UnexpectedResponseError):
        await client.get_order(order_id=answer.order_id)
    await client.close()
    assert (await remote.read("state"))["fates"] == {"fails": 1}
    await remote.call("rate-limit", errand="order")


async def test_the_panel_stalls_garbles_and_breaks_streams(remote: RemoteExchange) -> None:
    token = (await remote.call("market", name="Noise"))["tokens"][0]
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{remote.ws_url}/ws/market") as socket,
    ):
        await socket.send_json({"assets_ids": [token], "initial_dump": False})

        async def subscribed() -> bool:
            return bool((await remote.read("state"))["market_streams"])

        await eventually(subscribed)
        await remote.call("stall", seconds=1.5)
        await socket.send_str("PING")
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.05)

        async def answers() -> bool:
            await socket.send_str("PING")
            try:
                return await socket.receive_str(timeout=0.2) == "PONG"
            except TimeoutError:
                return False

        await eventually(answers)
        await remote.call("stream-noise", channel="market", doubled=1.0)
        await remote.quote(token, "SELL", "0.60", "1")
        frames: list[str] = []
        while len(frames) < 2:
            # An answer to an earlier ping may be under way still.
            if (frame := await socket.receive_str(timeout=20)) != "PONG":
                frames.append(json.loads(frame)["event_type"])
        assert frames == ["price_change", "price_change"]
        assert (await remote.read("state"))["stream_noise"] == {"doubled": 1}
        disconnecting = asyncio.create_task(remote.call("disconnect", code=4001, channel="market"))
        assert (await socket.receive(timeout=20)).type is aiohttp.WSMsgType.CLOSE
        await disconnecting
        assert socket.close_code == 4001
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{remote.ws_url}/ws/market") as socket,
    ):
        await remote.call("disconnect", abort=True)
        assert (await socket.receive(timeout=20)).type is not aiohttp.WSMsgType.CLOSE


async def test_a_misfortune_that_makes_no_sense_is_refused(remote: RemoteExchange) -> None:
    senseless: list[tuple[str, dict[str, Any]]] = [
        ("fault", {"name": "unheard_of"}),
        ("fault", {"name": "bad_gateway_after", "seconds": 1}),
        ("fault", {"action": "distort"}),
        ("mode", {"mode": "ajar"}),
        ("fates", {"fails": 2}),
        ("stream-noise", {"lost": 0.9, "doubled": 0.9}),
        ("rate-limit", {"errand": "order", "per_s": 1}),
    ]
    for verb, body in senseless:
        with pytest.raises(aiohttp.ClientResponseError) as refusal:
            await remote.call(verb, **body)
        assert refusal.value.status == 400, (verb, body)


async def test_a_mistaken_call_is_refused_with_its_reason(remote: RemoteExchange) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as refusal:
        await remote.call("level", token="0", side="BUY", price="0.5", shares="1")
    assert refusal.value.status == 400


async def test_it_ends_when_its_owner_lets_go() -> None:
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
    with pytest.raises(ProcessError, match="invalid int value: 'many'"):
        async with RemoteExchange.spawn("--markets", "many"):
            pass


async def test_the_signals_of_a_replay_take_the_sides_of_its_prints(tmp_path: Path) -> None:
    tokens = [
        {"i": 0, "asset_id": "1" * 40, "complement": 1, "tick": 0.01},
        {"i": 1, "asset_id": "2" * 40, "complement": 0, "tick": 0.01},
    ]
    (tmp_path / Recording.TOKENS).write_text(json.dumps({"tokens": tokens}))
    printed = [(0, "A", "0.40"), (1, "B", "0.60"), (0, "B", "0.41"), (1, "A", "0.58")]
    quiet = "1000,0,B,0.3,5,0.3,0.7,P"  # the first two minutes are warm-up, whose prints are over
    prints = [
        f"{200_000 + 1000 * n},{token},{side},{price},9,0,0,T"
        for n, (token, side, price) in enumerate(printed)
    ]
    with gzip.open(tmp_path / Recording.EVENTS, "wt") as lines:
        lines.write("\n".join(["ms,token,side,price,size,best_bid,best_ask,type", quiet, *prints]) + "\n")
    # The first print comes three seconds after the start: time enough for whoever follows to be there.
    async with RemoteExchange.spawn(
        "--markets", "0", "--recording", str(tmp_path), "--speed", "25"
    ) as exchange:
        trades = recorded_trades(exchange)
        async with asyncio.timeout(20):
            followed = [await anext(trades) for _ in printed]
        await trades.aclose()
    assert [(trade.outcome, trade.side, str(trade.price)) for trade in followed] == [
        ("Yes", "SELL", "0.4"), ("No", "BUY", "0.6"), ("Yes", "BUY", "0.41"), ("No", "SELL", "0.58"),
    ]  # fmt: skip
