"""The feed as long as it lives: what it hands on, when it says that it is live, and how it is renewed."""

import asyncio
import logging
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
import realtime._async.client as realtime_client
from structlog.testing import capture_logs

from tests.database.listening import FAST, Heard, feed_of, live
from tests.database.phoenix import Join, Phoenix, phoenix
from tests.support.eventually import eventually
from worker.database.realtime import FeedCount, FeedState, RealtimeFeed, quicken_keepalive
from worker.database.realtime_session import SIDE_TABLES, Loss, LossKind


def unheard(*_: object) -> None:
    return


def reached(heard: Heard, state: FeedState) -> bool:
    return state in heard.words


async def test_it_goes_through_connecting_and_joined_to_live_and_hands_on_inserts(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard):
        await live(heard)
        assert heard.words == [FeedState.CONNECTING, FeedState.JOINED, FeedState.LIVE]
        await server.joined("ft_orders")[0].change({"order_id": "a", "size": 1.25})
        await eventually(lambda: heard.signals == [{"order_id": "a", "size": 1.25}])
        assert server.joined("ft_orders")[0].binding == {
            "event": "INSERT",
            "schema": "public",
            "table": "ft_orders",
        }


async def test_changes_of_the_side_tables_come_on_channels_of_their_own(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard) as feed:
        await eventually(lambda: feed.live_tables == {"ft_orders", *SIDE_TABLES})
        await server.joined("lt_strategies")[0].change({"strategy_id": "s"}, kind="UPDATE")
        await server.joined("lt_controls")[0].change({"control_id": 1}, kind="DELETE")
        await eventually(
            lambda: (
                heard.changes == [("lt_strategies", {"strategy_id": "s"}), ("lt_controls", {"control_id": 1})]
            )
        )
        assert len({join.topic for join in server.joins}) == len(server.joins) == 1 + len(SIDE_TABLES)
        assert not heard.signals


async def test_it_is_not_live_before_the_server_says_so(server: Phoenix) -> None:
    heard = Heard()
    server.on_join = Join.reply
    async with feed_of(server, heard) as feed:
        await eventually(lambda: feed.state is FeedState.JOINED)
        await server.joined("ft_orders")[0].system(message="Replication connection established")
        await live(heard)
        assert heard.words == [FeedState.CONNECTING, FeedState.JOINED, FeedState.LIVE]


async def test_a_second_ok_of_the_server_is_told_as_live_again(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard):
        await live(heard)
        await server.joined("ft_orders")[0].system()
        await live(heard, 2)
        assert heard.words[-2:] == [FeedState.LIVE, FeedState.LIVE]
        assert server.upgrades == 1


async def test_it_tells_of_each_side_table_when_its_rows_flow_and_when_they_flow_again(
    server: Phoenix,
) -> None:
    heard = Heard()
    async with feed_of(server, heard):
        await eventually(lambda: sorted(heard.tables) == sorted(SIDE_TABLES))
        await server.joined("lt_controls")[0].system()
        await eventually(lambda: heard.tables[len(SIDE_TABLES) :] == ["lt_controls"])


async def test_one_bad_side_table_silences_no_other(server: Phoenix) -> None:
    heard = Heard()
    published = False

    async def unpublished_controls(join: Join) -> None:
        await join.reply()
        if join.table == "lt_controls" and not published:
            await join.system("error", "Unable to subscribe to changes with given parameters.")
        else:
            await join.system()

    server.on_join = unpublished_controls
    async with feed_of(server, heard, replace(FAST, side_retry_s=0.05)) as feed:
        await eventually(lambda: feed.live_tables == {"ft_orders", *SIDE_TABLES} - {"lt_controls"})
        await eventually(lambda: len(server.joined("lt_controls")) >= 2)  # asked for again, in a new session
        assert FeedState.LOST not in heard.words
        published = True
        await eventually(lambda: feed.live_tables == {"ft_orders", *SIDE_TABLES})
        await server.joined("lt_controls")[-1].change({"control_id": 2})
        await eventually(lambda: heard.changes == [("lt_controls", {"control_id": 2})])


async def test_a_renewal_makes_the_new_session_before_it_breaks_the_old(server: Phoenix) -> None:
    heard = Heard()
    open_when_second_joined: list[bool] = []

    async def watch(join: Join) -> None:
        if join.table == "ft_orders" and len(server.joined("ft_orders")) == 2:
            open_when_second_joined.append(server.sockets[0].state.name == "OPEN")
        await join.reply()
        await join.system()

    server.on_join = watch
    async with feed_of(server, heard, replace(FAST, renew_after_s=0.2)):
        await live(heard, 2)
        assert open_when_second_joined == [True]
        assert FeedState.LOST not in heard.words
        await eventually(lambda: server.sockets[0].state.name == "CLOSED")
        await server.joined("ft_orders")[-1].change({"order_id": "b"})
        await eventually(lambda: {"order_id": "b"} in heard.signals)


async def test_a_session_that_is_doubted_is_replaced_without_a_gap(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard) as feed:
        feed.renew("nothing to renew yet")
        await live(heard)
        feed.renew("a canary is not heard")
        await live(heard, 2)
        assert FeedState.LOST not in heard.words
        await eventually(lambda: server.sockets[0].state.name == "CLOSED")
        assert heard.counts.count(FeedCount.SESSION) == server.upgrades == 2


async def test_a_renewal_that_fails_leaves_the_old_session_alone(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard, replace(FAST, renew_after_s=0.1)):
        await live(heard)
        server.status = HTTPStatus.SERVICE_UNAVAILABLE
        await eventually(lambda: server.upgrades >= 3)
        await server.joined("ft_orders")[0].change({"order_id": "still"})
        await eventually(lambda: heard.signals == [{"order_id": "still"}])
        assert FeedState.LOST not in heard.words
        await server.sockets[0].close(1012)
        await eventually(lambda: heard.words[-1] is FeedState.LOST or FeedState.LOST in heard.words)
        server.status = None
        await live(heard, 2)


async def test_a_listener_that_raises_stops_nothing(server: Phoenix) -> None:
    heard = Heard()

    def fragile(row: dict[str, Any]) -> None:
        heard.signals.append(row)
        raise RuntimeError("boom")

    def also_fragile(state: FeedState, detail: str) -> None:
        heard.states.append((state, detail))
        raise RuntimeError("boom")

    with capture_logs() as logs:
        async with feed_of(server, heard, on_signal=fragile, on_state=also_fragile):
            await live(heard)
            join = server.joined("ft_orders")[0]
            await join.change({"order_id": "a"})
            await join.change({"order_id": "b"})
            await eventually(lambda: len(heard.signals) == 2)
            assert server.upgrades == 1
    assert heard.counts.count(FeedCount.FAILED_HANDLER) >= 2
    assert "stream.handler_failed" in {entry["event"] for entry in logs}


async def test_the_end_of_the_receive_loop_is_noticed(server: Phoenix) -> None:
    heard = Heard()
    async with feed_of(server, heard) as feed:
        await live(heard)
        current = feed._current
        assert current is not None
        assert current._client is not None
        receive_loop = current._client.realtime._listen_task
        assert receive_loop is not None
        receive_loop.cancel()
        await live(heard, 2)


async def test_a_frame_that_the_client_library_drops_is_counted(server: Phoenix) -> None:
    heard = Heard()
    with capture_logs() as logs:
        async with feed_of(server, heard):
            await live(heard)
            join = server.joined("ft_orders")[0]
            await join.change({}, errors=["Error 401: Unauthorized"], commit_timestamp=None)
            await eventually(lambda: FeedCount.DROPPED_FRAME in heard.counts)
            await join.change({"order_id": "next"})
            await eventually(lambda: heard.signals == [{"order_id": "next"}])
    dropped = next(entry for entry in logs if entry["event"] == "stream.frame_dropped")
    assert "grant SELECT" in dropped["fix"]


async def test_stopping_in_any_phase_leaves_nothing_behind(server: Phoenix) -> None:
    for stop_in in (FeedState.CONNECTING, FeedState.JOINED, FeedState.LIVE, FeedState.LOST):
        heard = Heard()
        server.on_join = Join.reply if stop_in is FeedState.JOINED else None
        server.status = HTTPStatus.BAD_GATEWAY if stop_in is FeedState.LOST else None
        async with feed_of(server, heard):  # checks for leftover tasks at its end
            await eventually(partial(reached, heard, stop_in))
    await eventually(lambda: all(socket.state.name == "CLOSED" for socket in server.sockets))


async def test_the_backoff_grows_and_health_resets_it() -> None:
    async with phoenix() as server:
        feed = RealtimeFeed(
            server.access,
            on_signal=unheard,
            on_change=unheard,
            on_state=unheard,
            jitter=lambda: 1.0,
        )
        loss = Loss(LossKind.DROPPED, "gone")
        assert [feed._pause_s(loss) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
        feed._live_since_s = asyncio.get_running_loop().time() - 10.0
        assert feed._pause_s(loss) == 0.2


def test_the_keepalive_patch_is_applied_to_the_installed_library(library_as_installed: None) -> None:
    assert quicken_keepalive(FAST)
    assert quicken_keepalive(FAST)  # again: replaced, not wrapped
    assert realtime_client.connect.keywords["ping_interval"] == 0.2  # type: ignore[attr-defined]
    assert not hasattr(realtime_client.connect.func, "keywords")  # type: ignore[attr-defined]


def test_a_library_without_the_patched_name_costs_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(realtime_client, "connect")
    with capture_logs() as logs:
        assert not quicken_keepalive(FAST)
    assert logs[0]["event"] == "stream.keepalive_slow"


def test_the_log_handler_is_gone_when_the_feed_is() -> None:
    assert not logging.getLogger("realtime._async.client").handlers
