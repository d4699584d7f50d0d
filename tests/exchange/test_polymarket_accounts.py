"""Opening the exchange, keeping it warm, hearing from it: everything around the orders."""

import asyncio
import time
from decimal import Decimal

import httpx
import pytest
from httpx._transports import default as httpx_transports
from pydantic import SecretStr

from tests.support.eventually import eventually
from tests.support.exchange_floor import (
    KEY,
    OTHER_KEY,
    Floor,
    WallClock,
    account_of,
    open_floor,
    polymarket,
    prepared,
    settings_for,
)
from worker.errors import CredentialError, ExchangeUnreachable
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.exchange.signer import Account, ApiCredentials
from worker.orders.terms import OrderId, OrderType
from worker.sandbox.exchange import Rules, SimulatedExchange
from worker.sandbox.exchange.faults import Action, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- accounts -------------------------------------------------------------------------------------------------


async def test_the_loop_stays_free_while_clients_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    # With contexts of its own each, as in production, making a client is work.
    monkeypatch.setattr(httpx_transports, "create_ssl_context", httpx.create_ssl_context)
    async with open_floor() as floor:
        in_the_loop_s, at_all_s = time.thread_time(), time.process_time()
        async with polymarket(floor):
            in_the_loop_s = time.thread_time() - in_the_loop_s
            at_all_s = time.process_time() - at_all_s
    # The loop has an exchange to play and little else: nearly all of the work is that of the clients.
    assert in_the_loop_s < at_all_s / 2


async def test_given_credentials_are_used_and_no_others_are_made() -> None:
    async with open_floor() as floor:
        keys = floor.venue.fund(floor.wallet, 1)
        credentials = ApiCredentials(SecretStr(keys.key), SecretStr(keys.secret), SecretStr(keys.passphrase))
        account = Account(floor.wallet, KEY, credentials)
        exchange = await PolymarketExchange.open(floor.settings, [account], WallClock())
        try:
            assert (await exchange.balance(floor.wallet)).collateral_usd == Decimal(1001)
        finally:
            await exchange.aclose()
        assert floor.venue.journal.counts["POST", "/auth/api-key"] == 0


async def test_each_wallet_trades_with_its_own_key() -> None:
    async with open_floor() as floor:
        other = account_of(OTHER_KEY)
        floor.venue.fund(other.wallet, 500)
        exchange = await PolymarketExchange.open(floor.settings, [floor.account, other], WallClock())
        try:
            balances = [await exchange.balance(wallet) for wallet in (floor.wallet, other.wallet)]
            assert [balance.collateral_usd for balance in balances] == [Decimal(1000), Decimal(500)]
        finally:
            await exchange.aclose()


async def test_a_key_of_another_wallet_is_refused_before_anything_is_asked() -> None:
    async with open_floor() as floor:
        stranger = Account(floor.wallet, OTHER_KEY)
        with pytest.raises(CredentialError, match=floor.wallet):
            await PolymarketExchange.open(floor.settings, [stranger], WallClock())
        assert floor.calls() == 0


async def test_a_refused_key_names_the_wallet_and_never_the_key() -> None:
    async with open_floor() as floor:
        for path in ("/auth/api-key", "/auth/derive-api-key"):
            for method in ("GET", "POST"):
                refusal = Fault(
                    action=Action.ANSWER_INSTEAD, method=method, path=path, status=401, times=None
                )
                floor.venue.faults.add(refusal)
        with pytest.raises(CredentialError, match=floor.wallet) as caught:
            await PolymarketExchange.open(floor.settings, [floor.account], WallClock())
    assert KEY.get_secret_value()[2:] not in str(caught.value)


@pytest.mark.parametrize("status", [425, 500, 503])
async def test_an_exchange_that_is_down_at_the_start_is_no_fault_of_the_key(status: int) -> None:
    async with open_floor() as floor:
        down = Fault(action=Action.ANSWER_INSTEAD, path="/auth", status=status, times=None)
        floor.venue.faults.add(down)
        with pytest.raises(ExchangeUnreachable):
            await PolymarketExchange.open(floor.settings, [floor.account], WallClock())


async def test_an_exchange_that_is_not_there_is_unreachable() -> None:
    async with SimulatedExchange.start() as venue:
        settings = settings_for(venue)
    with pytest.raises(ExchangeUnreachable):
        await PolymarketExchange.open(settings, [account_of()], WallClock())


async def test_public_reads_need_no_account() -> None:
    async with open_floor() as floor:
        floor.offer("0.50", "10")
        exchange = await PolymarketExchange.open(floor.settings, [], WallClock())
        try:
            assert (await exchange.book(floor.yes)).asks
            assert (await exchange.market(floor.condition_id)).accepting_orders
        finally:
            await exchange.aclose()


# --- readiness ------------------------------------------------------------------------------------------------


async def test_a_good_venue_has_no_problems(exchange: PolymarketExchange) -> None:
    health = await exchange.health()
    assert health.version == 2
    assert abs(health.skew_s) < 1.0
    assert health.problems() == ()


async def test_a_wallet_that_may_only_close_positions_is_a_problem() -> None:
    async with open_floor() as floor, polymarket(floor) as exchange:
        floor.venue.engine.keys.restrict(floor.wallet, closed_only=True)
        health = await exchange.health()
    assert health.closed_only == (floor.wallet,)
    (problem,) = health.problems()
    assert floor.wallet in problem


@pytest.mark.parametrize("offset_s", [-7, 7])
async def test_a_clock_that_is_off_is_a_problem(offset_s: int) -> None:
    async with open_floor(Rules(time_offset_s=offset_s)) as floor:
        exchange = await PolymarketExchange.open(floor.settings, [], WallClock())
        try:
            health = await exchange.health()
        finally:
            await exchange.aclose()
    assert abs(health.skew_s - offset_s) <= 1.0
    assert "clock" in health.problems()[0]


async def test_another_order_version_is_a_problem(floor: Floor, exchange: PolymarketExchange) -> None:
    floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/version", status=200, body='{"version":3}')
    )
    health = await exchange.health()
    assert "version 3" in health.problems()[0]


async def test_warming_opens_the_connection_that_orders_use(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    touched = ("GET", "/auth/ban-status/closed-only")
    before = floor.venue.journal.counts[touched]
    await exchange.warm([floor.wallet], [floor.condition_id])
    assert floor.venue.journal.counts[touched] == before + 1


async def test_warming_survives_an_exchange_that_does_not_answer(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    floor.venue.faults.add(Fault(action=Action.DROP_BEFORE, method="GET", path="/", times=3))
    await exchange.warm([floor.wallet], [floor.condition_id])
    assert (await exchange.market(floor.condition_id)).accepting_orders


async def test_kept_warm_the_connection_is_touched_and_markets_never_grow_old() -> None:
    async with open_floor() as floor:
        brisk = floor.settings.model_copy(update={"keep_warm_every_s": 0.05, "market_ttl_s": 0.3})
        async with polymarket(floor, settings=brisk) as exchange:
            await exchange.market(floor.condition_id)
            warming = asyncio.create_task(exchange.keep_warm())
            counts = floor.venue.journal.counts
            try:
                await eventually(lambda: counts["GET", "/auth/ban-status/closed-only"] >= 3)
                await eventually(lambda: counts["GET", "/clob-markets/"] >= 3)
                floor.venue.faults.add(Fault(action=Action.DROP_BEFORE, method="GET", path="/", times=6))
                seen = counts["GET", "/auth/ban-status/closed-only"]
                await eventually(lambda: counts["GET", "/auth/ban-status/closed-only"] >= seen + 6)
            finally:
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
    assert warming.cancelled()


# --- events ---------------------------------------------------------------------------------------------------


async def test_an_order_wakes_its_owner() -> None:
    async with open_floor() as floor, polymarket(floor) as exchange:
        heard: list[OrderId] = []

        async def listen() -> None:
            async for order_id in exchange.order_events(floor.wallet):
                heard.append(order_id)  # noqa: PERF401 - it is read while it grows

        listening = asyncio.create_task(listen())
        try:
            await eventually(lambda: floor.venue.streams.count("user") == 1)
            resting = await prepared(floor, exchange, limit_price="0.40", order_type=OrderType.GTC)
            await exchange.submit(resting)
            floor.offer("0.50", "1000")
            taking = await prepared(floor, exchange)
            await exchange.submit(taking)
            await eventually(lambda: {resting.order_id, taking.order_id} <= set(heard))
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
    assert listening.cancelled()
