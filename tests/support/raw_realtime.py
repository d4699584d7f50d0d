"""A Realtime client of bare frames, which tells in a few words each what it sees; and a gateway to show it faults.

The client reacts to nothing: what it sees is what the server did.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.eventually import eventually
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE, UNTIL_CLEARED
from worker.sandbox.gateway.faults import Faults
from worker.sandbox.gateway.server import Gateway
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.postgres import Postgres

PATIENCE_S = 20.0
COMPRESSED = GatewayTiming(
    upgrade_error_s=0.01, join_error_s=0.01, poll_every_s=0.02, poll_answer_s=0.05, fault_scale=0.01
)
TABLE = """
create table signals (id bigserial primary key, name text, note text);
create table echoes (like signals including all);
grant select on signals, echoes to service_role;
alter publication supabase_realtime add table signals, echoes;
"""


def lasting(fault: Fault) -> float | None:
    """The `for_s` with which it lasts until it is ended, if it lasts at all."""
    return UNTIL_CLEARED if CATALOGUE[fault].lasts_s else None


class RawClient:
    """One socket. Refs are counted from 1; the heartbeat asks for an answer by its own."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.raw = ""
        """The text of the last frame."""
        self._heartbeats = 0

    async def send(self, topic: str, event: str, ref: str, payload: dict[str, Any] | None = None) -> None:
        frame = {"event": event, "topic": topic, "payload": payload or {}, "ref": ref, "join_ref": ref}
        await self.socket.send(json.dumps(frame))

    async def ask_to_join(self, name: str = "desk", *, table: str = "signals", ref: str = "1") -> None:
        bindings = [{"event": "INSERT", "schema": "public", "table": table}]
        await self.send(f"realtime:{name}", "phx_join", ref, {"config": {"postgres_changes": bindings}})

    async def join(self, name: str = "desk", *, table: str = "signals", ref: str = "1") -> None:
        """Returns when the channel is live."""
        await self.ask_to_join(name, table=table, ref=ref)
        assert [await self.sees(), await self.sees()] == [f"joined {ref}", "subscribed"]

    async def sees(self) -> str:
        """The next thing that happens to the socket, in words."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                frame = await self.socket.recv()
        except ConnectionClosed as closed:
            close = closed.rcvd or closed.sent
            if close is not None:
                return f"closed {int(close.code)}"
            return "reset" if isinstance(closed.__cause__, ConnectionResetError) else "gone"
        if isinstance(frame, bytes):
            return "binary"
        self.raw = frame
        return _in_words(frame)

    async def sees_nothing_more(self) -> None:
        """Fails if anything comes before the answer to a heartbeat."""
        self._heartbeats += 1
        ref = f"heartbeat {self._heartbeats}"
        await self.send("phoenix", "heartbeat", ref)
        assert await self.sees() == ref


def _in_words(text: str) -> str:
    try:
        frame = json.loads(text)
    except ValueError:
        return "no JSON"
    return _described(frame) if isinstance(frame, dict) else "version 2"


def _described(frame: dict[str, Any]) -> str:
    ref, payload = frame["ref"], frame["payload"]
    match frame["event"]:
        case "phx_reply" if frame["topic"] == "phoenix":
            words = str(ref)
        case "phx_reply" if payload["status"] == "ok":
            words = f"joined {ref}"
        case "phx_reply":
            words = f"refused {ref}: {payload['response']['reason']}"
        case "system" if payload["message"] == "Subscribed to PostgreSQL":
            words = "subscribed"
        case "system":
            words = f"{payload['status']}: {payload['message']}"
        case "postgres_changes":
            data = payload["data"]
            errors = data.get("errors") or [""]
            words = f"row {data.get('record', {}).get('name', '?')} {errors[0]}".rstrip()
        case event:
            words = f"{event} {ref}"
    return words


@dataclass(frozen=True, slots=True)
class FaultyGateway:
    """A gateway whose database has the tables `signals` and `echoes`."""

    gateway: Gateway
    keys: ProjectKeys
    database: psycopg.AsyncConnection

    @property
    def faults(self) -> Faults:
        return self.gateway.faults

    @property
    def address(self) -> str:
        url = self.gateway.url.replace("http", "ws", 1)
        return f"{url}/realtime/v1/websocket?apikey={self.keys.service_role}&vsn=1.0.0"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RawClient]:
        """A client that has joined nothing."""
        async with connect(self.address, ping_interval=None, close_timeout=1) as socket:
            yield RawClient(socket)

    @asynccontextmanager
    async def live_client(self) -> AsyncIterator[RawClient]:
        """A client with one live channel, for the inserts into `signals`."""
        async with self.client() as client:
            await client.join()
            yield client

    async def insert(self, *names: str, table: str = "signals", note: str | None = None) -> None:
        """Commits rows in one transaction; returns when the gateway has done with them, whatever it did."""
        before = self.faults.published[table]
        statement = sql.SQL("insert into {} (name, note) values (%s, %s)").format(sql.Identifier(table))
        async with self.database.transaction():
            for name in names:
                await self.database.execute(statement, (name, note))
        await eventually(
            lambda: self.faults.published[table] >= before + len(names), within_s=PATIENCE_S, every_s=0.002
        )


@asynccontextmanager
async def faulty_gateway(
    postgres: Postgres, template: str, timing: GatewayTiming
) -> AsyncIterator[FaultyGateway]:
    """A gateway without PostgREST: it answers 502 for that."""
    keys = ProjectKeys()
    async with postgres.database(template=template) as name:
        dsn = postgres.dsn(name)
        async with (
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database,
            Gateway.start(
                dsn=dsn, jwt_secret=keys.secret, postgrest_socket=Path("/nowhere"), timing=timing
            ) as gateway,
        ):
            await database.execute(TABLE.encode())
            yield FaultyGateway(gateway, keys, database)
