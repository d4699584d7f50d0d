"""The WebSocket channels, spoken to directly: subscriptions, heartbeats, bad credentials, misbehaviour."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.eventually import eventually
from tests.support.exchange_clients import Trader
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.stream_noise import Misfortune, StreamNoise

FIRST, SECOND = synthetic_market("First stream"), synthetic_market("Second stream")
YES, NO = FIRST.tokens


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([FIRST, SECOND]) as running:
        running.quote(YES, Side.SELL, "0.60", 100)
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def heard(socket: aiohttp.ClientWebSocketResponse) -> Any:
    async with asyncio.timeout(20):
        return json.loads(await socket.receive_str())


def user_frame(trader: Trader, **more: Any) -> dict[str, Any]:
    credentials = trader.credentials
    auth = {
        "apiKey": credentials.key,
        "secret": credentials.secret,
        "passphrase": credentials.passphrase,
    }
    return {"type": "user", "auth": auth, **more}


async def test_a_text_ping_is_answered_by_a_text_pong(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_str("PING")
        assert await socket.receive_str() == "PONG"


async def test_bad_credentials_end_the_connection(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/user") as socket:
        await socket.send_json({"type": "user", "auth": {"apiKey": "x", "secret": "y", "passphrase": "z"}})
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4001


async def test_a_user_hears_of_own_orders_in_the_markets_asked_for(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    trader, stranger = Trader(exchange, 1), Trader(exchange, 2)
    async with session.ws_connect(f"{exchange.ws_url}/ws/user") as socket:
        await socket.send_json(user_frame(trader, markets=[SECOND.condition]))
        await eventually(lambda: exchange.streams.count("user") == 1)
        stranger.limit(SECOND.tokens[0], Side.BUY, "0.40", "10")
        trader.limit(YES, Side.BUY, "0.40", "10")
        order = trader.limit(SECOND.tokens[0], Side.BUY, "0.40", "10").order
        event = await heard(socket)
        assert (event["event_type"], event["type"], event["id"]) == ("order", "PLACEMENT", order.id)
        assert (event["status"], event["original_size"], event["size_matched"]) == ("LIVE", "10", "0")
        await socket.send_json({"operation": "subscribe", "markets": [FIRST.condition]})
        await socket.send_str("PING")
        assert await socket.receive_str() == "PONG"
        trader.limit(NO, Side.BUY, "0.30", "10")
        assert (await heard(socket))["asset_id"] == NO


async def test_a_maker_hears_its_fill_and_its_role(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    maker, taker = Trader(exchange, 1), Trader(exchange, 2)
    async with session.ws_connect(f"{exchange.ws_url}/ws/user") as socket:
        await socket.send_json(user_frame(maker))
        await eventually(lambda: exchange.streams.count("user") == 1)
        order = maker.limit(NO, Side.BUY, "0.50", "10").order
        taker.buy(YES, "5.00", "0.50")
        placed, updated, trade = [await heard(socket) for _ in range(3)]
    assert (placed["type"], updated["type"], updated["size_matched"]) == ("PLACEMENT", "UPDATE", "10")
    assert (trade["status"], trade["trader_side"], trade["asset_id"]) == ("MATCHED", "MAKER", YES)
    (mine,) = [entry for entry in trade["maker_orders"] if entry["order_id"] == order.id]
    assert (mine["asset_id"], mine["price"], mine["matched_amount"], mine["side"]) == (NO, "0.5", "10", "BUY")
    assert trade["transaction_hash"] is None


async def test_a_killed_order_is_told_with_empty_numbers(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    trader = Trader(exchange)
    async with session.ws_connect(f"{exchange.ws_url}/ws/user") as socket:
        await socket.send_json(user_frame(trader))
        await eventually(lambda: exchange.streams.count("user") == 1)
        with pytest.raises(Exception, match="no orders found"):
            trader.buy(YES, "5.00", "0.50")
        event = await heard(socket)
    assert (event["type"], event["size_matched"], event["created_at"]) == ("CANCELLATION", "", "")
    assert event["status"].startswith("CANCELED_no orders found to match")


async def test_a_market_subscription_begins_with_books_and_follows_its_tokens_only(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"type": "market", "assets_ids": [NO]})
        (book,) = await heard(socket)
        assert (book["event_type"], book["asset_id"]) == ("book", NO)
        assert book["bids"] == [{"price": "0.4", "size": "100"}]
        exchange.quote(SECOND.tokens[0], Side.SELL, "0.70", 5)
        exchange.quote(YES, Side.SELL, "0.60", 0)
        change = await heard(socket)
        assert change["event_type"] == "price_change"
        (mine,) = [entry for entry in change["price_changes"] if entry["asset_id"] == NO]
        assert (mine["side"], mine["price"], mine["size"]) == ("BUY", "0.4", "0")
        assert (mine["best_bid"], mine["best_ask"]) == ("0", "1")
        await socket.send_json({"operation": "unsubscribe", "assets_ids": [NO]})
        await eventually(lambda: exchange.streams.count("market") == 0)


async def test_a_resolution_is_told_to_those_who_asked_for_custom_features(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"assets_ids": [YES], "custom_feature_enabled": True, "initial_dump": False})
        await eventually(lambda: exchange.streams.count("market") == 1)
        exchange.backoffice.resolve(FIRST.condition, YES)
        cleared, resolved = [await heard(socket) for _ in range(2)]
    assert (cleared["event_type"], resolved["event_type"]) == ("price_change", "market_resolved")
    assert (resolved["winning_asset_id"], resolved["winning_outcome"]) == (YES, "Yes")


async def test_frames_can_be_repeated_or_lost(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"assets_ids": [YES], "initial_dump": False})
        await eventually(lambda: exchange.streams.count("market") == 1)
        exchange.streams.noise.make("market", doubled=1)
        exchange.quote(YES, Side.SELL, "0.61", 1)
        assert await heard(socket) == await heard(socket)
        exchange.streams.noise.make("market", lost=1)
        exchange.quote(YES, Side.SELL, "0.62", 1)
        exchange.streams.noise.make("market")
        exchange.quote(YES, Side.SELL, "0.63", 1)
        assert (await heard(socket))["price_changes"][0]["price"] == "0.63"


async def test_a_frame_can_be_overtaken_by_later_ones(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"assets_ids": [YES], "initial_dump": False})
        await eventually(lambda: exchange.streams.count("market") == 1)
        exchange.streams.noise.make("market", overtaken=1)
        exchange.quote(YES, Side.SELL, "0.61", 1)
        exchange.streams.noise.make("market")
        exchange.quote(YES, Side.SELL, "0.62", 1)
        prices = [(await heard(socket))["price_changes"][0]["price"] for _ in range(2)]
    assert prices == ["0.62", "0.61"]
    assert exchange.streams.noise.struck == {"overtaken": 1}


async def test_noise_on_one_channel_leaves_the_other_alone(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    trader = Trader(exchange)
    exchange.streams.noise.make("user", lost=1)
    async with (
        session.ws_connect(f"{exchange.ws_url}/ws/market") as market,
        session.ws_connect(f"{exchange.ws_url}/ws/user") as user,
    ):
        await market.send_json({"assets_ids": [SECOND.tokens[0]], "initial_dump": False})
        await user.send_json(user_frame(trader))
        await eventually(lambda: (exchange.streams.count("market"), exchange.streams.count("user")) == (1, 1))
        trader.limit(SECOND.tokens[0], Side.BUY, "0.40", "10")
        assert (await heard(market))["event_type"] == "price_change"
        with pytest.raises(TimeoutError):
            await user.receive(timeout=0.1)
    assert exchange.streams.noise.struck == {"lost": 1}


def test_noise_strikes_as_often_as_it_says_and_alike_for_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        noise = StreamNoise(seed=11)
        noise.make("user", lost=0.2, doubled=0.2, overtaken=0.2)
        runs.append([noise.delays_s("user") for _ in range(500)])
        assert all(60 < noise.struck[misfortune] < 140 for misfortune in Misfortune)
    assert runs[0] == runs[1]
    with pytest.raises(ValueError, match="add up to 1"):
        StreamNoise().make("user", lost=0.7, doubled=0.7)


async def test_a_stream_can_break_without_a_close_frame(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with (
        session.ws_connect(f"{exchange.ws_url}/ws/market") as market,
        session.ws_connect(f"{exchange.ws_url}/ws/user") as user,
    ):
        await market.send_json({"assets_ids": [YES], "initial_dump": False})
        await user.send_json(user_frame(Trader(exchange)))
        await eventually(lambda: (exchange.streams.count("market"), exchange.streams.count("user")) == (1, 1))
        exchange.streams.abort(channel="user")
        async with asyncio.timeout(20):
            broken = await user.receive()
        assert broken.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
        assert user.close_code in {None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE}
        await eventually(lambda: exchange.streams.count("user") == 0)
        assert exchange.streams.count("market") == 1


async def test_a_stalled_stream_stays_open_and_says_nothing(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        exchange.streams.stalled = True
        await socket.send_str("PING")
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.1)
        assert not socket.closed


async def test_the_venue_can_close_its_streams(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"assets_ids": [YES], "initial_dump": False})
        await eventually(lambda: exchange.streams.count("market") == 1)
        closing = asyncio.create_task(exchange.streams.disconnect(code=1012))
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        await closing
        assert socket.close_code == 1012
    await eventually(lambda: exchange.streams.count("market") == 0)


async def test_a_client_that_falls_too_far_behind_is_disconnected(
    exchange: SimulatedExchange, session: aiohttp.ClientSession
) -> None:
    exchange.streams.queue_length = 2
    async with session.ws_connect(f"{exchange.ws_url}/ws/market") as socket:
        await socket.send_json({"assets_ids": [YES], "initial_dump": False})
        await eventually(lambda: exchange.streams.count("market") == 1)
        for cents in range(61, 65):
            exchange.quote(YES, Side.SELL, f"0.{cents}", 1)
        async with asyncio.timeout(20):
            async for _ in socket:
                pass
    assert socket.close_code == aiohttp.WSCloseCode.TRY_AGAIN_LATER
