"""The venue's modes and its limits per signer, as every order endpoint shows them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.exchange_clients import Trader
from tests.support.exchange_wire import Seen, WireClient
from worker.sandbox.exchange.clock import ManualClock
from worker.sandbox.exchange.limiter import Errand, Limiter
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.modes import Mode, Modes
from worker.sandbox.exchange.orders import Address
from worker.sandbox.exchange.rules import STANDARD_CANCELS, STANDARD_ORDERS, Allowance, Rules
from worker.sandbox.exchange.server import SimulatedExchange

MARKET = synthetic_market("Modes")
TOKEN = MARKET.tokens[0]
SIGNER, OTHER = Address("0x" + "11" * 20), Address("0x" + "22" * 20)
CANCEL_ONLY = {
    "error": "Trading is currently cancel-only. New orders are not accepted, but cancels are allowed."
}
DISABLED = {"error": "Trading is currently disabled. Check polymarket.com for updates"}


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([MARKET], clock=ManualClock()) as running:
        yield running


@pytest.fixture
async def client(exchange: SimulatedExchange) -> AsyncIterator[WireClient]:
    async with WireClient.open(Trader(exchange), exchange.http_url) as opened:
        yield opened


async def post(client: WireClient, **more: Any) -> Seen:
    return await client.post_order(client.bid(TOKEN), **more)


async def test_a_restart_refuses_everything_about_orders_then_all_but_post_only_then_nothing(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    resting = (await post(client)).body["orderID"]
    exchange.engine.modes.restart(30, post_only_s=120)
    refused = [
        await post(client),
        await post(client, postOnly=True),
        await client.send("POST", "/orders", [client.body_of(client.bid(TOKEN))]),
        await client.cancel(resting),
        await client.send("DELETE", "/orders", [resting]),
        await client.send("DELETE", "/cancel-all"),
        await client.send("DELETE", "/cancel-market-orders", {"market": "", "asset_id": ""}),
        await client.order(resting),
        await client.send("GET", "/data/orders"),
    ]
    assert {(seen.status, str(seen.body)) for seen in refused} == {(425, "{'error': 'service not ready'}")}
    assert await client.trades() == []

    exchange.advance(30)
    seen = await post(client)
    assert (seen.status, seen.body) == (
        503,
        {
            "error": "post-only mode: only post-only orders and cancels are allowed",
            "code": "post_only_mode",
            "retry_after_seconds": 120,
        },
    )
    assert (await post(client, postOnly=True)).status == 200
    assert (await client.cancel(resting)).body["canceled"] == [resting]

    exchange.advance(119.5)
    assert (await post(client)).body["retry_after_seconds"] == 1
    exchange.advance(0.5)
    assert (await post(client)).status == 200
    assert len(exchange.journal.accepted_ids()) == 3


@pytest.mark.parametrize(
    ("mode", "answer", "cancel_status"),
    [(Mode.CANCEL_ONLY, CANCEL_ONLY, 200), (Mode.DISABLED, DISABLED, 503)],
)
async def test_orders_are_refused_and_cancels_only_when_trading_is_disabled(
    exchange: SimulatedExchange, client: WireClient, mode: Mode, answer: dict[str, str], cancel_status: int
) -> None:
    resting = [(await post(client)).body["orderID"] for _ in range(2)]
    exchange.engine.modes.enter(mode)
    batch = await client.send("POST", "/orders", [client.body_of(client.bid(TOKEN))])
    for seen in (await post(client), await post(client, postOnly=True), batch):
        assert (seen.status, seen.body) == (503, answer)
    assert (await client.cancel(resting[0])).status == cancel_status
    assert (await client.send("DELETE", "/cancel-all")).status == cancel_status
    assert exchange.journal.accepted_ids() == resting
    assert len(exchange.engine.resting) == (0 if cancel_status == 200 else 2)
    assert (await client.order(resting[0])).status == 200


async def test_a_batch_in_post_only_mode_claims_success_and_names_no_order(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    exchange.engine.modes.enter(Mode.POST_ONLY)
    batch = [client.body_of(client.bid(TOKEN), postOnly=only) for only in (True, False)]
    seen = await client.send("POST", "/orders", batch)
    taken, refused = seen.body
    assert (seen.status, taken["status"]) == (200, "live")
    assert (refused["success"], refused["orderID"]) == (True, "")
    assert refused["errorMsg"].startswith("post-only mode")
    assert exchange.journal.accepted_ids() == [taken["orderID"]]


def test_a_mode_ends_when_its_time_is_over_or_when_it_is_replaced() -> None:
    clock = ManualClock()
    modes = Modes(clock)
    modes.enter(Mode.DISABLED, 10)
    assert (modes.current, modes.left_s) == (Mode.DISABLED, 10)
    clock.advance(10)
    assert (modes.current, modes.left_s) == (Mode.OPEN, None)
    modes.enter(Mode.CANCEL_ONLY)
    clock.advance(1e6)
    assert (modes.current, modes.left_s) == (Mode.CANCEL_ONLY, None)
    modes.enter(Mode.OPEN)
    assert modes.current is Mode.OPEN


async def test_a_signer_who_is_too_fast_is_not_admitted_until_the_bucket_has_filled(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    exchange.engine.limiter.allow(Errand.ORDER, Allowance(2, 3))
    burst = [await post(client) for _ in range(4)]
    assert [seen.status for seen in burst] == [200, 200, 200, 429]
    assert [seen.headers["Poly-RateLimit-Remaining"] for seen in burst] == ["2", "1", "0", "0"]
    assert {seen.headers["Poly-RateLimit-Tier"] for seen in burst} == {"standard"}
    assert burst[3].body == {"error": "Too Many Requests"}
    assert burst[3].headers["Retry-After"] == "1"
    assert "Retry-After" not in burst[0].headers
    assert len(exchange.journal.accepted_ids()) == 3
    assert exchange.journal.orders[3].outcomes == []
    exchange.advance(0.5)
    assert (await post(client)).status == 200


async def test_a_refused_order_costs_a_token_too_and_says_so(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    exchange.engine.limiter.allow(Errand.ORDER, Allowance(1, 5))
    killed = await client.post_order(client.bid(TOKEN), "FAK")
    assert (killed.status, killed.headers["Poly-RateLimit-Remaining"]) == (400, "4")


async def test_a_batch_costs_as_much_as_its_orders(exchange: SimulatedExchange, client: WireClient) -> None:
    exchange.engine.limiter.allow(Errand.ORDER, Allowance(1, 3))
    pair = [client.body_of(client.bid(TOKEN)) for _ in range(2)]
    statuses = [(await client.send("POST", "/orders", pair)).status for _ in range(2)]
    assert statuses == [200, 429]


async def test_cancel_all_is_charged_for_what_it_cancelled_and_may_overdraw(
    exchange: SimulatedExchange, client: WireClient
) -> None:
    for _ in range(4):
        await post(client)
    exchange.engine.limiter.allow(Errand.CANCEL, Allowance(1, 3))
    assert len((await client.send("DELETE", "/cancel-all")).body["canceled"]) == 4
    refused = await client.cancel("0x00")
    assert (refused.status, refused.headers["Poly-RateLimit-Remaining"]) == (429, "-2")
    assert refused.headers["Retry-After"] == "3"


def test_every_signer_has_a_bucket_of_its_own_that_never_holds_more_than_its_burst() -> None:
    clock = ManualClock()
    limiter = Limiter(clock, Rules(order_allowance=STANDARD_ORDERS, cancel_allowance=STANDARD_CANCELS))
    clock.advance(3_600)

    def admitted(signer: Address, errand: Errand) -> int:
        return sum(limiter.take(signer, errand).admitted for _ in range(200))

    assert (admitted(SIGNER, Errand.ORDER), admitted(OTHER, Errand.ORDER)) == (60, 60)
    assert admitted(SIGNER, Errand.CANCEL) == 120
    clock.advance(1)
    assert admitted(SIGNER, Errand.ORDER) == 40


def test_without_an_allowance_nobody_is_limited_and_nothing_is_said() -> None:
    verdict = Limiter(ManualClock(), Rules()).take(SIGNER, Errand.ORDER, 1_000_000)
    assert (verdict.admitted, verdict.headers) == (True, {})
