"""One Realtime session: one websocket, one channel per table, from connect to loss. It is never repaired.

The client library's own reconnecting dies silently in five ways, so it is off: the first bad sign ends the session,
and `RealtimeFeed` opens another with a new client and new topics. A session is live only when the server has said
so (`system` ok); the reply to the join comes seconds before rows flow.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, cast

import httpx
import structlog
from realtime import AsyncRealtimeChannel, RealtimeSubscribeStates
from realtime import RealtimePostgresChangesListenEvent as _Event
from realtime.message import SuccessSystemPayload
from realtime.types import PostgresChangesPayload
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from supabase.types import RealtimeClientOptions
from websockets.exceptions import InvalidStatus, WebSocketException

from worker.database.keys import DatabaseAccess
from worker.database.values import Row

_log = structlog.get_logger(__name__)

SIGNAL_TABLE = "ft_orders"
SIDE_TABLES = ("lt_strategies", "ft_wallets", "lt_controls", "lt_canary")

_RATE_LIMITED = (
    "ChannelRateLimitReached",
    "ConnectionRateLimitReached",
    "ClientJoinRateLimitReached",
    "DatabaseConnectionRateLimitReached",
    "IncreaseConnectionPool",
    "Too many messages per second",
)
# Not "Token has expired": the platform ends a connection after a day, and a new one gets a new token. A key that has
# really expired is refused at the next connect.
_REFUSED = ("Unauthorized", "InvalidJWT", "MalformedJWT", "JwtSign", "RealtimeDisabledForTenant")


class LossKind(StrEnum):
    """How long to wait before the next session."""

    DROPPED = "dropped"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a session is over, in the words of whoever ended it."""

    kind: LossKind
    reason: str


@dataclass(frozen=True, slots=True)
class FeedTiming:
    """Every wait of the feed, in seconds."""

    join_s: float = 10.0  # to connect, and for the reply to a join
    live_s: float = 15.0  # from that reply to the server's `system` ok; 1-3 s on a cold project
    close_s: float = 3.0
    backoff_first_s: float = 0.2
    backoff_max_s: float = 5.0
    healthy_after_s: float = 10.0  # a session that was live so long resets the back-off
    rate_limited_s: float = 30.0
    refused_s: float = 60.0
    renew_after_s: float = 6 * 3600.0  # the platform ends a connection after 24 h
    side_retry_s: float = 60.0  # a table that could not be joined is tried again in a new session
    ping_interval_s: float = 5.0
    ping_timeout_s: float = 5.0
    close_handshake_s: float = 1.0


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """What a session tells its owner. Called from the receive loop: each must return at once and never raise."""

    joined: Callable[[], None]
    live_again: Callable[[], None]
    table_live: Callable[[str], None]  # a side table; again whenever the server subscribed again
    change: Callable[[str, Row], None]
    lost: Callable[[Loss], None]


class RealtimeSession:
    """Opened once, ended once, closed once."""

    def __init__(
        self, access: DatabaseAccess, timing: FeedTiming, http: httpx.AsyncClient, events: SessionEvents
    ) -> None:
        self._access = access
        self._timing = timing
        self._http = http
        self._events = events
        self._name = uuid.uuid4().hex[:8]  # topics are never used twice: a late close must not hit a new join
        self._loop = asyncio.get_running_loop()
        self._live: asyncio.Future[None] = self._loop.create_future()
        self._loss: asyncio.Future[Loss] = self._loop.create_future()
        self._renewal: asyncio.Future[None] = self._loop.create_future()
        self._live_tables: set[str] = set()
        self._timers: list[asyncio.TimerHandle] = []
        self._side_joins: asyncio.Task[None] | None = None
        self._background: list[asyncio.Task[Any]] = []
        self._channels: list[AsyncRealtimeChannel] = []
        self._client: AsyncClient | None = None

    @property
    def live_tables(self) -> frozenset[str]:
        return frozenset(self._live_tables)

    @property
    def is_lost(self) -> bool:
        return self._loss.done()

    async def open(self) -> Loss | None:
        """Connects and joins; None once the server says that signals flow, else why they do not."""
        try:
            async with asyncio.timeout(self._timing.join_s):
                client = await self._connect()
        except (OSError, TimeoutError, WebSocketException) as error:
            return _loss_of_connect(error)
        self._watch_background(client)
        await self._join(client, SIGNAL_TABLE)
        if not self._loss.done():
            self._events.joined()
            self._in(self._timing.live_s, self._expect_live, SIGNAL_TABLE)
            await _first_of(self._live, self._loss)
        if self._loss.done():
            return self._loss.result()
        self._side_joins = asyncio.create_task(self._join_side_tables(client))
        self.renew_in(self._timing.renew_after_s)
        return None

    async def ended(self) -> Loss | None:
        """Waits for the loss of the session; None when a successor is due, until when this one goes on."""
        await _first_of(self._loss, self._renewal)
        return self._loss.result() if self._loss.done() else None

    def renew_in(self, delay_s: float) -> None:
        """Ask for a successor after `delay_s`, even if one was asked for before."""
        if self._renewal.done():
            self._renewal = self._loop.create_future()
        self._in(delay_s, self._ask_for_renewal)

    async def close(self) -> None:
        """Leaves no task, timer or socket behind."""
        self._loss.cancel()
        for timer in self._timers:
            timer.cancel()
        if self._side_joins is not None:
            self._side_joins.cancel()
            await asyncio.gather(self._side_joins, return_exceptions=True)
        for channel in self._channels:
            _silence(channel)
        if self._client is not None:
            try:
                async with asyncio.timeout(self._timing.close_s):
                    await self._client.realtime.close()
            except (OSError, TimeoutError, WebSocketException) as error:
                _log.info("stream.close_failed", session=self._name, error=repr(error))
            finally:
                for task in self._background:
                    task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)

    async def _connect(self) -> AsyncClient:
        # `timeout` is taken by the realtime client but missing from the options' type.
        options = cast("RealtimeClientOptions", {"auto_reconnect": False, "timeout": self._timing.join_s})
        self._client = await acreate_client(
            self._access.url,
            self._access.key,
            AsyncClientOptions(
                realtime=options,
                httpx_client=self._http,
                auto_refresh_token=False,
                persist_session=False,
            ),
        )
        await self._client.realtime.connect()
        return self._client

    def _watch_background(self, client: AsyncClient) -> None:
        """The receive loop may end without a word to anybody; the task that runs it is private."""
        for name in ("_listen_task", "_heartbeat_task"):
            task = getattr(client.realtime, name, None)
            if isinstance(task, asyncio.Task):
                self._background.append(task)
                task.add_done_callback(self._background_ended)
            else:
                _log.warning("stream.unguarded", missing=name, fix="pin realtime>=2.34,<3")

    async def _join(self, client: AsyncClient, table: str) -> None:
        channel = client.channel(f"{table}:{self._name}")
        self._channels.append(channel)
        event = _Event.Insert if table == SIGNAL_TABLE else _Event.All
        channel.on_postgres_changes(event, partial(self._on_change, table), table=table, schema="public")
        channel.on_system(partial(self._on_system, table))
        await channel.subscribe(partial(self._on_status, channel, table))

    async def _join_side_tables(self, client: AsyncClient) -> None:
        for table in SIDE_TABLES:
            self._in(self._timing.join_s + self._timing.live_s, self._expect_live, table)
        await asyncio.gather(*(self._join(client, table) for table in SIDE_TABLES))

    def _on_status(
        self,
        channel: AsyncRealtimeChannel,
        table: str,
        status: RealtimeSubscribeStates,
        error: Exception | None,
    ) -> None:
        if status is RealtimeSubscribeStates.SUBSCRIBED:
            return
        _silence(channel)  # a rejoin would be closed by the server's late close of the first join
        self._lose(table, _loss_of_channel(status, error))

    def _on_system(self, table: str, message: SuccessSystemPayload) -> None:
        if message.extension != "postgres_changes":
            return
        again = table in self._live_tables
        self._live_tables.add(table)
        _log.debug("stream.table_live", session=self._name, table=table, again=again)
        if table != SIGNAL_TABLE:
            self._events.table_live(table)
        elif again:
            self._events.live_again()
        elif not self._live.done():
            self._live.set_result(None)

    def _on_change(self, table: str, payload: PostgresChangesPayload) -> None:
        data = payload["data"]
        self._events.change(table, data.get("record") or data.get("old_record") or {})

    def _background_ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        self._lose(SIGNAL_TABLE, Loss(LossKind.DROPPED, f"the receive loop ended: {error!r}"))

    def _expect_live(self, table: str) -> None:
        if table not in self._live_tables:
            self._lose(table, Loss(LossKind.DROPPED, "joined, but no system ok in time"))

    def _lose(self, table: str, loss: Loss) -> None:
        """The signals' table ends the session; another only asks for a successor, a while later."""
        self._live_tables.discard(table)
        if self._loss.done():
            return
        if table == SIGNAL_TABLE:
            self._loss.set_result(loss)
            self._events.lost(loss)
        else:
            _log.warning("stream.table_lost", session=self._name, table=table, reason=loss.reason)
            self._in(self._timing.side_retry_s, self._ask_for_renewal)

    def _ask_for_renewal(self) -> None:
        if not self._renewal.done():
            self._renewal.set_result(None)

    def _in(self, delay_s: float, callback: Callable[..., None], *args: str) -> None:
        self._timers = [timer for timer in self._timers if timer.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(delay_s, callback, *args))


async def _first_of(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _silence(channel: AsyncRealtimeChannel) -> None:
    """Stop the timers that the client library keeps for a channel."""
    channel.rejoin_timer.reset()
    channel.join_push.destroy()
    for push in channel.messages_waiting_for_ack.values():
        push.destroy()


def _loss_of_connect(error: Exception) -> Loss:
    if not isinstance(error, InvalidStatus):
        return Loss(LossKind.DROPPED, f"cannot connect: {type(error).__name__} {error}".rstrip())
    status = error.response.status_code
    said = (error.response.body or b"")[:200].decode(errors="replace")
    reason = f"the server answered HTTP {status} {said}".rstrip()
    match status:
        case 429:
            return Loss(LossKind.RATE_LIMITED, reason)
        case 401 | 403:
            return Loss(LossKind.REFUSED, f"{reason}; check SUPABASE_SERVICE_ROLE_KEY")
        case _:
            return Loss(LossKind.DROPPED, reason)


def _loss_of_channel(status: RealtimeSubscribeStates, error: Exception | None) -> Loss:
    """The library wraps the server's payload as JSON text in an exception without a type."""
    said = str(error or "")
    with contextlib.suppress(ValueError, AttributeError):
        payload = json.loads(said)
        said = str(payload.get("reason") or payload.get("message") or said)
    reason = f"{status.value}: {said}".rstrip(": ")
    if said.startswith(_RATE_LIMITED):
        return Loss(LossKind.RATE_LIMITED, reason)
    if said.startswith(_REFUSED):
        return Loss(LossKind.REFUSED, f"{reason}; check SUPABASE_SERVICE_ROLE_KEY")
    return Loss(LossKind.DROPPED, reason)
