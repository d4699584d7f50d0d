"""The feed of new signals and changed switches: wake-ups, supervised for months.

Promises: whatever ends a session - a lost socket, a closed channel, a dead receive loop, a server that never says
that rows flow - there is another one soon, and the state says at every moment whether signals flow. It does not
promise rows: Realtime loses some in silence. Whoever listens catches up from the table at every LIVE, and sweeps.
"""

import asyncio
import contextlib
import importlib
import logging
import random
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Self, assert_never

import httpx
import structlog

from worker.database.keys import DatabaseAccess
from worker.database.realtime_session import (
    SIGNAL_TABLE,
    FeedTiming,
    Loss,
    LossKind,
    RealtimeSession,
    SessionEvents,
)
from worker.database.values import Row

_log = structlog.get_logger(__name__)

_CLIENT_MODULE = "realtime._async.client"
_CONNECT = "connect"
_UNRECOGNISED = "Unrecognized message format"


class FeedState(StrEnum):
    """Only LIVE means that signals come by themselves."""

    CONNECTING = "connecting"
    JOINED = "joined"
    LIVE = "live"
    LOST = "lost"


class FeedCount(StrEnum):
    """What a metric may count."""

    SESSION = "session"
    SIGNAL = "signal"
    CHANGE = "change"
    DROPPED_FRAME = "dropped_frame"
    FAILED_HANDLER = "failed_handler"


def _unheard(_: object) -> None:
    return


class RealtimeFeed:
    """Implements `orders.ports.Signals`.

    `on_signal(row)` gets the inserted `ft_orders` row as it came: its numerics are floats, and it may be cut short.
    `on_change(table, row)` gets rows of the side tables; of a deleted row only its key. `on_state(state, detail)` is
    called at each change, and with LIVE again when the server subscribed anew; `on_table_live(table)` each time the
    server says that a side table's rows flow from now on. All are called inside the receive loop: they must only
    take note and return. One that raises is logged and counted, and stops nothing.
    """

    def __init__(
        self,
        access: DatabaseAccess,
        *,
        timing: FeedTiming | None = None,
        on_signal: Callable[[Row], None],
        on_change: Callable[[str, Row], None],
        on_state: Callable[[FeedState, str], None],
        on_table_live: Callable[[str], None] = _unheard,
        on_count: Callable[[FeedCount], None] = _unheard,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._access = access
        self._timing = timing or FeedTiming()
        self._on_signal = on_signal
        self._on_change = on_change
        self._on_state = on_state
        self._on_table_live = on_table_live
        self._on_count = on_count
        self._jitter = jitter
        self._current: RealtimeSession | None = None
        self._live_since_s: float | None = None
        self._losses_in_a_row = 0
        self._told_loss: str | None = None  # the last one, until the feed is live again
        self.state = FeedState.LOST

    @property
    def live_tables(self) -> frozenset[str]:
        """The tables whose changes arrive now."""
        return self._current.live_tables if self._current else frozenset()

    async def run(self) -> None:
        """Runs until cancelled."""
        quicken_keepalive(self._timing)
        with _DroppedFrames(partial(self._count, FeedCount.DROPPED_FRAME)):
            # The client library would make an HTTP client for each session, at 100 ms of CPU for its TLS context.
            # Nothing is sent over it; this one cannot send.
            async with httpx.AsyncClient(transport=httpx.AsyncBaseTransport()) as http:
                try:
                    while True:
                        await self._succeed(http)
                finally:
                    await self._close_current()

    def renew(self, reason: str) -> None:
        """Open a fresh session in place of one that is live and brings nothing: the old goes on until that is live."""
        if self._current is not None:
            _log.warning("stream.doubted", reason=reason)
            self._current.renew_in(0)

    async def _succeed(self, http: httpx.AsyncClient) -> None:
        """Put a fresh session in the place of the current one, if there is one, and see it to its end.

        Make before break: the current session goes on until its successor is live.
        """
        opened = await self._open_successor(http)
        loss = await self._current.ended() if self._current else opened
        if loss is None:
            return
        await self._close_current()
        self._enter(FeedState.LOST, loss.reason)
        pause_s = self._pause_s(loss)
        self._live_since_s = None
        await asyncio.sleep(pause_s)

    async def _open_successor(self, http: httpx.AsyncClient) -> Loss | None:
        if self._current is None:
            self._enter(FeedState.CONNECTING, "")
        self._count(FeedCount.SESSION)
        fresh = RealtimeSession(self._access, self._timing, http, self._events())
        kept = False
        try:
            loss = await fresh.open()
            kept = loss is None
        except Exception as error:  # noqa: BLE001 - an unknown failure of the client library is a loss like others
            _log.exception("stream.open_failed")
            loss = Loss(LossKind.DROPPED, f"unexpected: {error!r}")
        finally:
            if not kept:
                await fresh.close()
        if loss is None:
            leaving, self._current = self._current, fresh
            self._live_since_s = asyncio.get_running_loop().time()
            self._enter(FeedState.LIVE, "subscribed")
            if leaving is not None:
                await leaving.close()
        elif self._current is not None:
            _log.warning("stream.renewal_failed", reason=loss.reason)
            self._current.renew_in(self._pause_s(loss))
        return loss

    async def _close_current(self) -> None:
        leaving, self._current = self._current, None
        if leaving is not None:
            await leaving.close()

    def _events(self) -> SessionEvents:
        return SessionEvents(
            joined=self._joined,
            live_again=partial(self._enter, FeedState.LIVE, "the server subscribed again"),
            table_live=self._table_live,
            change=self._changed,
            lost=self._lost,
        )

    def _joined(self) -> None:
        if self._current is None:
            self._enter(FeedState.JOINED, "")

    def _lost(self, loss: Loss) -> None:
        """Says so at once, even while a successor is being opened; the loss of a successor is not one."""
        if self._current is not None and self._current.is_lost:
            self._enter(FeedState.LOST, loss.reason)

    def _table_live(self, table: str) -> None:
        self._hand_on(self._on_table_live, table)

    def _changed(self, table: str, row: Row) -> None:
        if table == SIGNAL_TABLE:
            self._count(FeedCount.SIGNAL)
            self._hand_on(self._on_signal, row)
        else:
            self._count(FeedCount.CHANGE)
            self._hand_on(self._on_change, table, row)

    def _enter(self, state: FeedState, detail: str) -> None:
        if state is self.state and state is not FeedState.LIVE:
            return
        self.state = state
        _log.log(self._level_of(state, detail), f"stream.{state.value}", reason=detail)
        self._hand_on(self._on_state, state, detail)

    def _level_of(self, state: FeedState, detail: str) -> int:
        """An outage of hours is told once for each reason, not at every attempt."""
        match state:
            case FeedState.LOST:
                told, self._told_loss = self._told_loss, detail
                return logging.DEBUG if detail == told else logging.WARNING
            case FeedState.LIVE:
                self._told_loss = None
                return logging.INFO
            case FeedState.CONNECTING | FeedState.JOINED:
                return logging.INFO if self._told_loss is None else logging.DEBUG
            case _:
                assert_never(state)

    def _hand_on(self, handler: Callable[..., None], *values: Any) -> None:
        """An exception that reached the client library would end its receive loop without a word."""
        try:
            handler(*values)
        except Exception:  # noqa: BLE001 - whatever the listener did, the stream goes on
            with contextlib.suppress(Exception):
                self._on_count(FeedCount.FAILED_HANDLER)
            _log.exception("stream.handler_failed", handler=getattr(handler, "__qualname__", repr(handler)))

    def _count(self, what: FeedCount) -> None:
        self._hand_on(self._on_count, what)

    def _pause_s(self, loss: Loss) -> float:
        timing, now_s = self._timing, asyncio.get_running_loop().time()
        if self._live_since_s is not None and now_s - self._live_since_s >= timing.healthy_after_s:
            self._losses_in_a_row = 0
        self._losses_in_a_row += 1
        match loss.kind:
            case LossKind.DROPPED:
                longest_s = timing.backoff_first_s * 2.0 ** min(self._losses_in_a_row - 1, 16)
                return min(longest_s, timing.backoff_max_s) * (0.5 + self._jitter() / 2)
            case LossKind.RATE_LIMITED:
                return timing.rate_limited_s * (1 + self._jitter() / 5)
            case LossKind.REFUSED:
                _log.error("stream.refused", reason=loss.reason, next_try_s=timing.refused_s)
                return timing.refused_s
            case _:
                assert_never(loss.kind)


class _DroppedFrames(logging.Handler):
    """The client library drops a frame that it does not recognise and only logs it; a missing GRANT looks so."""

    def __init__(self, count: Callable[[], None]) -> None:
        super().__init__(logging.ERROR)
        self._count_dropped = count

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(_UNRECOGNISED):
            self._count_dropped()
            denied = "Error 401: Unauthorized" in text
            fix = "grant SELECT on the table to service_role" if denied else "compare with realtime>=2.34,<3"
            _log.warning("stream.frame_dropped", denied=denied, fix=fix)

    def __enter__(self) -> Self:
        logging.getLogger(_CLIENT_MODULE).addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.getLogger(_CLIENT_MODULE).removeHandler(self)


def quicken_keepalive(timing: FeedTiming) -> bool:
    """Notice a dead network in some 10 s instead of 45 s. False, and a warning, if the library has moved on.

    The client library opens its websocket with the defaults of `websockets` and offers no option for them.
    """
    try:
        module = importlib.import_module(_CLIENT_MODULE)
        connect = getattr(module, _CONNECT)
    except (ImportError, AttributeError):
        _log.warning(
            "stream.keepalive_slow", missing=f"{_CLIENT_MODULE}.{_CONNECT}", fix="pin realtime>=2.34,<3"
        )
        return False
    quick = partial(
        connect.func if isinstance(connect, partial) else connect,
        ping_interval=timing.ping_interval_s,
        ping_timeout=timing.ping_timeout_s,
        close_timeout=timing.close_handshake_s,
    )
    setattr(module, _CONNECT, quick)
    return True
