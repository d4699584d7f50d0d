"""py-clob-client-v2, a client nobody here wrote, agrees with the simulated exchange about everything it does.

It is synchronous, so it runs in a thread; only resting orders are posted, because it waits thirty seconds for
the hashes of a matched one.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from py_clob_client_v2 import BalanceAllowanceParams, ClobClient, OpenOrderParams, OrderArgs
from py_clob_client_v2.clob_types import AssetType, OrderPayload, OrderType
from py_clob_client_v2.exceptions import PolyApiException
from py_clob_client_v2.order_utils.exchange_order_builder_v2 import ExchangeOrderBuilderV2

from tests.support.exchange_clients import address_of, private_key
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.hashing import NEG_RISK_EXCHANGE, STANDARD_EXCHANGE
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.units import MICRO

MARKETS = [
    synthetic_market("Foreign client"),
    synthetic_market("Foreign client, negative risk", neg_risk=True),
]


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start(MARKETS) as running:
        running.backoffice.fund(address_of(private_key(3)), 1_000 * MICRO)
        for market in MARKETS:
            running.quote(market.tokens[0], Side.SELL, "0.52", 100)
            running.quote(market.tokens[0], Side.BUY, "0.50", 100)
        yield running


@pytest.fixture
async def client(exchange: SimulatedExchange) -> Any:
    def connect() -> Any:
        client = ClobClient(exchange.http_url, 137, key="0x" + private_key(3).secret.hex())
        client.set_api_creds(client.create_or_derive_api_key())
        return client

    return await asyncio.to_thread(connect)


def bid(market: Market, price: float = 0.40) -> Any:
    return OrderArgs(token_id=market.tokens[0], price=price, size=10, side="BUY")


@pytest.mark.parametrize(
    ("index", "contract"), [(0, STANDARD_EXCHANGE), (1, NEG_RISK_EXCHANGE)], ids=["standard", "negative risk"]
)
async def test_its_order_rests_under_the_id_it_computes_itself(
    client: Any, index: int, contract: str
) -> None:
    def place() -> tuple[str, Any]:
        signed = client.create_order(bid(MARKETS[index]))
        hasher = ExchangeOrderBuilderV2(contract, 137, client.signer)
        return hasher.build_order_hash(hasher.build_order_typed_data(signed)), client.post_order(signed)

    expected, answer = await asyncio.to_thread(place)
    assert answer == {
        "success": True,
        "errorMsg": "",
        "orderID": expected,
        "status": "live",
        "makingAmount": "",
        "takingAmount": "",
    }


async def test_it_looks_up_lists_and_cancels_what_it_placed(client: Any) -> None:
    def trade() -> tuple[Any, Any, Any, Any]:
        placed = client.create_and_post_order(bid(MARKETS[0]), order_type=OrderType.GTC)["orderID"]
        looked_up = client.get_order(placed)
        listed = client.get_open_orders(OpenOrderParams(market=MARKETS[0].condition))
        return looked_up, listed, client.cancel_order(OrderPayload(orderID=placed)), client.get_order(placed)

    looked_up, listed, cancelled, after = await asyncio.to_thread(trade)
    assert (looked_up["status"], looked_up["price"], looked_up["original_size"]) == ("LIVE", "0.4", "10")
    assert [order["id"] for order in listed] == [looked_up["id"]]
    assert cancelled == {"canceled": [looked_up["id"]], "not_canceled": {}}
    assert after["status"] == "CANCELED"


async def test_it_reads_books_ticks_fees_balances_and_time(client: Any) -> None:
    def read() -> dict[str, Any]:
        token = MARKETS[1].tokens[0]
        return {
            "ok": client.get_ok(),
            "version": client.get_version(),
            "tick": client.get_tick_size(token),
            "neg_risk": client.get_neg_risk(token),
            "best_ask": client.get_order_book(token)["asks"][-1],
            "midpoint": client.get_midpoint(token),
            "market": client.get_market(MARKETS[1].condition)["accepting_orders"],
            "balance": client.get_balance_allowance(BalanceAllowanceParams(asset_type=AssetType.COLLATERAL))[
                "balance"
            ],
            "trades": client.get_trades(),
            "closed_only": client.get_closed_only_mode(),
        }

    assert await asyncio.to_thread(read) == {
        "ok": "OK",
        "version": 2,
        "tick": "0.01",
        "neg_risk": True,
        "best_ask": {"price": "0.52", "size": "100"},
        "midpoint": {"mid": "0.51"},
        "market": True,
        "balance": "1000000000",
        "trades": [],
        "closed_only": {"closed_only": False},
    }


async def test_its_own_retry_after_a_lost_answer_meets_the_order_it_already_placed(
    exchange: SimulatedExchange, client: Any
) -> None:
    client.retry_on_error = True
    signed = await asyncio.to_thread(client.create_order, bid(MARKETS[0]))
    exchange.faults.add(Fault(action=Action.DROP_AFTER))
    with pytest.raises(PolyApiException, match="Duplicated"):
        await asyncio.to_thread(client.post_order, signed)
    (accepted,) = exchange.journal.accepted_ids()
    assert [receipt.status for receipt in exchange.journal.posts_of(accepted)] == [None, 400]
    assert len(exchange.journal.bodies_of(accepted)) == 1
