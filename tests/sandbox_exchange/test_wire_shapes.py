"""The JSON on the wire against recorded answers of the venue: the same fields, the same types."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.exchange_clients import Trader
from worker.sandbox.exchange import wire
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.venue import Venue

FIXTURES = Path(__file__).resolve().parents[3] / "shared" / "data" / "fixtures"
MARKET = synthetic_market("Shapes")
OTHER = synthetic_market("Other shapes", outcomes=("Up", "Down"), taker_hold_s=0.25, tick="0.001")
needs_fixtures = pytest.mark.skipif(
    not FIXTURES.exists(), reason="the shared fixtures are not on this machine"
)


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([MARKET, OTHER]) as running:
        running.quote(MARKET.tokens[0], Side.SELL, "0.52", "25.5")
        running.quote(MARKET.tokens[0], Side.BUY, "0.48", "30")
        yield running


class Reader:
    def __init__(self, exchange: SimulatedExchange, session: aiohttp.ClientSession) -> None:
        self._url = exchange.http_url
        self._session = session

    async def get(self, path: str, status: int = 200) -> Any:
        async with self._session.get(self._url + path) as response:
            assert response.status == status
            return await response.json(content_type=None)

    async def post(self, path: str, body: Any) -> Any:
        async with self._session.post(self._url + path, json=body) as response:
            assert response.status == 200
            return await response.json()


@pytest.fixture
async def reader(exchange: SimulatedExchange) -> AsyncIterator[Reader]:
    async with aiohttp.ClientSession() as session:
        yield Reader(exchange, session)


def shape(value: Any) -> Any:
    """Types all the way down; a list by its first element, whole and broken numbers alike."""
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value[:1]]
        case bool() | str() | None:
            return type(value).__name__
        case _:
            return "number"


@needs_fixtures
async def test_a_book_has_the_shape_of_a_recorded_one(reader: Reader) -> None:
    recorded = json.loads((FIXTURES / "hugompt_2026-06" / "clob_book.json").read_text())
    book = await reader.get(f"/book?token_id={MARKET.tokens[0]}")
    assert shape(book) == shape(recorded)
    assert [level["price"] for level in book["asks"] + book["bids"]] == ["0.52", "0.48"]


@needs_fixtures
async def test_a_gamma_market_is_a_recorded_one_with_fewer_fields(reader: Reader) -> None:
    recorded = json.loads((FIXTURES / "hugompt_2026-06" / "gamma_market_updown.json").read_text())
    recorded = recorded[0] if isinstance(recorded, list) else recorded
    (market,) = await reader.get(f"/markets?condition_ids={OTHER.condition}")
    unknown_there = {"secondsDelay", "lastTradePrice"}
    for key in market.keys() - unknown_there:
        assert shape(market[key]) == shape(recorded[key]), key
    assert json.loads(market["clobTokenIds"]) == list(OTHER.tokens)
    assert json.loads(market["outcomes"]) == ["Up", "Down"]


@needs_fixtures
@pytest.mark.parametrize("name", ["accepted_matched_async"])
def test_a_match_is_answered_with_the_fields_of_the_official_clients_cases(name: str) -> None:
    cases = json.loads((FIXTURES / "polymarket_py_sdk" / "post_order_cases.json").read_text())
    (expected,) = [case["body"] for case in cases if case["name"] == name]
    answer = wire.accepted("0xorder", "matched", making=50_000_000, taking=100_000_000, trade_ids=["trade-1"])
    assert answer == expected


async def test_a_resting_order_is_answered_with_empty_amounts_and_without_trades() -> None:
    assert wire.accepted("0x1", "live") == {
        "success": True,
        "errorMsg": "",
        "orderID": "0x1",
        "status": "live",
        "makingAmount": "",
        "takingAmount": "",
    }


async def test_numbers_are_numbers_where_the_venue_sends_numbers(reader: Reader) -> None:
    token = f"?token_id={MARKET.tokens[1]}"
    assert await reader.get(f"/tick-size{token}") == {"minimum_tick_size": 0.01}
    assert await reader.get(f"/neg-risk{token}") == {"neg_risk": False}
    assert await reader.get(f"/fee-rate{token}") == {"base_fee": 1000}
    assert await reader.get(f"/midpoint{token}") == {"mid": "0.5"}
    assert await reader.get(f"/price{token}&side=BUY") == {"price": "0.48"}
    assert await reader.get(f"/spread{token}") == {"spread": "0.04"}
    assert await reader.get("/version") == {"version": 2}
    assert isinstance(await reader.get("/time"), int)
    assert (await reader.get("/api/geoblock"))["blocked"] is False


async def test_a_market_is_described_tersely_and_at_length(reader: Reader) -> None:
    assert await reader.get(f"/clob-markets/{OTHER.condition}") == {
        "c": OTHER.condition,
        "t": [{"t": OTHER.tokens[0], "o": "Up"}, {"t": OTHER.tokens[1], "o": "Down"}],
        "mos": 5.0,
        "mts": 0.001,
        "mbf": 1000,
        "tbf": 1000,
        "nr": False,
        "fd": {"r": 0.05, "e": 1, "to": True},
        "itode": True,
        "sd": 0.0,
        "oas": 0,
    }
    long = await reader.get(f"/markets/{MARKET.condition}")
    assert (long["accepting_orders"], long["closed"], long["minimum_tick_size"]) == (True, False, 0.01)
    assert [(t["outcome"], t["price"], t["winner"]) for t in long["tokens"]] == [
        ("Yes", 0.5, False),
        ("No", 0.5, False),
    ]
    by_token = await reader.get(f"/markets-by-token/{MARKET.tokens[1]}")
    assert by_token == {
        "condition_id": MARKET.condition,
        "primary_token_id": MARKET.tokens[0],
        "secondary_token_id": MARKET.tokens[1],
    }


async def test_a_resolved_market_has_a_winner_and_no_book(
    exchange: SimulatedExchange, reader: Reader
) -> None:
    market = synthetic_market("Resolved")
    exchange.engine.list_market(market)
    exchange.backoffice.resolve(market.condition, market.tokens[1])
    long = await reader.get(f"/markets/{market.condition}")
    assert (long["closed"], [token["winner"] for token in long["tokens"]]) == (True, [False, True])
    (gamma,) = await reader.get(f"/markets?clob_token_ids={market.tokens[0]}")
    assert (gamma["closed"], json.loads(gamma["outcomePrices"])) == (True, ["0.0", "1.0"])
    assert await reader.get(f"/markets?clob_token_ids={market.tokens[0]}&closed=false") == []
    missing = await reader.get(f"/book?token_id={market.tokens[0]}", status=404)
    assert missing == {"error": "No orderbook exists for the requested token id"}


async def test_a_voided_market_is_resolved_and_worth_a_half_either_way(
    exchange: SimulatedExchange, reader: Reader
) -> None:
    market = synthetic_market("Voided")
    exchange.engine.list_market(market)
    exchange.backoffice.void(market.condition)
    long = await reader.get(f"/markets/{market.condition}")
    assert (long["closed"], [token["winner"] for token in long["tokens"]]) == (True, [False, False])
    (gamma,) = await reader.get(f"/markets?clob_token_ids={market.tokens[0]}&closed=true")
    assert (json.loads(gamma["umaResolutionStatuses"]), json.loads(gamma["outcomePrices"])) == (
        ["resolved"],
        ["0.5", "0.5"],
    )


async def test_several_books_come_in_one_answer_and_unknown_ones_are_left_out(reader: Reader) -> None:
    asked = [{"token_id": token} for token in (MARKET.tokens[1], "12", OTHER.tokens[0])]
    books = await reader.post("/books", asked)
    assert [book["asset_id"] for book in books] == [MARKET.tokens[1], OTHER.tokens[0]]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/book?token_id=12", "No orderbook exists for the requested token id"),
        ("/markets/0x12", "market not found"),
        ("/clob-markets/0x12", "market not found"),
        ("/markets-by-token/12", "market not found"),
        ("/nowhere", "not found"),
    ],
)
async def test_what_does_not_exist_is_a_404(reader: Reader, path: str, error: str) -> None:
    assert await reader.get(path, status=404) == {"error": error}


def test_a_dollar_order_reports_its_budget_as_its_size(exchange: SimulatedExchange) -> None:
    trader = Trader(exchange)
    order = trader.buy(MARKET.tokens[0], "5.20", "0.52").order
    shown = wire.order_json(order, exchange.engine.rules)
    assert (shown["original_size"], shown["size_matched"], shown["status"]) == ("5.2", "10", "MATCHED")


def test_an_order_can_stay_invisible_for_a_while_after_it_was_accepted() -> None:
    venue = Venue(
        Exchange([synthetic_market("Hidden")], clock=ManualClock(), rules=Rules(visibility_delay_s=2))
    )
    (market,) = venue.engine.markets.values()
    trader = Trader(venue)
    order = trader.limit(market.tokens[0], Side.BUY, "0.50", "10").order
    venue.advance(1)
    assert venue.engine.visible_order(order.id, trader.credentials.key) is None
    venue.advance(1)
    assert venue.engine.visible_order(order.id, trader.credentials.key) is order
