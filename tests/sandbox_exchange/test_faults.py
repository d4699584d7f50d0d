"""Scripted misfortune around requests, and what the journal can say afterwards."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from time import monotonic, time_ns
from typing import Any

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.exchange_clients import Trader
from tests.support.exchange_wire import WireClient
from worker.sandbox.exchange.accounts import USD
from worker.sandbox.exchange.faults import Action, Fault, lognormal_latency
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.units import Micro
from worker.sandbox.exchange.wire import Json

MARKET = synthetic_market("Faults")


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with SimulatedExchange.start([MARKET]) as running:
        yield running


@pytest.fixture
def trader(exchange: SimulatedExchange) -> Trader:
    return Trader(exchange)


@pytest.fixture
async def session() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=20) as opened:
        yield opened


async def post(
    session: httpx.AsyncClient, trader: Trader, url: str, body: Any, path: str = "/order"
) -> tuple[int, Any]:
    seen = await WireClient(session, trader, url).send("POST", path, body)
    return seen.status, seen.body


def bid(session: httpx.AsyncClient, trader: Trader) -> Json:
    client = WireClient(session, trader, "")
    return client.body_of(client.bid(MARKET.tokens[0]))


async def test_a_drop_before_processing_and_one_after_look_the_same_and_are_not(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    before, after = bid(session, trader), bid(session, trader)
    exchange.faults.add(Fault(action=Action.DROP_BEFORE))
    exchange.faults.add(Fault(action=Action.DROP_AFTER))
    for body in (before, after):
        with pytest.raises(httpx.TransportError):
            await post(session, trader, exchange.http_url, body)
    assert len(exchange.engine.orders) == 1
    assert (await post(session, trader, exchange.http_url, before))[0] == 200
    status, answer = await post(session, trader, exchange.http_url, after)
    assert status == 400
    assert answer["error"].endswith("is invalid. Duplicated.")
    assert len(exchange.journal.accepted_ids()) == 2
    lost, found = exchange.journal.accepted_ids()[::-1]
    assert [receipt.fault for receipt in exchange.journal.posts_of(lost)] == ["drop_before", None]
    assert [receipt.fault for receipt in exchange.journal.posts_of(found)] == ["drop_after", None]
    assert [len(exchange.journal.bodies_of(order_id)) for order_id in (lost, found)] == [1, 1]
    assert exchange.journal.first_arrivals_ns() == {
        found: exchange.journal.orders[1].arrived_ns,
        lost: exchange.journal.orders[0].arrived_ns,
    }


async def test_an_order_that_the_exchange_refused_has_arrived_like_any_other(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    refused = bid(session, trader)
    exchange.engine.accounts.set_balance(trader.address, USD, Micro(0))
    status, _ = await post(session, trader, exchange.http_url, refused)
    assert status == 400
    assert not exchange.journal.accepted_ids()
    assert list(exchange.journal.first_arrivals_ns().values()) == [exchange.journal.orders[0].arrived_ns]


async def test_a_restart_answers_425_and_processes_nothing(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    exchange.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, status=425, body='{"error":"Too Early"}', times=2)
    )
    body = bid(session, trader)
    answers = [(await post(session, trader, exchange.http_url, body))[0] for _ in range(3)]
    assert answers == [425, 425, 200]
    assert len(exchange.journal.accepted_ids()) == 1


async def test_a_500_after_processing_hides_an_accepted_order(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    exchange.faults.add(
        Fault(action=Action.ANSWER_AFTER, status=500, body='{"error":"could not run the execution"}')
    )
    status, _ = await post(session, trader, exchange.http_url, bid(session, trader))
    assert (status, len(exchange.engine.orders)) == (500, 1)


async def test_an_order_can_arrive_after_its_sender_gave_up(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    exchange.faults.add(Fault(action=Action.PROCESS_LATE, seconds=0.3))
    sending = asyncio.create_task(post(session, trader, exchange.http_url, bid(session, trader)))
    await eventually(lambda: exchange.faults.struck["process_late"])
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert exchange.engine.orders == {}
    await eventually(lambda: len(exchange.engine.orders) == 1)


async def test_a_late_answer_was_processed_at_once(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    exchange.faults.add(Fault(action=Action.ANSWER_LATE, seconds=0.2))
    began = monotonic()
    sending = asyncio.create_task(post(session, trader, exchange.http_url, bid(session, trader)))
    await eventually(lambda: len(exchange.engine.orders) == 1)
    assert not sending.done()
    assert (await sending)[0] == 200
    assert monotonic() - began >= 0.2


async def test_a_fault_strikes_only_what_it_matches_and_as_often_as_it_says(
    exchange: SimulatedExchange,
) -> None:
    exchange.faults.add(Fault(action=Action.DROP_BEFORE, method="DELETE", path="/order"))
    exchange.faults.add(Fault(action=Action.DROP_AFTER, times=None, probability=0.5))
    struck = [exchange.faults.strike("POST", "/order") for _ in range(400)]
    assert 140 < sum(fault is not None for fault in struck) < 260
    assert exchange.faults.strike("GET", "/book") is None
    first, second = (exchange.faults.strike("DELETE", "/order") for _ in range(2))
    assert first is not None
    assert second is None


async def test_latency_delays_every_answer(exchange: SimulatedExchange, session: httpx.AsyncClient) -> None:
    exchange.faults.latency_s = lognormal_latency(0.1, sigma=0.0)
    began = monotonic()
    assert (await session.get(f"{exchange.http_url}/ok")).status_code == 200
    assert monotonic() - began >= 0.1


async def test_the_journal_keeps_the_bytes_the_time_and_what_became_of_each_order(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    sent_ns = time_ns()
    batch = [bid(session, trader), {**bid(session, trader), "owner": "somebody else"}]
    status, answers = await post(session, trader, exchange.http_url, batch, path="/orders")
    (receipt,) = exchange.journal.orders
    assert (status, receipt.status, receipt.path) == (200, 200, "/orders")
    assert receipt.outcomes == ["live", "the order owner has to be the owner of the API KEY"]
    accepted, refused = receipt.order_ids
    assert accepted == answers[0]["orderID"]
    assert refused is not None
    assert (exchange.journal.accepted_ids(), answers[1]["orderID"]) == ([accepted], "")
    first_ns = exchange.journal.first_arrival_ns(accepted or "")
    assert first_ns is not None
    assert sent_ns <= first_ns <= time_ns()
    assert exchange.journal.accepted_ids_by_body() == {receipt.body: {accepted}}
    assert trader.credentials.secret not in str(receipt.headers)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"side": "HOLD"}, "Invalid order payload"),
        ({"salt": "1"}, "Invalid order payload"),
        ({"makerAmount": 5_000_000}, "Invalid order payload"),
        ({"metadata": "0x00"}, "Invalid order payload"),
        ({"signature": "0x00"}, "invalid signature"),
        ({"feeRateBps": "0"}, "order_version_mismatch"),
    ],
)
async def test_a_body_of_another_shape_is_refused(
    exchange: SimulatedExchange,
    trader: Trader,
    session: httpx.AsyncClient,
    change: Json,
    answer: str,
) -> None:
    body = bid(session, trader)
    body["order"].update(change)
    assert await post(session, trader, exchange.http_url, body) == (400, {"error": answer})
    assert exchange.engine.orders == {}


async def test_what_is_not_json_is_refused(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    status, answer = await post(session, trader, exchange.http_url, b"{not json")
    assert (status, answer) == (400, {"error": "Invalid order payload"})


async def test_a_request_signed_with_another_secret_is_unauthorized(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    trader.credentials = dataclasses.replace(trader.credentials, secret="c2VjcmV0")
    status, answer = await post(session, trader, exchange.http_url, bid(session, trader))
    assert (status, answer) == (401, {"error": "Unauthorized/Invalid api key"})


async def test_a_batch_of_more_than_fifteen_is_refused(
    exchange: SimulatedExchange, trader: Trader, session: httpx.AsyncClient
) -> None:
    status, answer = await post(session, trader, exchange.http_url, [{}] * 16, path="/orders")
    assert (status, answer) == (400, {"error": "Too many orders in payload: 16, max allowed: 15"})


async def test_an_idle_connection_is_closed_by_the_venue() -> None:
    async with SimulatedExchange.start(keepalive_s=0.05) as exchange:
        host, port = exchange.http_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /ok HTTP/1.1\r\nHost: venue\r\n\r\n")
        async with asyncio.timeout(20):
            assert (await reader.read()).endswith(b'"OK"')
        writer.close()
        await writer.wait_closed()


async def test_an_agenda_that_broke_down_is_not_passed_over_in_silence() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def run_into_it() -> None:
        async with SimulatedExchange.start() as exchange:
            exchange.engine.agenda.after(0, fail)
            await eventually(lambda: exchange.engine.agenda.next_due_ns() is None)

    with pytest.raises(RuntimeError, match="agenda broke down"):
        await run_into_it()
