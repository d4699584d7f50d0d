"""The market channel: best prices of the tokens that somebody wants to hear of, and a connection only while one does."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.exchange_floor import Floor, open_floor
from worker.errors import ExchangeUnreachable
from worker.exchange.market_channel import MarketChannel, quotes_of
from worker.orders.market import Quote
from worker.orders.terms import TokenId

D = Decimal


@pytest.fixture
async def floor() -> AsyncIterator[Floor]:
    async with open_floor() as floor:
        yield floor


async def test_it_tells_best_prices_of_what_is_wanted_and_leaves_when_nothing_is(floor: Floor) -> None:
    channel, heard = MarketChannel(floor.settings.market_ws_url), list[Quote]()

    async def listen() -> None:
        async for quote in channel.quotes():
            heard.append(quote)

    streams = floor.venue.streams
    async with asyncio.timeout(60):
        listening = asyncio.create_task(listen())
        floor.offer("0.60", "10")
        channel.follow([floor.yes])
        await eventually(lambda: Quote(floor.yes, None, D("0.6")) in heard)
        floor.offer("0.55", "10")
        await eventually(lambda: Quote(floor.yes, None, D("0.55")) in heard)
        other = floor.with_market()
        channel.follow([other.yes])
        await eventually(lambda: any(quote.token_id == other.yes for quote in heard))
        channel.follow([])
        await eventually(lambda: streams.count("market") == 0)
        channel.follow([floor.yes])
        await eventually(lambda: streams.count("market") == 1)
        streams.abort(channel="market")
        with pytest.raises(ExchangeUnreachable, match="market channel"):
            await listening


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            [
                {
                    "event_type": "book",
                    "asset_id": "7",
                    "bids": [{"price": "0.4"}, {"price": "0.5"}],
                    "asks": [],
                }
            ],
            [Quote(TokenId("7"), D("0.5"), None)],
        ),
        (
            {
                "event_type": "price_change",
                "price_changes": [
                    {"asset_id": "7", "best_bid": "0", "best_ask": "0.52"},
                    {"asset_id": 7},
                    "odd",
                ],
            },
            [Quote(TokenId("7"), None, D("0.52"))],
        ),
        ({"event_type": "last_trade_price", "asset_id": "7", "price": "0.5"}, []),
        (
            {"event_type": "book", "asset_id": "7", "bids": None, "asks": [5]},
            [Quote(TokenId("7"), None, None)],
        ),
        (["odd", 5, None], []),
        ("odd", []),
    ],
)
def test_whatever_a_frame_says_it_is_read_for_best_prices_alone(said: Any, expected: list[Quote]) -> None:
    assert list(quotes_of(json.dumps(said))) == expected


def test_an_answer_to_a_ping_is_no_quote() -> None:
    assert list(quotes_of("PONG")) == []
