"""Public reads: exact numbers, sorted books, and one meaning for every failure."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.support.exchange_floor import WallClock
from worker.errors import ExchangeRefused, ExchangeUnreachable, MarketNotFound
from worker.exchange.lanes import Lane
from worker.exchange.market_data import MarketData, clob_condition_id
from worker.orders.market import Level
from worker.orders.terms import ConditionId, ExchangeVersion, TokenId
from worker.settings import ExchangeSettings

CONDITION = ConditionId("0x" + "c0" * 32)
TOKEN = TokenId("7" * 70)
TERMS: dict[str, Any] = {
    "c": CONDITION,
    "t": [{"t": TOKEN, "o": "Yes"}, {"t": "8" * 70, "o": "No"}],
    "mos": 5,
    "mts": 0.001,
    "nr": True,
    "fd": {"r": 0.07, "e": 1, "to": True},
}
STATUS: dict[str, Any] = {"accepting_orders": True, "closed": False, "enable_order_book": True}
BOOK: dict[str, Any] = {
    "bids": [{"price": "0.48", "size": "30"}, {"price": "0.495", "size": "40.25"}],
    "asks": [{"price": "0.54", "size": "30"}, {"price": "0.52", "size": "25"}],
}

Respond = Callable[[httpx.Request], httpx.Response]


def venue(**answers: Mapping[str, Any]) -> Respond:
    """An exchange that knows one market."""
    known = {"terms": TERMS, "status": STATUS, "book": BOOK} | answers

    def respond(request: httpx.Request) -> httpx.Response:
        name = {"clob-markets": "terms", "markets": "status", "book": "book"}[request.url.path.split("/")[1]]
        return httpx.Response(200, text=json.dumps(known[name]))

    return respond


@asynccontextmanager
async def reading(respond: Respond, **settings: Any) -> AsyncIterator[MarketData]:
    data = MarketData(
        ExchangeSettings(clob_url="http://venue.test", **settings),
        WallClock(),
        background=Lane(1000, 1000),
        transport=httpx.MockTransport(respond),
    )
    try:
        yield data
    finally:
        await data.aclose()


async def test_numbers_are_read_from_the_very_digits_that_were_sent() -> None:
    async with reading(venue()) as data:
        market = await data.market(CONDITION)
    assert (str(market.tick_size), str(market.fee_rate)) == ("0.001", "0.07")
    assert market.min_order_size_shares == Decimal(5)
    assert market.exchange_version is ExchangeVersion.NEG_RISK


async def test_a_market_without_a_fee_schedule_is_free() -> None:
    terms = {key: value for key, value in TERMS.items() if key != "fd"}
    async with reading(venue(terms=terms)) as data:
        market = await data.market(CONDITION)
    assert market.fee_rate == 0


async def test_a_market_whose_book_is_switched_off_takes_no_orders() -> None:
    async with reading(venue(status=STATUS | {"enable_order_book": False})) as data:
        assert not (await data.market(CONDITION)).accepting_orders


async def test_books_are_sorted_best_first_whatever_order_they_come_in() -> None:
    async with reading(venue()) as data:
        book = await data.book(TOKEN)
    assert book.bids == (Level(Decimal("0.495"), Decimal("40.25")), Level(Decimal("0.48"), Decimal(30)))
    assert book.asks == (Level(Decimal("0.52"), Decimal(25)), Level(Decimal("0.54"), Decimal(30)))


@pytest.mark.parametrize(
    ("asked", "known_as"),
    [
        (CONDITION, CONDITION),
        ("0x" + "C0" * 32, CONDITION),
        ("0x01" + "ab" * 30, "0x01" + "ab" * 30 + "00"),
        ("0x02" + "ab" * 30, "0x02" + "ab" * 30 + "00"),
    ],
)
def test_a_market_is_asked_for_by_the_id_that_the_order_book_knows(asked: str, known_as: str) -> None:
    assert clob_condition_id(asked) == known_as


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, MarketNotFound),
        (400, ExchangeRefused),
        (403, ExchangeRefused),
        (408, ExchangeUnreachable),
        (425, ExchangeUnreachable),
        (429, ExchangeUnreachable),
        (500, ExchangeUnreachable),
        (503, ExchangeUnreachable),
    ],
)
async def test_a_status_has_one_meaning_for_every_read(status: int, error: type[Exception]) -> None:
    async with reading(lambda _: httpx.Response(status, text="why not")) as data:
        for read in (data.market(CONDITION), data.book(TOKEN), data.version(), data.time()):
            with pytest.raises(error, match="why not"):
                await read


ODD_ANSWERS: dict[str, dict[str, Any]] = {
    "no tokens field": {"terms": {key: value for key, value in TERMS.items() if key != "t"}},
    "a tick of zero": {"terms": TERMS | {"mts": 0}},
    "a tick that is no number": {"terms": TERMS | {"mts": "NaN"}},
    "a broken exponent": {"terms": TERMS | {"fd": {"r": 0.05, "e": 1.5}}},
    "a status without a word on orders": {"status": {"closed": False}},
    "a list": {"terms": {"t": []}},
}


@pytest.mark.parametrize("answers", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
async def test_a_market_in_an_unknown_shape_is_never_guessed(answers: dict[str, Any]) -> None:
    async with reading(venue(**answers)) as data:
        with pytest.raises(ExchangeUnreachable, match="unknown shape"):
            await data.market(CONDITION)


@pytest.mark.parametrize("price", ["0", "1", "-0.5", "1.5", "NaN", "Infinity", "half"])
async def test_a_price_outside_the_book_is_never_believed(price: str) -> None:
    async with reading(venue(book=BOOK | {"asks": [{"price": price, "size": "10"}]})) as data:
        with pytest.raises(ExchangeUnreachable, match="unknown shape"):
            await data.book(TOKEN)


async def test_a_market_without_outcomes_is_not_found() -> None:
    async with reading(venue(terms=TERMS | {"t": []})) as data:
        with pytest.raises(MarketNotFound, match="no tokens"):
            await data.market(CONDITION)


async def test_a_page_in_place_of_json_is_no_answer() -> None:
    async with reading(lambda _: httpx.Response(200, text="<html>")) as data:
        with pytest.raises(ExchangeUnreachable, match="not JSON"):
            await data.book(TOKEN)


async def test_a_read_that_hangs_is_given_up() -> None:
    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return httpx.Response(200)

    data = MarketData(
        ExchangeSettings(clob_url="http://venue.test", read_timeout_s=0.05),
        WallClock(),
        background=Lane(1000, 1000),
        transport=httpx.MockTransport(hang),
    )
    try:
        with pytest.raises(ExchangeUnreachable, match="TimeoutError"):
            await data.book(TOKEN)
    finally:
        await data.aclose()


async def test_fees_of_a_market_are_known_long_after_its_rules_have_expired() -> None:
    broken = False

    def respond(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if broken else venue()(request)

    async with reading(respond, market_ttl_s=0.001) as data:
        market = await data.market(CONDITION)
        broken = True
        await asyncio.sleep(0.01)
        with pytest.raises(ExchangeUnreachable):
            await data.market(CONDITION)
        assert await data.market_whatever_its_age(CONDITION) == market
