"""Whatever ends a session of the feed, in words or in silence: another one goes live, no sooner than it may."""

import asyncio
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.database.listening import FAST, Heard, feed_of, live
from tests.database.phoenix import Join, Phoenix
from tests.support.eventually import eventually
from worker.database.realtime import FeedState


async def close_socket(join: Join) -> None:
    await join.socket.close(1000)


async def restart_server(join: Join) -> None:
    await join.socket.close(1012)


async def reset_socket(join: Join) -> None:
    join.socket.transport.abort()


async def report_system_error(join: Join) -> None:
    await join.system("error", "Too many database timeouts")


@pytest.mark.parametrize(
    "fault",
    [close_socket, restart_server, reset_socket, Join.close, Join.crash, report_system_error],
    ids=lambda fault: fault.__name__,
)
async def test_whatever_ends_a_session_another_one_goes_live(server: Phoenix, fault: Any) -> None:
    heard = Heard()
    async with feed_of(server, heard):
        await live(heard)
        first = server.joined("ft_orders")[0]
        await fault(first)
        await live(heard, 2)
        assert FeedState.LOST in heard.words
        second = server.joined("ft_orders")[-1]
        assert second.topic != first.topic
        await second.change({"order_id": "after"})
        await eventually(lambda: heard.signals == [{"order_id": "after"}])


async def test_a_session_that_the_server_never_calls_live_is_replaced(server: Phoenix) -> None:
    heard = Heard()

    async def silent_at_first(join: Join) -> None:
        await join.reply()
        if len(server.joined("ft_orders")) > 2:
            await join.system()

    server.on_join = silent_at_first
    async with feed_of(server, heard, replace(FAST, live_s=0.5)):
        await live(heard)
        assert len(server.joined("ft_orders")) == 3
        assert heard.times(FeedState.LOST) == 2
        assert "system ok" in heard.states[2][1]


async def test_a_join_that_is_never_answered_or_refused_is_tried_again(server: Phoenix) -> None:
    heard = Heard()

    async def reluctant(join: Join) -> None:
        match len(server.joins):
            case 1:
                return
            case 2:
                await join.refuse("UnableToConnectToProject: try later")
            case _:
                await join.reply()
                await join.system()

    server.on_join = reluctant
    async with feed_of(server, heard, replace(FAST, join_s=1.0)):
        await live(heard)
    losses = [detail for state, detail in heard.states if state is FeedState.LOST]
    assert losses == ["TIMED_OUT", "CHANNEL_ERROR: UnableToConnectToProject: try later"]


async def test_a_server_that_is_away_is_found_when_it_is_back(server: Phoenix) -> None:
    heard = Heard()
    server.status = HTTPStatus.SERVICE_UNAVAILABLE
    async with feed_of(server, heard):
        await eventually(lambda: server.upgrades >= 4)
        server.status = None
        await live(heard)
        assert "HTTP 503" in heard.states[1][1]


async def test_an_outage_is_told_once_and_so_is_its_end(server: Phoenix) -> None:
    heard = Heard()
    with capture_logs() as logs:
        async with feed_of(server, heard, replace(FAST, join_s=10.0, live_s=10.0)):
            await live(heard)
            server.status = HTTPStatus.SERVICE_UNAVAILABLE
            await server.sockets[0].close(1012)
            await eventually(lambda: server.upgrades >= 6)
            server.status = None
            await live(heard, 2)
    told = [(entry["event"], entry["log_level"]) for entry in logs if entry["log_level"] != "debug"]
    assert told.count(("stream.lost", "warning")) == 2  # the close, and why there is no other session
    assert told.count(("stream.live", "info")) == 2


async def test_a_server_that_vanished_from_the_network_is_noticed_by_pings(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard, replace(FAST, ping_timeout_s=0.5)):
        await live(heard)
        server.sockets[0].transport.pause_reading()
        await live(heard, 2)
        server.sockets[0].transport.abort()


@pytest.mark.parametrize(
    ("status", "pause_s"), [(HTTPStatus.TOO_MANY_REQUESTS, 0.4), (HTTPStatus.UNAUTHORIZED, 0.6)]
)
async def test_after_a_rate_limit_or_a_refused_key_it_waits_longer(
    server: Phoenix, status: HTTPStatus, pause_s: float
) -> None:
    heard = Heard()
    server.status = status
    async with feed_of(server, heard):
        await eventually(lambda: heard.times(FeedState.LOST) == 1)
        await eventually(lambda: server.upgrades == 2)
        lost_s = heard.told_s[heard.words.index(FeedState.LOST)]
        assert asyncio.get_running_loop().time() - lost_s >= pause_s - 0.05


async def test_a_rate_limit_in_the_reply_to_a_join_is_one_too(server: Phoenix) -> None:
    heard = Heard()
    server.on_join = lambda join: join.refuse("ConnectionRateLimitReached: too many joins")
    async with feed_of(server, heard):
        await eventually(lambda: heard.times(FeedState.LOST) == 1)
        await eventually(lambda: server.upgrades == 2)
        lost_s = heard.told_s[heard.words.index(FeedState.LOST)]
        assert asyncio.get_running_loop().time() - lost_s >= 0.35


async def test_a_connection_whose_token_has_expired_is_replaced_at_once(server: Phoenix) -> None:
    heard = Heard()
    slow = replace(FAST, refused_s=30.0, rate_limited_s=30.0)
    async with feed_of(server, heard, slow):
        await live(heard)
        join = server.joined("ft_orders")[0]
        await join.system("error", "Token has expired 0 seconds ago")
        await join.close()
        await live(heard, 2)


async def test_a_refused_key_is_said_loudly(server: Phoenix) -> None:
    server.status = HTTPStatus.FORBIDDEN
    heard = Heard()
    with capture_logs() as logs:
        async with feed_of(server, heard):
            await eventually(lambda: heard.times(FeedState.LOST) == 1)
            await eventually(lambda: any(entry["event"] == "stream.refused" for entry in logs))
    refused = [entry for entry in logs if entry["event"] == "stream.refused"]
    assert refused[0]["log_level"] == "error"
    assert "SUPABASE_SERVICE_ROLE_KEY" in refused[0]["reason"]
