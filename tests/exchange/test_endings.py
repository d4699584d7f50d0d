"""Ended markets, asked of two places: the listing for many at once, the order book for what the listing closed."""

import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.exchange_floor import WallClock, open_floor
from worker.errors import ExchangeMalformed, ExchangeUnreachable
from worker.exchange.lanes import Lane
from worker.exchange.market_data import MarketData
from worker.orders.endings import Ending
from worker.orders.market import Token
from worker.orders.terms import ConditionId, TokenId
from worker.settings import ExchangeSettings

Respond = Callable[[httpx.Request], httpx.Response]
CONDITION = ConditionId("0x" + "c0" * 32)
YES, NO = TokenId("7" * 70), TokenId("8" * 70)
LISTED: dict[str, Any] = {
    "closed": True,
    "clobTokenIds": json.dumps([YES, NO]),
    "outcomePrices": '["1", "0"]',
    "umaResolutionStatuses": '["proposed", "resolved"]',
}
BOOKED: dict[str, Any] = {
    "closed": True,
    "tokens": [
        {"token_id": YES, "outcome": "Yes", "price": 1, "winner": True},
        {"token_id": NO, "outcome": "No", "price": 0, "winner": False},
    ],
}
WON = {CONDITION: Ending(winner=Token(YES, "Yes"))}


def reader(respond: Respond) -> MarketData:
    settings = ExchangeSettings(clob_url="http://book.test", gamma_url="http://listing.test")
    return MarketData(
        settings, WallClock(), background=Lane(10_000, 100), transport=httpx.MockTransport(respond)
    )


async def endings(listed: Any, booked: Any, token: TokenId = NO, status: int = 200) -> Any:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.host == "listing.test":
            return httpx.Response(200, json=listed)
        return httpx.Response(status, json=booked)

    data = reader(respond)
    try:
        return await data.endings({CONDITION: token})
    finally:
        await data.aclose()


async def test_a_market_that_both_places_closed_for_one_winner_is_won_by_it() -> None:
    assert await endings([LISTED], BOOKED) == WON


@pytest.mark.parametrize(
    ("listed", "booked"),
    [
        ([], BOOKED),
        ([LISTED | {"closed": False}], BOOKED),
        ([LISTED], BOOKED | {"closed": False}),
        ([LISTED | {"clobTokenIds": '["1", "2"]'}], BOOKED),
        ([LISTED | {"outcomePrices": '["1"]'}], BOOKED),
        ([LISTED | {"outcomePrices": "?"}], BOOKED),
    ],
)
async def test_a_market_that_one_place_does_not_call_closed_goes_on(listed: Any, booked: Any) -> None:
    assert await endings(listed, booked) == {}


async def test_two_places_that_name_different_winners_name_none() -> None:
    assert await endings([LISTED | {"outcomePrices": '["0", "1"]'}], BOOKED) == {CONDITION: Ending()}


async def test_what_the_order_book_does_not_tell_is_logged_and_goes_on() -> None:
    for status, booked in ((404, {"error": "market not found"}), (200, {"closed": True}), (500, {})):
        with capture_logs() as logs:
            assert await endings([LISTED], booked, status=status) == {}
        assert [log["event"] for log in logs] == ["market.end_not_read"]


async def test_a_listing_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(ExchangeMalformed, match="expected a list"):
        await endings({"error": "?"}, BOOKED)
    data = reader(lambda _: httpx.Response(503))
    with pytest.raises(ExchangeUnreachable):
        await data.endings({CONDITION: YES})
    await data.aclose()


async def test_many_markets_cost_one_question_for_twenty_and_one_for_each_that_ended() -> None:
    asked: list[httpx.URL] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        if request.url.host == "listing.test":
            return httpx.Response(
                200, json=[LISTED] if YES in request.url.params.get_list("clob_token_ids") else []
            )
        return httpx.Response(200, json=BOOKED)

    others = {ConditionId(f"0x{number:064x}"): TokenId(str(number)) for number in range(44)}
    data = reader(respond)
    assert await data.endings(others | {CONDITION: YES}) == WON
    await data.aclose()
    assert [url.host for url in asked] == ["listing.test"] * 3 + ["book.test"]
    assert all(url.params["closed"] == "true" for url in asked[:3])


async def test_a_market_is_recognised_by_its_token_whichever_form_its_id_has() -> None:
    short = ConditionId("0x02" + "ab" * 30)
    paths: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json=[LISTED] if request.url.host == "listing.test" else BOOKED)

    data = reader(respond)
    assert await data.endings({short: YES}) == {short: WON[CONDITION]}
    await data.aclose()
    assert paths[-1] == f"/markets/{short}00"


async def test_a_market_of_protocol_v2_is_listed_by_its_positions() -> None:
    listed = {key: value for key, value in LISTED.items() if key != "clobTokenIds"}
    assert await endings([listed | {"version": "v2", "positionIds": [YES, NO]}], BOOKED) == WON


@pytest.fixture
async def floor_reader() -> AsyncIterator[tuple[Any, MarketData]]:
    async with open_floor() as floor:
        data = MarketData(floor.settings, WallClock(), background=Lane(10_000, 100))
        yield floor, data
        await data.aclose()


async def test_the_simulated_exchange_ends_its_markets_as_the_real_one_does(
    floor_reader: tuple[Any, MarketData],
) -> None:
    floor, data = floor_reader
    void = floor.with_market()
    markets = {floor.condition_id: floor.no, void.condition_id: void.yes}
    assert await data.endings(markets) == {}
    for one in (floor, void):
        floor.venue.backoffice.close(one.condition_id)
    assert await data.endings(markets) == dict.fromkeys(markets, Ending())
    floor.venue.backoffice.resolve(floor.condition_id, floor.yes)
    floor.venue.backoffice.void(void.condition_id)
    assert await data.endings(markets) == {
        floor.condition_id: Ending(winner=Token(floor.yes, "Yes")),
        void.condition_id: Ending(is_void=True, payout=Decimal("0.5")),
    }
