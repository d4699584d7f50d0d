"""The gateway's faults as a client with a live channel meets them. Who connects: `test_gateway_faults_connecting`."""

import asyncio
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.eventually import eventually
from tests.support.raw_realtime import COMPRESSED, PATIENCE_S, FaultyGateway, faulty_gateway, lasting
from worker.sandbox.gateway.effects import JoinEffect, UpgradeEffect
from worker.sandbox.gateway.fault import Fault, Sight
from worker.sandbox.gateway.fault_catalogue import CATALOGUE, UNTIL_CLEARED
from worker.sandbox.gateway.pacing import DeliveryMode, Pacer
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEVER_S = 3600.0

NOTHING_MORE: list[str] = []
BOTH = ["row A", "row B"]

SEEN: dict[Fault, tuple[list[str], list[str]]] = {
    Fault.SILENT_WINDOW: ([], ["row C"]),
    Fault.SKIPPED_ROWS: ([], ["row C"]),
    Fault.DEAD_CHANNELS: ([], NOTHING_MORE),
    Fault.DEAD_AFTER_SUBSCRIBED: (["subscribed"], NOTHING_MORE),
    Fault.LOSS_BEFORE_RESTART: ([], ["closed 1012"]),
    Fault.LOSS_BEFORE_RESET: ([], ["reset"]),
    Fault.HOLE_BEFORE_SUBSCRIBED: ([], ["subscribed", "row C"]),
    Fault.POLLED_ROWS: (BOTH, ["row C"]),
    Fault.DUPLICATED_ROWS: (["row A", "row A", "row B", "row B"], ["row C"]),
    Fault.REORDERED_ROWS: (["row B", "row A"], ["row C"]),
    Fault.UNAUTHORIZED_ROWS: (["row ? Error 401: Unauthorized"] * 2, ["row C"]),
    Fault.KEYLESS_ROWS: (["row ? Error 400: Bad Request, no primary key"] * 2, ["row C"]),
    Fault.TRUNCATED_ROWS: (
        ["row A Error 413: Payload Too Large", "row B Error 413: Payload Too Large"],
        ["row C"],
    ),
    Fault.OVERSIZED_FRAME: (["closed 1009"], NOTHING_MORE),
    Fault.MALFORMED_FRAMES: (
        ["no JSON", "version 2", "binary", "ok: Server requested disconnect", "row ?", *BOTH],
        ["row C"],
    ),
    Fault.SUBSCRIBED_AGAIN: (["subscribed", *BOTH], ["row C"]),
    Fault.CHANNEL_CLOSED: (["phx_close 1"], NOTHING_MORE),
    Fault.EARLIER_JOIN_CLOSED: (["phx_close 0", *BOTH], ["row C"]),
    Fault.CHANNEL_CRASHED: (["phx_error 1"], NOTHING_MORE),
    Fault.TOO_MANY_MESSAGES: (["error: Too many messages per second", "phx_close 1"], NOTHING_MORE),
    Fault.TOKEN_EXPIRED: (["error: Token has expired 0 seconds ago", "phx_close 1"], NOTHING_MORE),
    Fault.CLOSED_NORMALLY: (["closed 1000"], NOTHING_MORE),
    Fault.CLOSED_GOING_AWAY: (["closed 1001"], NOTHING_MORE),
    Fault.CLOSED_BY_ERROR: (["closed 1011"], NOTHING_MORE),
    Fault.CLOSED_BY_RESTART: (["closed 1012"], NOTHING_MORE),
    Fault.CLOSED_BY_APPLICATION: (["closed 4000"], NOTHING_MORE),
    Fault.DISCONNECT_REQUESTED: (["ok: Server requested disconnect", "closed 1012"], NOTHING_MORE),
    Fault.RESET: (["reset"], NOTHING_MORE),
    Fault.REALTIME_DOWN: (["reset"], NOTHING_MORE),
    Fault.SERVER_DOWN: (["reset"], NOTHING_MORE),
    **{
        fault: (["closed 1012"], NOTHING_MORE)
        for fault, entry in CATALOGUE.items()
        if isinstance(entry.effect, JoinEffect | UpgradeEffect) and fault is not Fault.REALTIME_DOWN
    },
}
"""What comes while the fault is in force and rows A and B are committed; then, after its end, with row C."""

ENDINGS = ("closed", "reset")
ELSEWHERE = {
    Fault.RATE_LIMITED_ROWS,
    Fault.SUBSCRIPTION_LAPSED,
    Fault.HEARTBEATS_UNANSWERED,
    Fault.UPLINK_LOST,
    Fault.BLACK_HOLE,
}
"""Each has a test of its own below."""


async def test_every_known_fault_is_shown_to_a_live_client() -> None:
    assert set(CATALOGUE) == set(Fault) == {*SEEN, *ELSEWHERE}


@pytest.mark.parametrize("fault", SEEN)
async def test_a_live_client_sees_of_a_fault_what_the_real_server_showed(
    fault: Fault, gateway: FaultyGateway
) -> None:
    during, after = SEEN[fault]
    async with gateway.live_client() as client:
        lost_before = gateway.faults.unheard.total()
        strike = await gateway.faults.inflict(fault, for_s=lasting(fault))
        await gateway.insert("A", "B")
        assert [await client.sees() for _ in during] == during
        if not during or not during[-1].startswith(ENDINGS):
            await client.sees_nothing_more()
        lost = strike.rows_lost + gateway.faults.unheard.total() - lost_before
        assert bool(lost) is CATALOGUE[fault].loses
        assert strike.struck or isinstance(strike.effect, JoinEffect | UpgradeEffect)

        await gateway.faults.clear()
        assert strike.ended_at is not None
        await gateway.insert("C")
        assert [await client.sees() for _ in after] == after
        if not (during + after or [""])[-1].startswith(ENDINGS):
            await client.sees_nothing_more()


@pytest.mark.parametrize(
    "fault", [fault for fault, entry in CATALOGUE.items() if entry.sight is Sight.SILENT]
)
async def test_a_silent_fault_leaves_the_socket_open_and_heartbeats_answered(
    fault: Fault, gateway: FaultyGateway
) -> None:
    async with gateway.live_client() as client:
        await gateway.faults.inflict(fault, for_s=lasting(fault))
        if fault is Fault.DEAD_AFTER_SUBSCRIBED:
            assert await client.sees() == "subscribed"
        await client.sees_nothing_more()


async def test_a_fault_ends_by_itself_when_its_time_has_passed(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.SILENT_WINDOW)
        await eventually(lambda: strike.ended_at is not None, within_s=PATIENCE_S)
        await gateway.insert("A")
        assert await client.sees() == "row A"
    assert strike.ended_at is not None
    lasted_s = (strike.ended_at - strike.began_at).total_seconds()
    assert lasted_s >= CATALOGUE[Fault.SILENT_WINDOW].lasts_s * COMPRESSED.fault_scale * 0.9


async def test_a_fault_of_one_table_spares_the_others(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        await client.join("echo", table="echoes", ref="2")
        strike = await gateway.faults.inflict(Fault.SILENT_WINDOW, for_s=UNTIL_CLEARED, table="signals")
        await gateway.insert("A")
        await gateway.insert("B", table="echoes")
        assert await client.sees() == "row B"
        assert strike.lost == {"signals": 1}


async def test_as_many_rows_are_skipped_as_was_asked_and_the_fault_is_over(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.SKIPPED_ROWS, rows=3)
        await gateway.insert("A", "B", "C", "D")
        assert await client.sees() == "row D"
        await strike.over()
        assert strike.lost == {"signals": 3}


async def test_after_a_burst_rows_are_skipped_until_the_minute_has_passed(gateway: FaultyGateway) -> None:
    burst = "insert into signals (name) select 'burst' from generate_series(1, 30)"
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.RATE_LIMITED_ROWS, rows=20, delay_s=NEVER_S)
        await gateway.database.execute(burst)
        assert [await client.sees() for _ in range(30)] == ["row burst"] * 30
        await gateway.insert("A", "B")
        await client.sees_nothing_more()
        assert strike.lost == {"signals": 2}


async def test_rows_flow_again_when_the_burst_has_left_the_window(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.RATE_LIMITED_ROWS, rows=1, delay_s=0.2)
        await gateway.insert("A", "B")
        assert [await client.sees(), await client.sees()] == BOTH

        async def is_heard() -> bool:
            lost = strike.rows_lost
            await gateway.insert("C")
            return strike.rows_lost == lost

        await eventually(is_heard, within_s=PATIENCE_S)
        assert await client.sees() == "row C"


async def test_polled_rows_come_no_sooner_than_the_poller_answers(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.POLLED_ROWS, for_s=UNTIL_CLEARED)
        committing_s = monotonic()
        await gateway.insert("A")
        assert await client.sees() == "row A"
        assert monotonic() - committing_s >= COMPRESSED.poll_answer_s
        assert strike.struck == 1


async def test_what_comes_after_the_polling_does_not_overtake_what_was_polled() -> None:
    handed_on: list[int] = []
    pacer = Pacer[int](DeliveryMode.HOSTED, COMPRESSED, Random(1), handed_on.append)
    pacer.take(1)
    pacer.mode = DeliveryMode.IMMEDIATE
    pacer.take(2)
    await eventually(lambda: len(handed_on) == 2, within_s=PATIENCE_S)
    pacer.take(3)
    assert handed_on == [1, 2, 3]


async def test_a_dead_channel_stays_dead_and_a_new_join_hears(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as dead:
        strike = await gateway.faults.inflict(Fault.DEAD_CHANNELS)
        async with gateway.live_client() as alive:
            await gateway.insert("A")
            assert await alive.sees() == "row A"
            await gateway.faults.clear()
            await gateway.insert("B")
            assert await alive.sees() == "row B"
        await dead.sees_nothing_more()
        assert strike.lost == {"signals": 2}
        await dead.ask_to_join(ref="2")
        assert [await dead.sees() for _ in range(3)] == ["joined 2", "phx_close 1", "subscribed"]
        await gateway.insert("C")
        assert await dead.sees() == "row C"


async def test_a_lapsed_subscription_is_deaf_until_the_server_subscribes_again(
    gateway: FaultyGateway,
) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.SUBSCRIPTION_LAPSED, delay_s=NEVER_S)
        assert await client.sees() == 'error: {:error, "Too many database timeouts"}'
        await gateway.insert("A")
        await client.sees_nothing_more()
        assert strike.lost == {"signals": 1}
    async with gateway.live_client() as client:
        await gateway.faults.inflict(Fault.SUBSCRIPTION_LAPSED)
        assert await client.sees() == 'error: {:error, "Too many database timeouts"}'
        assert await client.sees() == "subscribed"
        await gateway.insert("B")
        assert await client.sees() == "row B"


async def test_unanswered_heartbeats_leave_rows_and_pings_alone(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.HEARTBEATS_UNANSWERED, for_s=UNTIL_CLEARED)
        await client.send("phoenix", "heartbeat", "muted")
        await eventually(lambda: strike.struck == 1, within_s=PATIENCE_S)
        await gateway.insert("A")
        assert await client.sees() == "row A"
        async with asyncio.timeout(PATIENCE_S):
            await (await client.socket.ping())
        await gateway.faults.clear()
        await client.sees_nothing_more()


async def test_a_client_that_is_not_heard_any_more_still_hears(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        await gateway.faults.inflict(Fault.UPLINK_LOST, for_s=UNTIL_CLEARED)
        await client.send("phoenix", "heartbeat", "late")
        await gateway.insert("A", "B")
        assert [await client.sees(), await client.sees()] == BOTH
        await gateway.faults.clear()
        assert await client.sees() == "late"


async def test_a_client_that_is_not_heard_any_more_is_closed_for_silence_though_it_speaks(
    cluster: Postgres, project_template: str
) -> None:
    async with (
        faulty_gateway(cluster, project_template, GatewayTiming(idle_s=1.0)) as gateway,
        gateway.live_client() as client,
    ):
        await gateway.faults.inflict(Fault.UPLINK_LOST)

        async def speak() -> None:
            with suppress(ConnectionClosed):
                while True:
                    await client.send("phoenix", "heartbeat", "unheard")
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(speak())
            assert await client.sees() == "closed 1000"
            speaking.cancel()


async def test_what_was_sent_into_a_short_black_hole_arrives_after_it(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.BLACK_HOLE, for_s=UNTIL_CLEARED)
        await gateway.insert("A")
        pong = asyncio.ensure_future(await client.socket.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.socket.recv()
        assert not pong.done()
        await gateway.faults.clear()
        assert await client.sees() == "row A"
        await client.sees_nothing_more()
        assert pong.done()
        assert strike.rows_lost == 0


async def test_what_was_sent_into_a_black_hole_is_lost_to_a_client_that_gave_up(
    gateway: FaultyGateway,
) -> None:
    async with gateway.live_client() as client:
        strike = await gateway.faults.inflict(Fault.BLACK_HOLE, for_s=UNTIL_CLEARED)
        await gateway.insert("A", "B")
        client.socket.transport.abort()
        await client.socket.wait_closed()
        await gateway.faults.clear()
        await eventually(lambda: strike.lost == {"signals": 2}, within_s=PATIENCE_S)


async def test_a_black_hole_lasts_when_another_loss_within_it_ends(gateway: FaultyGateway) -> None:
    async with gateway.live_client() as client:
        await gateway.faults.inflict(Fault.BLACK_HOLE, for_s=UNTIL_CLEARED)
        inner = await gateway.faults.inflict(Fault.UPLINK_LOST, for_s=UNTIL_CLEARED)
        inner.end()
        await inner.over()
        await gateway.insert("A")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.socket.recv()
        await gateway.faults.clear()
        assert await client.sees() == "row A"


async def test_the_history_tells_what_struck_when_and_what_it_cost(gateway: FaultyGateway) -> None:
    known = len(gateway.faults.history)
    async with gateway.live_client() as client:
        first = await gateway.faults.inflict(Fault.SILENT_WINDOW, for_s=UNTIL_CLEARED)
        assert list(gateway.faults.in_force) == [first]
        await gateway.insert("A")
        await gateway.faults.clear()
        second = await gateway.faults.inflict(Fault.CLOSED_NORMALLY)
        await second.over()
        assert await client.sees() == "closed 1000"
    assert gateway.faults.history[known:] == (first, second)
    assert gateway.faults.in_force == ()
    assert (first.lost, second.lost) == ({"signals": 1}, {})
    assert first.began_at <= (first.ended_at or first.began_at) <= second.began_at


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (Fault.CLOSED_NORMALLY, {"for_s": 1.0}),
        (Fault.SILENT_WINDOW, {"delay_s": 1.0}),
        (Fault.SILENT_WINDOW, {"rows": 1}),
        (Fault.SERVER_DOWN, {"table": "signals"}),
    ],
)
async def test_what_a_fault_has_not_cannot_be_set(
    fault: Fault, options: dict[str, Any], gateway: FaultyGateway
) -> None:
    with pytest.raises(ValueError, match="Expected a fault"):
        await gateway.faults.inflict(fault, **options)
    assert gateway.faults.in_force == ()
