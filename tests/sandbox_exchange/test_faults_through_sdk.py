"""What the official SDK makes of each named fault (polymarket-clob.md 1.5): the classes the worker has to tell apart."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from polymarket import AsyncSecureClient
from polymarket.errors import (
    PolymarketError,
    RateLimitError,
    RequestRejectedError,
    TransportError,
    UnexpectedResponseError,
)
from polymarket.models.clob.order_response import AcceptedOrder, RejectedOrder

from tests.support.exchange_clients import Trader, sdk_client
from worker.sandbox.exchange.fault_catalogue import CATALOGUE, FaultName, scripted
from worker.sandbox.exchange.limiter import Errand
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.rules import Allowance, Rules
from worker.sandbox.exchange.server import SimulatedExchange

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKET = synthetic_market("Catalogue for the SDK")
TOKEN = MARKET.tokens[0]
REJECTED = RequestRejectedError

RAISED: dict[FaultName, tuple[type[PolymarketError], dict[str, Any]]] = {
    FaultName.DROP_BEFORE: (TransportError, {}),
    FaultName.DROP_AFTER: (TransportError, {}),
    FaultName.DROPPED_AND_SLOW: (TransportError, {}),
    FaultName.ORDER_TIMED_OUT: (REJECTED, {"status": 500, "restriction": None}),
    FaultName.NO_EXECUTION_BEFORE: (REJECTED, {"status": 500}),
    FaultName.NO_EXECUTION_AFTER: (REJECTED, {"status": 500}),
    FaultName.BAD_GATEWAY_BEFORE: (REJECTED, {"status": 502}),
    FaultName.BAD_GATEWAY_AFTER: (REJECTED, {"status": 502}),
    FaultName.GATEWAY_TIMEOUT_BEFORE: (REJECTED, {"status": 504}),
    FaultName.GATEWAY_TIMEOUT_AFTER: (REJECTED, {"status": 504}),
    FaultName.CLOUDFLARE_BLOCK: (REJECTED, {"status": 403}),
    FaultName.UNAUTHORIZED: (REJECTED, {"status": 401}),
    FaultName.RESTARTING: (REJECTED, {"status": 425, "restriction": "restarting"}),
    FaultName.POST_ONLY: (
        REJECTED,
        {"status": 503, "code": "post_only_mode", "retry_after": 1.0, "restriction": "post_only"},
    ),
    FaultName.CANCEL_ONLY: (REJECTED, {"status": 503, "restriction": "cancel_only"}),
    FaultName.DISABLED: (REJECTED, {"status": 503}),
    FaultName.RATE_LIMITED: (RateLimitError, {"retry_after": 1.0}),
    FaultName.TOO_MANY_BEFORE: (RateLimitError, {"retry_after": None, "rate_limit": None}),
    FaultName.TOO_MANY_AFTER: (RateLimitError, {"retry_after": None, "rate_limit": None}),
    FaultName.NUMERIC_AMOUNTS: (UnexpectedResponseError, {}),
    FaultName.NULL_ARRAYS: (UnexpectedResponseError, {}),
    FaultName.MISSING_FIELDS: (UnexpectedResponseError, {}),
    FaultName.NOT_JSON: (UnexpectedResponseError, {}),
}
ANSWERED: dict[FaultName, tuple[type[AcceptedOrder | RejectedOrder], dict[str, Any]]] = {
    FaultName.UNKNOWN_STATUS: (RejectedOrder, {"code": "unknown"}),
    FaultName.SUCCESS_WITH_ERROR: (RejectedOrder, {"code": "unknown"}),
    FaultName.WRONG_ID: (AcceptedOrder, {"status": "matched"}),
    FaultName.REFUSED_WITH_200: (RejectedOrder, {"code": "not_enough_balance"}),
    FaultName.REFUSED_WITH_SUCCESS: (RejectedOrder, {}),
    FaultName.UNMATCHED: (RejectedOrder, {"code": "unmatched"}),
    FaultName.UNMATCHED_RESTING: (RejectedOrder, {"code": "unmatched"}),
    FaultName.LIVE_FAK: (AcceptedOrder, {"status": "live"}),
    FaultName.DELAYED: (AcceptedOrder, {"status": "delayed"}),
    FaultName.SLOW_TO_APPEAR: (AcceptedOrder, {"status": "matched"}),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall() -> AsyncIterator[tuple[SimulatedExchange, AsyncSecureClient]]:
    async with SimulatedExchange.start([MARKET], rules=Rules()) as exchange:
        exchange.quote(TOKEN, Side.SELL, "0.50", 100_000)
        Trader(exchange, usd=10_000)
        async with sdk_client(exchange) as client:
            yield exchange, client


@pytest.fixture
def exchange(hall: tuple[SimulatedExchange, AsyncSecureClient]) -> SimulatedExchange:
    hall[0].faults.clear()
    return hall[0]


@pytest.fixture
def client(hall: tuple[SimulatedExchange, AsyncSecureClient]) -> AsyncSecureClient:
    return hall[1]


async def buy(client: AsyncSecureClient) -> AcceptedOrder | RejectedOrder:
    signed = await client.create_market_order(
        asset_id=TOKEN, side="BUY", amount="5", max_price="0.50", order_type="FAK"
    )
    return await client.post_order(signed)


def shows(thing: object, **expected: Any) -> None:
    assert {name: getattr(thing, name) for name in expected} == expected


@pytest.mark.parametrize("name", RAISED)
async def test_the_sdk_raises(
    exchange: SimulatedExchange, client: AsyncSecureClient, name: FaultName
) -> None:
    kind, expected = RAISED[name]
    before = len(exchange.journal.accepted_ids())
    exchange.faults.add(scripted(name))
    with pytest.raises(kind) as raised:
        await buy(client)
    shows(raised.value, **expected)
    assert len(exchange.journal.accepted_ids()) - before == CATALOGUE[name].processes
    if name is FaultName.RATE_LIMITED:
        assert raised.value.rate_limit is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ANSWERED)
async def test_the_sdk_answers(
    exchange: SimulatedExchange, client: AsyncSecureClient, name: FaultName
) -> None:
    kind, expected = ANSWERED[name]
    before = len(exchange.journal.accepted_ids())
    exchange.faults.add(scripted(name))
    answer = await buy(client)
    assert type(answer) is kind
    shows(answer, **expected)
    assert len(exchange.journal.accepted_ids()) - before == CATALOGUE[name].processes


async def test_a_restart_is_told_apart_from_the_post_only_time_behind_it(
    exchange: SimulatedExchange, client: AsyncSecureClient
) -> None:
    exchange.engine.modes.restart(0.0, post_only_s=60)
    with pytest.raises(RequestRejectedError) as raised:
        await buy(client)
    shows(raised.value, status=503, code="post_only_mode", retry_after=60.0, restriction="post_only")
    exchange.engine.modes.enter(Mode.RESTARTING)
    with pytest.raises(RequestRejectedError) as raised:
        await buy(client)
    shows(raised.value, status=425, restriction="restarting")
    exchange.engine.modes.enter(Mode.OPEN)
    assert isinstance(await buy(client), AcceptedOrder)


async def test_an_empty_bucket_is_a_rate_limit_with_its_headers(
    exchange: SimulatedExchange, client: AsyncSecureClient
) -> None:

    exchange.engine.limiter.allow(Errand.ORDER, Allowance(0.5, 1))
    try:
        assert isinstance(await buy(client), AcceptedOrder)
        with pytest.raises(RateLimitError) as raised:
            await buy(client)
    finally:
        exchange.engine.limiter.allow(Errand.ORDER, None)
    assert raised.value.retry_after == 2
    assert raised.value.rate_limit is not None
    shows(raised.value.rate_limit, remaining=0, tier="standard", warning=False)
