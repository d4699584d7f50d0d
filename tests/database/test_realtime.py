"""The feed against a server that misbehaves in every way that ends a subscription in silence."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
import realtime._async.client as realtime_client
from structlog.testing import capture_logs
from websockets.asyncio.server import Server, ServerConnection

from tests.database.phoenix import Join, Phoenix, phoenix
from tests.support.eventually import eventually
from worker.database.realtime import FeedCount, FeedState, RealtimeFeed, quicken_keepalive
from worker.database.realtime_session import SIDE_TABLES, FeedTiming, Loss, LossKind

# Quick wherever time passes for its own sake; patient wherever an answer is awaited that a busy machine only delays.
FAST = FeedTiming(
    join_s=20.0,
    live_s=20.0,
    close_s=0.5,
    backoff_first_s=0.02,
    backoff_max_s=0.05,
    healthy_after_s=10.0,
    rate_limited_s=0.4,
    refused_s=0.6,
    side_retry_s=0.2,
    ping_interval_s=0.2,
    ping_timeout_s=20.0,
    close_handshake_s=0.2,
)


@dataclass
class Heard:
    """What a listener was told."""

    signals: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    states: list[tuple[FeedState, str]] = field(default_factory=list)
    counts: list[FeedCount] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)

    def state(self, state: FeedState, detail: str) -> None:
        self.states.append((state, detail))
        self.told_s.append(asyncio.get_running_loop().time())

    tables: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[FeedState]:
        return [state for state, _ in self.states]

    def times(self, state: FeedState) -> int:
        return self.words.count(state)


@pytest.fixture(autouse=True)
def _library_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keepalive patch of these tests is far too impatient for anybody else's."""
    monkeypatch.setattr(realtime_client, "connect", vars(realtime_client)["connect"])


@pytest.fixture
async def server() -> AsyncIterator[Phoenix]:
    async with phoenix() as running:
        yield running


@asynccontextmanager
async def feed_of(
    server: Phoenix, heard: Heard, timing: FeedTiming = FAST, **handlers: Any
) -> AsyncIterator[RealtimeFeed]:
    feed = RealtimeFeed(
        server.access,
        timing=timing,
        on_signal=handlers.get("on_signal", heard.signals.append),
        on_change=handlers.get("on_change", lambda table, row: heard.changes.append((table, row))),
        on_state=handlers.get("on_state", heard.state),
        on_table_live=heard.tables.append,
        on_count=heard.counts.append,
    )
    before = asyncio.all_tasks()
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await eventually(lambda: not _leftover(before))


def _leftover(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Tasks of the feed that are still there; a task that was cancelled ends a turn of the loop later."""
    return {task for task in asyncio.all_tasks() - before if not is_of_a_server(task)}


def unheard(*_: object) -> None:
    return


def is_of_a_server(task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is None or isinstance(frame.f_locals.get("self"), Server | ServerConnection)


async def live(heard: Heard, times: int = 1) -> None:
    await eventually(lambda: heard.times(FeedState.LIVE) >= times)


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


def test_the_keepalive_patch_is_applied_to_the_installed_library() -> None:
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
