"""A tiny Realtime server for tests of the feed: it says what it is told to say, good or bad, over a real socket."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from worker.database.keys import DatabaseAccess


@dataclass
class Join:
    """One join of one topic, as the server sees it."""

    socket: ServerConnection
    topic: str
    ref: str
    table: str
    binding: dict[str, Any]

    async def reply(self) -> None:
        changes = [{"id": 7, **self.binding}]
        await self._send("phx_reply", {"status": "ok", "response": {"postgres_changes": changes}}, self.ref)

    async def refuse(self, reason: str) -> None:
        await self._send("phx_reply", {"status": "error", "response": {"reason": reason}}, self.ref)

    async def system(self, status: str = "ok", message: str = "Subscribed to PostgreSQL") -> None:
        channel = self.topic.removeprefix("realtime:")
        await self._send(
            "system",
            {"message": message, "status": status, "extension": "postgres_changes", "channel": channel},
        )

    async def change(self, record: dict[str, Any], kind: str = "INSERT", **data: Any) -> None:
        columns = [{"name": name, "type": "text"} for name in record]
        body = {
            "schema": "public",
            "table": self.table,
            "type": kind,
            "commit_timestamp": "2026-01-02T03:04:05.678Z",
            "errors": None,
            "columns": columns,
            **({"old_record": record} if kind == "DELETE" else {"record": record}),
            **data,
        }
        await self._send("postgres_changes", {"data": body, "ids": [7]})

    async def close(self) -> None:
        await self._send("phx_close", {}, self.ref)

    async def crash(self) -> None:
        await self._send("phx_error", {"reason": "channel_crash"})

    async def raw(self, text: str) -> None:
        await self.socket.send(text)

    async def _send(self, event: str, payload: dict[str, Any], ref: str | None = None) -> None:
        await self.socket.send(
            json.dumps({"ref": ref, "event": event, "topic": self.topic, "payload": payload})
        )


@dataclass
class Phoenix:
    """`on_join` decides what a join gets; by default a reply and `system` ok at once."""

    url: str = ""
    joins: list[Join] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    upgrades: int = 0
    status: HTTPStatus | None = None  # answer the upgrade with this instead
    on_join: Callable[[Join], Any] | None = None

    @property
    def access(self) -> DatabaseAccess:
        return DatabaseAccess(url=self.url, key="sb_secret_of_a_test")

    def joined(self, table: str) -> Sequence[Join]:
        return [join for join in self.joins if join.table == table]

    async def serve_socket(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        try:
            async for text in socket:
                await self._receive(socket, json.loads(text))
        except ConnectionClosed:
            pass

    async def _receive(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        if frame["event"] != "phx_join":
            return
        binding = frame["payload"]["config"]["postgres_changes"][0]
        join = Join(socket, frame["topic"], frame["ref"], binding["table"], binding)
        self.joins.append(join)
        if self.on_join is None:
            await join.reply()
            await join.system()
        else:
            await self.on_join(join)

    def upgrade(self, socket: ServerConnection, _: Request) -> Response | None:
        self.upgrades += 1
        return None if self.status is None else socket.respond(self.status, '{"error":"no"}')


@asynccontextmanager
async def phoenix() -> AsyncIterator[Phoenix]:
    server = Phoenix()
    async with serve(
        server.serve_socket, "127.0.0.1", 0, process_request=server.upgrade, close_timeout=0.2
    ) as listening:
        server.url = f"http://127.0.0.1:{port_of(listening)}"
        yield server


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port
