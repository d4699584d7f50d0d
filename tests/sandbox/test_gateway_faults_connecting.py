"""The gateway's faults as a client meets them that connects or joins while they are in force."""

import asyncio
import re
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.eventually import eventually
from tests.support.raw_realtime import COMPRESSED, PATIENCE_S, FaultyGateway, faulty_gateway
from tests.support.recorded_realtime import recorded
from worker.sandbox.gateway.effects import GoDown, JoinEffect, UpgradeEffect
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE, UNTIL_CLEARED
from worker.sandbox.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEVER_S = 3600.0

UNPUBLISHED = (
    "error: Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given "
    "connect parameters: [event: INSERT, schema: public, table: signals, filters: [], select: nil]"
)
JOINS: dict[Fault, list[str]] = {
    Fault.TABLE_UNPUBLISHED: ["joined 1", UNPUBLISHED],
    Fault.JOIN_REFUSED: [
        "refused 1: UnableToConnectToProject: Realtime was unable to connect to the project database"
    ],
    Fault.JOIN_UNANSWERED: [],
    Fault.JOIN_LATE: ["joined 1", "subscribed"],
    Fault.TOO_MANY_CHANNELS: ["refused 1: ChannelRateLimitReached: Too many channels"],
    Fault.TOO_MANY_USERS: ["refused 1: ConnectionRateLimitReached: Too many connected users"],
    Fault.TOO_MANY_JOINS: [
        "refused 1: ClientJoinRateLimitReached: Too many joins per second",
        "closed 1001",
    ],
    Fault.TOO_MANY_DATABASE_CONNECTIONS: [
        "refused 1: DatabaseConnectionRateLimitReached: Too many database connections attempts per second"
    ],
    Fault.LATE_SUBSCRIBED: ["joined 1", "subscribed"],
    Fault.LOSS_AFTER_SUBSCRIBED: ["joined 1", "subscribed"],
}
"""What a client sees that joins while the fault is in force."""

UPGRADES: dict[Fault, tuple[int, str, str]] = {
    Fault.UPGRADE_UNAUTHORIZED: (401, "application/json", '{"error":"Failed to validate JWT signature"}'),
    Fault.UPGRADE_FORBIDDEN: (403, "application/json", '{"error":"Realtime disabled for this tenant"}'),
    Fault.UPGRADE_RATE_LIMITED: (429, "application/json", '{"error":"Too many connected users"}'),
    Fault.UPGRADE_FAILED: (500, "text/html", "Internal Server Error"),
    Fault.UPGRADE_UNAVAILABLE: (503, "application/json", ""),
    Fault.UPGRADE_HANGS: (500, "text/html", "Internal Server Error"),
    Fault.REALTIME_DOWN: (502, "", ""),
}
"""How an upgrade is answered while the fault is in force."""


async def test_every_fault_that_meets_who_connects_is_shown_to_one() -> None:
    meeting = {
        fault
        for fault, entry in CATALOGUE.items()
        if isinstance(entry.effect, JoinEffect | UpgradeEffect | GoDown)
    }
    assert meeting == {*JOINS, *UPGRADES, Fault.SERVER_DOWN}


@pytest.mark.parametrize("fault", JOINS)
async def test_a_join_meets_the_fault_and_the_next_one_after_its_end_does_not(
    fault: Fault, gateway: FaultyGateway
) -> None:
    strike = await gateway.faults.inflict(fault, for_s=UNTIL_CLEARED)
    async with gateway.client() as client:
        await client.ask_to_join()
        assert [await client.sees() for _ in JOINS[fault]] == JOINS[fault]
        if fault is not Fault.TOO_MANY_JOINS:
            await client.sees_nothing_more()
    assert strike.struck == 1
    await gateway.faults.clear()
    async with gateway.live_client() as client:
        await gateway.insert("A")
        assert await client.sees() == "row A"


@pytest.mark.parametrize("fault", UPGRADES)
async def test_an_upgrade_meets_the_fault_and_the_next_one_after_its_end_does_not(
    fault: Fault, gateway: FaultyGateway
) -> None:
    strike = await gateway.faults.inflict(fault, for_s=UNTIL_CLEARED)
    with pytest.raises(InvalidStatus) as refusal:
        await connect(gateway.address, open_timeout=PATIENCE_S)
    response = refusal.value.response
    status, content_type, body = UPGRADES[fault]
    assert response.status_code == status
    assert (response.body or b"").decode() == body
    assert response.headers.get("content-type", "").startswith(content_type)
    assert strike.struck == 1
    await gateway.faults.clear()
    async with gateway.live_client() as client:
        await client.sees_nothing_more()


async def test_rows_before_a_late_subscribed_are_lost(gateway: FaultyGateway) -> None:
    strike = await gateway.faults.inflict(Fault.LATE_SUBSCRIBED, for_s=UNTIL_CLEARED, delay_s=NEVER_S)
    async with gateway.client() as client:
        await client.ask_to_join()
        assert await client.sees() == "joined 1"
        await eventually(lambda: strike.struck == 1, within_s=PATIENCE_S)
        await gateway.insert("A", "B")
        await client.sees_nothing_more()
        assert strike.lost == {"signals": 2}


async def test_rows_after_a_late_subscribed_are_heard(gateway: FaultyGateway) -> None:
    await gateway.faults.inflict(Fault.LATE_SUBSCRIBED, for_s=UNTIL_CLEARED)
    async with gateway.live_client() as client:
        await gateway.insert("A")
        assert await client.sees() == "row A"


async def test_rows_are_lost_for_a_while_after_a_subscribed_that_promised_too_much(
    gateway: FaultyGateway,
) -> None:
    strike = await gateway.faults.inflict(Fault.LOSS_AFTER_SUBSCRIBED, for_s=UNTIL_CLEARED, delay_s=NEVER_S)
    async with gateway.live_client() as client:
        await gateway.insert("A", "B")
        await client.sees_nothing_more()
        assert strike.lost == {"signals": 2}


async def test_rows_are_heard_when_the_loss_after_a_subscribed_is_over(gateway: FaultyGateway) -> None:
    strike = await gateway.faults.inflict(Fault.LOSS_AFTER_SUBSCRIBED, for_s=UNTIL_CLEARED)

    async def is_heard() -> bool:
        lost = strike.rows_lost
        await gateway.insert("A")
        return strike.rows_lost == lost

    async with gateway.live_client() as client:
        await eventually(is_heard, within_s=PATIENCE_S)
        assert await client.sees() == "row A"


async def test_a_fault_of_joins_spares_the_channels_of_other_tables(gateway: FaultyGateway) -> None:
    await gateway.faults.inflict(Fault.TABLE_UNPUBLISHED, for_s=UNTIL_CLEARED, table="signals")
    async with gateway.client() as client:
        await client.join("echo", table="echoes", ref="1")
        await client.ask_to_join(ref="2")
        assert [await client.sees(), await client.sees()] == ["joined 2", UNPUBLISHED]
        await gateway.insert("A")
        await gateway.insert("B", table="echoes")
        assert await client.sees() == "row B"


async def test_a_second_join_behind_a_late_one_gets_the_close_of_the_first(gateway: FaultyGateway) -> None:
    """What kills the client library: its own channel's close comes after the reply that it takes for success."""
    await gateway.faults.inflict(Fault.JOIN_LATE, for_s=UNTIL_CLEARED, delay_s=0.5)
    async with gateway.client() as client:
        await client.ask_to_join(ref="1")
        await client.ask_to_join(ref="2")
        seen = [await client.sees() for _ in range(4)]
        assert seen == ["joined 1", "joined 2", "phx_close 1", "subscribed"]
        await gateway.insert("A")
        assert await client.sees() == "row A"


async def test_joins_are_turned_away_in_the_very_words_that_were_recorded(gateway: FaultyGateway) -> None:
    expected = next(step.raw for step in recorded("S05") if "Please check Realtime" in step.raw)
    await gateway.faults.inflict(Fault.TABLE_UNPUBLISHED, for_s=UNTIL_CLEARED)
    async with gateway.client() as client:
        await client.ask_to_join()
        assert [await client.sees(), await client.sees()] == ["joined 1", UNPUBLISHED]
        assert _normalised(client.raw) == _normalised(expected)


async def test_upgrades_are_refused_while_realtime_is_down_and_postgrest_is_not(
    gateway: FaultyGateway,
) -> None:
    expected = next(step.raw for step in recorded("S11") if step.raw.startswith("502"))
    await gateway.faults.inflict(Fault.REALTIME_DOWN, for_s=UNTIL_CLEARED)
    with pytest.raises(InvalidStatus) as refusal:
        await connect(gateway.address)
    headers = refusal.value.response.headers
    assert expected == f"502 Content-Length: {headers['content-length']}; Connection: {headers['connection']}"
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{gateway.gateway.url}/rest/v1/signals")
        assert "upstream server" in answer.text


async def test_connections_are_refused_while_the_server_is_down_and_served_at_the_same_address_after(
    gateway: FaultyGateway,
) -> None:
    rest = f"{gateway.gateway.url}/rest/v1/signals"
    async with httpx.AsyncClient() as client:
        await client.get(rest)  # its connection stays open
        strike = await gateway.faults.inflict(Fault.SERVER_DOWN, for_s=UNTIL_CLEARED)
        with pytest.raises(httpx.TransportError):
            await client.get(rest)
        with pytest.raises(ConnectionRefusedError):
            await connect(gateway.address)
        await gateway.insert("A")
        assert strike.lost == {"signals": 1}
        await gateway.faults.clear()
        assert (await client.get(rest)).status_code == 502
    async with gateway.live_client() as socket:
        await gateway.insert("B")
        assert await socket.sees() == "row B"


async def test_a_server_that_went_down_twice_is_back_when_both_are_over(gateway: FaultyGateway) -> None:
    first = await gateway.faults.inflict(Fault.SERVER_DOWN, for_s=UNTIL_CLEARED)
    second = await gateway.faults.inflict(Fault.SERVER_DOWN, for_s=UNTIL_CLEARED)
    first.end()
    await first.over()
    with pytest.raises(ConnectionRefusedError):
        await connect(gateway.address)
    second.end()
    await second.over()
    async with gateway.live_client() as client:
        await client.sees_nothing_more()


async def test_a_server_that_is_down_comes_back_by_itself(gateway: FaultyGateway) -> None:
    strike = await gateway.faults.inflict(Fault.SERVER_DOWN)
    async with asyncio.timeout(PATIENCE_S):
        await strike.over()
    async with gateway.live_client() as client:
        await client.sees_nothing_more()


async def test_connections_hang_in_a_black_hole_until_it_ends(gateway: FaultyGateway) -> None:
    strike = await gateway.faults.inflict(Fault.BLACK_HOLE, for_s=UNTIL_CLEARED)
    async with AsyncExitStack() as stack:
        opening = asyncio.ensure_future(stack.enter_async_context(gateway.live_client()))
        await eventually(lambda: strike.struck == 1, within_s=PATIENCE_S)
        with pytest.raises(TimeoutError):
            await connect(gateway.address, open_timeout=0.1)
        assert not opening.done()
        await gateway.insert("A")
        assert strike.lost == {"signals": 1}
        await gateway.faults.clear()
        client = await opening
        await gateway.insert("B")
        assert await client.sees() == "row B"


async def test_the_gateway_ends_while_its_server_is_down(cluster: Postgres, project_template: str) -> None:
    async with faulty_gateway(cluster, project_template, COMPRESSED) as gateway:
        strike = await gateway.faults.inflict(Fault.SERVER_DOWN, for_s=UNTIL_CLEARED)
    assert strike.ended_at is not None


def _normalised(frame: str) -> str:
    return re.sub(r'"(topic|channel)":"[^"]*"|table: \w+', "NAMED", frame)
