"""The two WebSocket channels: /ws/user (authenticated, orders and trades) and /ws/market (books and prints).

No replay after a reconnect, text PING answered by text PONG, bad credentials end the connection. Each
connection has its own bounded queue; a client that does not read is disconnected rather than waited for.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from aiohttp import WSCloseCode, WSMsgType, web

from worker.sandbox.exchange import wire
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.orders import ApiKey, ConditionId, TokenId
from worker.sandbox.exchange.stream_noise import StreamNoise
from worker.sandbox.exchange.wire import Json

_BAD_CREDENTIALS = 4001
_CUSTOM_EVENTS = frozenset({"best_bid_ask", "new_market", "market_resolved"})

Channel: TypeAlias = Literal["user", "market"]


@dataclass(slots=True, eq=False)
class Connection:
    """One socket and what it wants to hear."""

    socket: web.WebSocketResponse
    channel: Channel
    frames: asyncio.Queue[str]
    transport: asyncio.Transport | None = None
    owner: ApiKey | None = None
    every_market: bool = False
    conditions: set[ConditionId] = field(default_factory=set)
    tokens: set[TokenId] = field(default_factory=set)
    custom: bool = False
    overflowed: bool = False


class Streams:
    """All connections. `noise` may lose, double or delay what is sent, `stalled` silences it: the fault seam."""

    def __init__(self, exchange: Exchange, *, seed: int = 0) -> None:
        self._exchange = exchange
        self._connections: set[Connection] = set()
        self.noise = StreamNoise(seed)
        self.queue_length = 10_000
        """How many frames a connection may fall behind before it is closed."""
        self.stalled = False
        """While set, sockets stay open and say nothing, not even PONG."""
        exchange.feed.user_listeners.append(self._tell_user)
        exchange.feed.market_listeners.append(self._tell_market)
        exchange.feed.has_audience = self._has_audience

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/ws/user", self.user), web.get("/ws/market", self.market)]

    def count(self, channel: Channel) -> int:
        """Connections that have subscribed to something."""
        return sum(
            1
            for connection in self._connections
            if connection.channel == channel and (connection.owner or connection.tokens)
        )

    async def disconnect(self, *, code: int = WSCloseCode.OK, channel: Channel | None = None) -> None:
        """Closes connections from the venue's side."""
        await asyncio.gather(*(c.socket.close(code=code) for c in self._chosen(channel)))

    def abort(self, *, channel: Channel | None = None) -> None:
        """Breaks connections without a word, as a network does."""
        for connection in self._chosen(channel):
            if connection.transport is not None:
                connection.transport.abort()

    def resume(self) -> None:
        """Ends a stall. What was not said meanwhile is not made up for."""
        self.stalled = False

    def _chosen(self, channel: Channel | None) -> list[Connection]:
        return [connection for connection in self._connections if channel in {None, connection.channel}]

    async def user(self, request: web.Request) -> web.WebSocketResponse:
        return await self._serve(request, "user", self._hear_user)

    async def market(self, request: web.Request) -> web.WebSocketResponse:
        return await self._serve(request, "market", self._hear_market)

    async def _serve(
        self, request: web.Request, channel: Channel, hear: Callable[[Connection, Json], bool]
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        connection = Connection(socket, channel, asyncio.Queue(self.queue_length), request.transport)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write(connection))
                await self._listen(connection, hear)
                writer.cancel()
        finally:
            self._connections.discard(connection)
        return socket

    async def _listen(self, connection: Connection, hear: Callable[[Connection, Json], bool]) -> None:
        async for message in connection.socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == "PING":
                if not self.stalled:
                    _enqueue(connection, "PONG")
                continue
            try:
                frame = json.loads(message.data)
            except ValueError:
                frame = None
            if not isinstance(frame, dict) or not hear(connection, frame):
                await connection.socket.close(code=_BAD_CREDENTIALS)

    async def _write(self, connection: Connection) -> None:
        while not connection.overflowed:
            frame = await connection.frames.get()
            with contextlib.suppress(ConnectionError):
                await connection.socket.send_str(frame)
        await connection.socket.close(code=WSCloseCode.TRY_AGAIN_LATER)

    def _hear_user(self, connection: Connection, frame: Json) -> bool:
        if "auth" in frame:
            auth = frame["auth"]
            known = self._exchange.keys.by_secret(
                str(auth.get("apiKey")), str(auth.get("secret")), str(auth.get("passphrase"))
            )
            if known is None:
                return False
            connection.owner = known.key
            connection.conditions = {ConditionId(m) for m in frame.get("markets") or ()}
            connection.every_market = not connection.conditions
            return True
        markets = {ConditionId(market) for market in frame.get("markets") or ()}
        if frame.get("operation") == "subscribe":
            connection.conditions |= markets
        elif frame.get("operation") == "unsubscribe":
            connection.conditions -= markets
        return connection.owner is not None

    def _hear_market(self, connection: Connection, frame: Json) -> bool:
        tokens = [TokenId(str(token)) for token in frame.get("assets_ids") or ()]
        connection.custom = bool(frame.get("custom_feature_enabled", connection.custom))
        if frame.get("operation") == "unsubscribe":
            connection.tokens.difference_update(tokens)
            return True
        new = [token for token in tokens if token not in connection.tokens]
        connection.tokens.update(new)
        if frame.get("initial_dump", True):
            self._dump(connection, new)
        return True

    def _dump(self, connection: Connection, tokens: list[TokenId]) -> None:
        books: list[Json] = []
        for token in tokens:
            market = self._exchange.market_of(token)
            if market is not None and not market.closed:
                book = self._exchange.books[market.condition]
                rendered = wire.book_json(book, market, token, now_ns=self._exchange.clock.now_ns())
                books.append({"event_type": "book", **rendered})
        if books:
            self._send(connection, _render(books))

    def _tell_user(self, owner: ApiKey, condition: ConditionId, event: Json) -> None:
        listeners = [
            connection
            for connection in self._connections
            if connection.owner == owner and (connection.every_market or condition in connection.conditions)
        ]
        if listeners:
            self._broadcast(listeners, event)

    def _has_audience(self, tokens: tuple[TokenId, ...]) -> bool:
        return any(not connection.tokens.isdisjoint(tokens) for connection in self._connections)

    def _tell_market(self, tokens: tuple[TokenId, ...], event: Json) -> None:
        custom = event["event_type"] in _CUSTOM_EVENTS
        listeners = [
            connection
            for connection in self._connections
            if not connection.tokens.isdisjoint(tokens) and (connection.custom or not custom)
        ]
        if listeners:
            self._broadcast(listeners, event)

    def _broadcast(self, listeners: list[Connection], event: Json) -> None:
        frame = _render(event)
        for connection in listeners:
            self._send(connection, frame)

    def _send(self, connection: Connection, frame: str) -> None:
        if self.stalled:
            return
        for delay_s in self.noise.delays_s(connection.channel):
            if delay_s:
                asyncio.get_running_loop().call_later(delay_s, _enqueue, connection, frame)
            else:
                _enqueue(connection, frame)


def _enqueue(connection: Connection, frame: str) -> None:
    try:
        connection.frames.put_nowait(frame)
    except asyncio.QueueFull:
        connection.overflowed = True


def _render(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))
