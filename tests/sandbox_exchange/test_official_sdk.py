"""The official SDK trades on the simulated exchange, over real sockets, as it would on the venue."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from time import time
from typing import Any

import pytest
from polymarket import AsyncSecureClient
from polymarket.errors import RequestRejectedError, UnexpectedResponseError
from polymarket.models.clob.market_events import (
    MarketBookEvent,
    MarketLastTradePriceEvent,
    MarketPriceChangeEvent,
    MarketTickSizeChangeEvent,
)
from polymarket.models.clob.order_response import AcceptedOrder
from polymarket.models.clob.orders import SignedOrder as SdkOrder
from polymarket.streams import MarketSpec, UserSpec

from tests.support.eventually import eventually
from tests.support.exchange_clients import address_of, private_key, sdk_client, sdk_environment
from worker.sandbox.exchange.hashing import order_id
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import Address, Side, SignedOrder, TokenId
from worker.sandbox.exchange.rules import Rules, SettlementDelays
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.units import MICRO

MARKET = "Official client"
NEG_RISK = "Official client, negative risk"
QUICK = Rules(settlement=SettlementDelays(to_mined_s=0.05, to_confirmed_s=0.05), page_size=2)


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    markets = [synthetic_market(MARKET), synthetic_market(NEG_RISK, neg_risk=True)]
    async with SimulatedExchange.start(markets, rules=QUICK) as running:
        for market in markets:
            running.quote(market.tokens[0], Side.SELL, "0.52", 100)
            running.quote(market.tokens[0], Side.SELL, "0.53", 100)
            running.quote(market.tokens[0], Side.BUY, "0.50", 100)
        running.backoffice.fund(address_of(private_key(1)), 1_000 * MICRO)
        yield running


@pytest.fixture
async def client(exchange: SimulatedExchange) -> AsyncIterator[AsyncSecureClient]:
    async with sdk_client(exchange) as secure:
        yield secure


@pytest.fixture
def token(exchange: SimulatedExchange) -> str:
    return next(iter(exchange.engine.markets.values())).tokens[0]


def as_signed(order: SdkOrder) -> SignedOrder:
    return SignedOrder(
        salt=order.salt,
        maker=Address(order.maker),
        signer=Address(order.signer),
        token=TokenId(order.token_id),
        maker_amount=order.maker_amount,
        taker_amount=order.taker_amount,
        side=Side(order.side),
        signature_type=order.signature_type,
        timestamp_ms=order.timestamp,
        metadata=bytes.fromhex(order.metadata[2:]),
        builder=bytes.fromhex(order.builder[2:]),
        expiration_s=order.expiration,
        signature=bytes.fromhex(order.signature[2:]),
    )


async def buy(client: AsyncSecureClient, token: str, usd: str, limit: str) -> AcceptedOrder:
    signed = await client.create_market_order(
        asset_id=token, side="BUY", amount=usd, max_price=limit, order_type="FAK"
    )
    answer = await client.post_order(signed)
    assert isinstance(answer, AcceptedOrder)
    return answer


async def rest(client: AsyncSecureClient, token: str, price: str, size: str) -> AcceptedOrder:
    signed = await client.create_limit_order(asset_id=token, side="BUY", price=price, size=size)
    answer = await client.post_order(signed)
    assert isinstance(answer, AcceptedOrder)
    return answer


async def test_the_first_key_is_created_and_the_next_client_derives_the_same(
    exchange: SimulatedExchange, client: AsyncSecureClient
) -> None:
    assert client.wallet_type == "EOA"
    async with sdk_client(exchange) as second:
        assert second.credentials == client.credentials
    assert exchange.journal.counts["GET", "/auth/derive-api-key"] == 1


@pytest.mark.parametrize("index", [0, 1])
async def test_an_order_rests_under_the_id_its_signed_fields_hash_to(
    exchange: SimulatedExchange, client: AsyncSecureClient, index: int
) -> None:
    market = list(exchange.engine.markets.values())[index]
    signed = await client.create_limit_order(asset_id=market.tokens[0], side="BUY", price="0.40", size="10")
    answer = await client.post_order(signed)
    assert isinstance(answer, AcceptedOrder)
    assert str(answer.order_id) == order_id(as_signed(signed), neg_risk=market.neg_risk)
    assert (answer.status, answer.making_amount, answer.trade_ids) == ("live", Decimal(0), ())


async def test_a_market_buy_matches_at_the_best_prices_and_names_its_trades(
    client: AsyncSecureClient, token: str
) -> None:
    answer = await buy(client, token, "70.00", "0.53")
    assert answer.status == "matched"
    assert answer.making_amount == Decimal("69.999999")
    assert answer.taking_amount == Decimal("133.962264")
    assert len(answer.trade_ids) == 2
    assert answer.transactions_hashes == ()


async def test_a_market_sell_gives_shares_and_takes_dollars(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    exchange.backoffice.fund_shares(client.wallet, token, 10 * MICRO)
    signed = await client.create_market_order(
        asset_id=token, side="SELL", shares="10", min_price="0.49", order_type="FOK"
    )
    answer = await client.post_order(signed)
    assert isinstance(answer, AcceptedOrder)
    assert (answer.making_amount, answer.taking_amount) == (Decimal(10), Decimal(5))


async def test_a_killed_order_is_a_400_with_the_venues_words(client: AsyncSecureClient, token: str) -> None:
    signed = await client.create_market_order(
        asset_id=token, side="BUY", amount="10", max_price="0.51", order_type="FAK"
    )
    with pytest.raises(RequestRejectedError, match="no orders found to match with FAK order") as refusal:
        await client.post_order(signed)
    assert refusal.value.status == 400


async def test_the_same_body_twice_is_accepted_once(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    signed = await client.create_limit_order(asset_id=token, side="BUY", price="0.40", size="10")
    answer = await client.post_order(signed)
    assert isinstance(answer, AcceptedOrder)
    with pytest.raises(RequestRejectedError, match=f"order {answer.order_id} is invalid. Duplicated."):
        await client.post_order(signed)
    assert [str(accepted) for accepted in exchange.journal.accepted_ids()] == [answer.order_id]
    assert len(exchange.journal.posts_of(answer.order_id)) == 2
    assert len(exchange.journal.bodies_of(answer.order_id)) == 1


async def test_a_resting_order_is_looked_up_listed_and_cancelled(
    client: AsyncSecureClient, token: str
) -> None:
    placed = await rest(client, token, "0.40", "10")
    order = await client.get_order(order_id=placed.order_id)
    assert (order.status, order.price, order.original_size) == ("LIVE", Decimal("0.4"), Decimal(10))
    assert order.expires_at is None
    listed = await client.list_open_orders(asset_id=token).first_page()
    assert [item.id for item in listed.items] == [placed.order_id]
    assert (await client.cancel_order(order_id=placed.order_id)).canceled == (placed.order_id,)
    again = await client.cancel_order(order_id=placed.order_id)
    assert again.not_canceled == {placed.order_id: "Order not found or already canceled"}
    assert (await client.get_order(order_id=placed.order_id)).status == "CANCELED"


async def test_all_orders_of_a_market_are_cancelled_at_once(client: AsyncSecureClient, token: str) -> None:
    placed = {(await rest(client, token, price, "10")).order_id for price in ("0.40", "0.41")}
    answer = await client.cancel_market_orders(asset_id=token)
    assert set(answer.canceled) == placed
    assert (await client.cancel_all()).canceled == ()


async def test_an_order_nobody_placed_is_not_found(client: AsyncSecureClient) -> None:
    with pytest.raises(RequestRejectedError, match="Order not found") as refusal:
        await client.get_order(order_id="0x" + "00" * 32)
    assert refusal.value.status == 404


async def test_the_older_venue_answers_null_for_an_unknown_order() -> None:
    async with (
        SimulatedExchange.start(rules=Rules(missing_order_as_null=True)) as exchange,
        sdk_client(exchange) as client,
    ):
        with pytest.raises(UnexpectedResponseError):
            await client.get_order(order_id="0x" + "00" * 32)


async def test_a_trade_is_confirmed_in_stages_and_its_hash_appears(
    client: AsyncSecureClient, token: str
) -> None:
    answer = await buy(client, token, "5.20", "0.52")

    async def confirmed() -> bool:
        page = await client.list_account_trades(id=answer.trade_ids[0]).first_page()
        (trade,) = page.items
        return trade.status == "CONFIRMED"

    await eventually(confirmed)
    (trade,) = (await client.list_account_trades(asset_id=token).first_page()).items
    assert (trade.size, trade.price, trade.trader_side) == (Decimal(10), Decimal("0.52"), "TAKER")
    assert trade.transaction_hash is not None
    assert trade.taker_order_id == answer.order_id


async def test_trades_come_in_pages(client: AsyncSecureClient, token: str) -> None:
    sent = {(await buy(client, token, "1.04", "0.52")).trade_ids[0] for _ in range(5)}
    seen = [trade.id async for page in client.list_account_trades() for trade in page.items]
    assert (len(seen), set(seen)) == (5, sent)


async def test_trades_are_narrowed_by_time_market_and_party(client: AsyncSecureClient, token: str) -> None:
    (trade_id,) = (await buy(client, token, "1.04", "0.52")).trade_ids
    now_s = int(time())

    async def ids(**narrowed: Any) -> list[str]:
        return [trade.id for trade in (await client.list_account_trades(**narrowed).first_page()).items]

    assert await ids(after=str(now_s - 60), before=str(now_s + 60)) == [trade_id]
    assert await ids(maker_address=client.wallet, asset_id=token) == [trade_id]
    assert await ids(after=str(now_s + 60)) == []
    assert await ids(before=str(now_s - 60)) == []
    assert await ids(market="0x" + "00" * 32) == []
    assert await ids(maker_address="0x" + "00" * 20) == []


async def test_the_balance_is_what_the_chain_says_in_base_units(
    client: AsyncSecureClient, token: str
) -> None:
    assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == 1_000 * MICRO
    await buy(client, token, "5.20", "0.52")

    async def mined() -> bool:
        shares = await client.get_balance_allowance(asset_type="CONDITIONAL", asset_id=token)
        return shares.balance == 10 * MICRO

    await eventually(mined)
    spent = 5_200_000 + 124_800
    assert (await client.get_balance_allowance(asset_type="COLLATERAL")).balance == 1_000 * MICRO - spent


async def test_the_book_reads_best_last_and_mirrors_on_the_other_token(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    book = await client.get_order_book(asset_id=token)
    assert [level.price for level in book.asks] == [Decimal("0.53"), Decimal("0.52")]
    assert [level.price for level in book.bids] == [Decimal("0.5")]
    market = exchange.engine.market_of(token)
    assert market is not None
    mirrored = await client.get_order_book(asset_id=market.tokens[1])
    assert [level.price for level in mirrored.bids] == [Decimal("0.47"), Decimal("0.48")]


async def test_a_batch_answers_each_order_in_its_own_entry(client: AsyncSecureClient, token: str) -> None:
    good = await client.create_limit_order(asset_id=token, side="BUY", price="0.40", size="10")
    poor = await client.create_limit_order(asset_id=token, side="BUY", price="0.40", size="100000")
    answers = await client.post_orders([good, poor])
    assert [answer.ok for answer in answers] == [True, False]


async def test_wrong_credentials_are_a_401(exchange: SimulatedExchange, client: AsyncSecureClient) -> None:
    exchange.engine.keys.revoke(exchange.engine.keys.grant(client.wallet).key)
    with pytest.raises(RequestRejectedError, match="Unauthorized/Invalid api key") as refusal:
        await client.get_balance_allowance(asset_type="COLLATERAL")
    assert refusal.value.status == 401


async def test_a_skewed_clock_is_a_401() -> None:
    async with SimulatedExchange.start(rules=Rules(time_offset_s=120)) as exchange:
        credentials = exchange.fund(address_of(private_key(1)), 1)
        with pytest.raises(RequestRejectedError) as refusal:
            await AsyncSecureClient.create(
                private_key="0x" + private_key(1).secret.hex(),
                wallet=credentials.address,
                environment=sdk_environment(exchange),
            )
        assert refusal.value.status == 401


async def test_a_crypto_market_holds_a_marketable_order_before_it_answers(
    exchange: SimulatedExchange, client: AsyncSecureClient
) -> None:
    market = synthetic_market("Up or down", taker_hold_s=0.25)
    exchange.engine.list_market(market)
    exchange.quote(market.tokens[0], Side.SELL, "0.50", 100)
    await buy(client, market.tokens[0], "1.00", "0.50")
    (receipt,) = exchange.journal.orders
    assert receipt.answered_monotonic_ns is not None
    assert receipt.answered_monotonic_ns - receipt.arrived_monotonic_ns >= 250_000_000


async def test_the_user_stream_tells_an_order_and_every_state_of_its_trade(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    async with await client.subscribe(UserSpec()) as events:
        await eventually(lambda: exchange.streams.count("user") == 1)
        answer = await buy(client, token, "5.20", "0.52")
        seen: list[tuple[str, str, str]] = []
        async with asyncio.timeout(20):
            async for event in events:
                payload = event.payload
                status = str(payload.status)
                seen.append((event.type, getattr(payload, "order_event_type", "TRADE"), status))
                if status == "CONFIRMED":
                    break
    assert seen == [
        ("order", "PLACEMENT", "MATCHED"),
        ("trade", "TRADE", "MATCHED"),
        ("trade", "TRADE", "MINED"),
        ("trade", "TRADE", "CONFIRMED"),
    ]
    assert exchange.engine.trades[answer.trade_ids[0]].taker.id == str(answer.order_id)


async def test_the_market_stream_begins_with_the_book_and_tells_each_change_and_print(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    async with await client.subscribe(MarketSpec(asset_ids=[token])) as events:
        stream = aiter(events)
        async with asyncio.timeout(20):
            book = await anext(stream)
            exchange.quote(token, Side.SELL, "0.51", 20)
            change = await anext(stream)
            await buy(client, token, "1.02", "0.51")
            printed = await anext(stream)
            consumed = await anext(stream)
    assert isinstance(book, MarketBookEvent)
    assert isinstance(change, MarketPriceChangeEvent)
    assert isinstance(printed, MarketLastTradePriceEvent)
    assert isinstance(consumed, MarketPriceChangeEvent)
    assert book.payload.asks[-1].price == Decimal("0.52")
    assert [c.best_ask for c in change.payload.price_changes if c.asset_id == token] == [Decimal("0.51")]
    assert (printed.payload.price, printed.payload.size) == (Decimal("0.51"), Decimal(2))
    assert [c.size for c in consumed.payload.price_changes if c.asset_id == token] == [18]


async def test_a_changed_tick_is_told_and_then_enforced(
    exchange: SimulatedExchange, client: AsyncSecureClient, token: str
) -> None:
    market = exchange.engine.market_of(token)
    assert market is not None
    signed = await client.create_limit_order(asset_id=token, side="BUY", price="0.41", size="10")
    async with await client.subscribe(MarketSpec(asset_ids=[token])) as events:
        stream = aiter(events)
        async with asyncio.timeout(20):
            await anext(stream)
            exchange.backoffice.change_tick(market.condition, 1_000)
            event = await anext(stream)
    assert isinstance(event, MarketTickSizeChangeEvent)
    assert (event.payload.old_tick_size, event.payload.new_tick_size) == (Decimal("0.01"), Decimal("0.1"))
    with pytest.raises(RequestRejectedError, match=r"Price \(0.41\) breaks minimum tick size rule: 0.1"):
        await client.post_order(signed)
