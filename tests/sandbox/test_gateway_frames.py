"""The gateway against frames recorded from the real Realtime server, frame by frame.

Order, keys, texts, spacing and close codes must be the recorded ones. Set aside: times, lengths of waiting
(compressed here), and the numbers that identify bindings, which only have to stay consistent.

Left out, because nothing in them is an answer of the server to a client: S10-S17 and S20-S23 (faults behind
the socket; what shows on the wire is silence, and the close 1012 tested below), S19 (its traffic was not
recorded; its second "Subscribed" is in S08), the huge rows of S03 and S18 (cut in the recording; tested
below by their sizes).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from itertools import groupby
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.eventually import eventually
from tests.support.recorded_realtime import Step, recorded
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.keys import ALGORITHM, ProjectKeys, Role
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

COMPRESSED = GatewayTiming(upgrade_error_s=0.05, join_error_s=0.1, resubscribe_s=0.05)

# The tables of the recording.
TABLES = """
create table ft_orders (id uuid primary key, price numeric, created_at timestamptz, name text, meta jsonb);
create table ft_nogrant (id uuid primary key);
create table ft_unpub (id uuid primary key);
grant select, insert, update, delete on ft_orders, ft_unpub to service_role;
alter publication supabase_realtime add table ft_orders, ft_nogrant;
"""

SCENARIOS = ["S01", "S02", "S04", "S05", "S05b", "S06", "S07", "S08", "S19b"]
ANONYMOUS = {"S19b"}

# What the recording shows only as PostgreSQL rendered it.
NOT_A_NUMBER = "00000000-0000-4000-8000-000000000004"
META = {"00000000-0000-4000-8000-000000000001": '{"k": 1.10, "l": [1, "x"], "n": null}'}

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture
async def project(cluster: Postgres, project_template: str) -> AsyncIterator[SupabaseSandbox]:
    async with _project(cluster, project_template, COMPRESSED) as project:
        yield project


@asynccontextmanager
async def _project(cluster: Postgres, template: str, timing: GatewayTiming) -> AsyncIterator[SupabaseSandbox]:
    async with SupabaseSandbox.start(postgres=cluster, template=template, timing=timing) as project:
        await _execute(project, TABLES)
        yield project


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_answers_as_the_real_server_did(scenario: str, project: SupabaseSandbox) -> None:
    key = project.anon_key if scenario in ANONYMOUS else project.service_role_key
    async with _socket(project, key) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        replay = Replay(project, key, socket)
        for transaction, steps in groupby(recorded(scenario), key=_transaction):
            if transaction is None:
                for step in steps:
                    await replay.play(step)
            else:
                await replay.play_transaction(list(steps))
        await replay.expect_silence()
        await socket.close()
        assert socket.close_code == 1000


class Replay:
    """Plays the client's part of a recording, and the database's, and checks the server's part."""

    def __init__(self, project: SupabaseSandbox, key: str, socket: ClientConnection) -> None:
        self._project = project
        self._key = key
        self._socket = socket
        self._recorded = Normalised()
        self._received = Normalised()
        self._note = ""

    async def play(self, step: Step) -> None:
        match step.direction:
            case "note":
                self._note = step.raw
                if step.raw.startswith("replica identity full"):
                    await _execute(self._project, "alter table ft_orders replica identity full")
            case "out":
                await self._socket.send(self._with_token(step.raw))
            case "in":
                await self._expect([step.raw])

    async def play_transaction(self, steps: list[Step]) -> None:
        """Makes the recorded changes in one transaction and expects the frames that tell of them.

        One row may reach several topics, in no particular order.
        """
        async with await psycopg.AsyncConnection.connect(self._project.dsn) as connection:
            written = set()
            for step in steps:
                change = step.change or {}
                row = json.dumps([change.get("record"), change.get("old_record")])
                if row not in written:
                    written.add(row)
                    await _make(connection, change)
        for _, same_row in groupby(steps, key=lambda step: json.dumps((step.change or {}).get("record"))):
            await self._expect([step.raw for step in same_row])

    async def expect_silence(self) -> None:
        """Fails if the server has said anything that the recording has not."""
        await self._socket.send('{"event":"heartbeat","payload":{},"topic":"phoenix","ref":"end"}')
        await self._expect(
            ['{"ref":"end","event":"phx_reply","topic":"phoenix","payload":{"status":"ok","response":{}}}']
        )

    async def _expect(self, frames: list[str]) -> None:
        async with asyncio.timeout(20):
            received = [str(await self._socket.recv()) for _ in frames]
        assert sorted(map(self._received, received)) == sorted(map(self._recorded, frames))

    def _with_token(self, frame: str) -> str:
        keys, token = self._project.keys, self._key
        if '"event": "access_token"' in frame:
            if self._note == "valid new token":
                token = keys.mint(Role.SERVICE_ROLE, issued="anew")
            elif self._note.startswith("token expiring"):
                token = keys.mint(Role.SERVICE_ROLE, lifetime=timedelta(seconds=2))
            elif self._note.endswith("expired token"):
                token = keys.mint(Role.SERVICE_ROLE, lifetime=timedelta(seconds=-10))
        return frame.replace('"JWT"', json.dumps(token))


class Normalised:
    """Replaces what may differ: commit times by a word, binding ids by the order of their appearance."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, frame: str) -> str:
        text = re.sub(r'"commit_timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', "COMMITTED", frame)
        text = re.sub(r'(?<="id":)\d+', self._name, text)
        return re.sub(r'(?<="ids":\[)\d+', self._name, text)

    def _name(self, number: re.Match[str]) -> str:
        return self._ids.setdefault(number.group(), f"binding-{len(self._ids)}")


def _transaction(step: Step) -> str | None:
    """Returns what the frames of one transaction have in common, None for all other steps."""
    return None if step.change is None else str(step.change["commit_timestamp"])


async def _make(connection: psycopg.AsyncConnection, change: dict[str, Any]) -> None:
    """Makes the change that a recorded frame tells of."""
    table = sql.Identifier(change["table"])
    record: dict[str, Any] = change.get("record", {})
    if change["type"] == "INSERT" and not record:  # what nobody may see was not recorded
        await connection.execute(sql.SQL("insert into {} (id) values (gen_random_uuid())").format(table))
    elif change["type"] == "DELETE":
        await connection.execute(
            sql.SQL("delete from {} where id = %s").format(table), (change["old_record"]["id"],)
        )
    elif change["type"] == "UPDATE":
        await connection.execute(
            sql.SQL("update {} set price = %s where id = %s").format(table), (record["price"], record["id"])
        )
    else:
        price = "NaN" if record["id"] == NOT_A_NUMBER else record["price"]
        meta = None if record["meta"] is None else META.get(record["id"], json.dumps(record["meta"]))
        await connection.execute(
            sql.SQL("insert into {} (id, price, created_at, name, meta) values (%s, %s, %s, %s, %s)").format(
                table
            ),
            (record["id"], price, record["created_at"], record["name"], meta),
        )


async def test_refuses_upgrades_with_the_recorded_bodies(project: SupabaseSandbox) -> None:
    answers = [step.raw for step in recorded("S09") if step.direction == "http"]
    keys = project.keys
    tokens = [
        keys.mint(Role.SERVICE_ROLE, lifetime=timedelta(seconds=-10)),
        ProjectKeys().service_role,
        "garbage",
        jwt.encode({"exp": 2**33}, keys.secret, algorithm=ALGORITHM),
        "",
    ]
    async with httpx.AsyncClient() as client:
        for answer, token in zip(answers, tokens, strict=True):
            response = await client.get(
                f"{project.url}/realtime/v1/websocket",
                params={"apikey": token, "vsn": "1.0.0"},
                headers=UPGRADE,
            )
            assert response.headers["content-type"] == "application/json; charset=utf-8"
            assert answer.startswith(f"{response.status_code} ")
            assert answer.endswith(f"BODY {response.text}")


@pytest.mark.parametrize(("length", "fits"), [(1_047_950, True), (1_047_990, False)])
async def test_large_rows_lose_their_large_values_where_the_real_server_drops_them(
    length: int, *, fits: bool, project: SupabaseSandbox
) -> None:
    async with _socket(project, project.service_role_key) as socket:
        await _join(socket, project, "b")
        await _execute(
            project,
            "insert into ft_orders values "
            "(gen_random_uuid(), 1.5, '2026-11-22 16:54:39.453876+00', repeat('x', %s))",
            length,
        )
        data = json.loads(await _receive(socket))["payload"]["data"]
    assert len(data["columns"]) == 5
    if fits:
        assert data["errors"] is None
        assert len(data["record"]["name"]) == length
    else:
        assert data["errors"] == ["Error 413: Payload Too Large"]
        assert set(data["record"]) == {"id", "price", "created_at"}


async def test_row_security_hides_rows_from_roles_without_a_policy(project: SupabaseSandbox) -> None:
    await _execute(
        project, "grant select on ft_orders to anon; alter table ft_orders enable row level security"
    )
    async with (
        _socket(project, project.anon_key) as hidden,
        _socket(project, project.service_role_key) as shown,
    ):
        await _join(hidden, project, "hidden", project.anon_key)
        await _join(shown, project, "shown")
        await _execute(project, "insert into ft_orders (id, name) values (gen_random_uuid(), 'secret')")
        assert "secret" in await _receive(shown)
        await _execute(project, "create policy anybody on ft_orders for select using (name = 'open')")
        await _execute(project, "insert into ft_orders (id, name) values (gen_random_uuid(), 'open')")
        assert "open" in await _receive(hidden)


async def test_a_table_without_primary_key_yields_errors_instead_of_rows(project: SupabaseSandbox) -> None:
    await _execute(project, "alter table ft_orders drop constraint ft_orders_pkey, replica identity full")
    async with _socket(project, project.service_role_key) as socket:
        await _join(socket, project, "nokey")
        await _execute(project, "insert into ft_orders (id) values (gen_random_uuid())")
        data = json.loads(await _receive(socket))["payload"]["data"]
    assert data["errors"] == ["Error 400: Bad Request, no primary key"]
    assert (data["record"], data["columns"], data["commit_timestamp"]) == ({}, [], None)


async def test_a_silent_socket_is_closed(cluster: Postgres, project_template: str) -> None:
    async with (
        _project(cluster, project_template, GatewayTiming(idle_s=0.1)) as project,
        _socket(project, project.service_role_key) as socket,
    ):
        with pytest.raises(ConnectionClosed):
            await _receive(socket)
        assert (socket.close_code, socket.close_reason) == (1000, "")


async def test_a_stopping_server_closes_with_service_restart_and_no_word_before(
    cluster: Postgres, project_template: str
) -> None:
    async with AsyncExitStack() as stack:
        project = await stack.enter_async_context(_project(cluster, project_template, COMPRESSED))
        socket = await connect(_address(project, project.service_role_key), ping_interval=None)
        await _join(socket, project, "term")
    with pytest.raises(ConnectionClosed):
        await _receive(socket)
    assert (socket.close_code, socket.close_reason) == (1012, "")


async def test_rows_flow_again_after_postgres_came_back_and_nobody_was_told() -> None:
    async with Postgres.private() as postgres:
        template = await postgres.create_project()
        async with (
            _project(postgres, template, COMPRESSED) as project,
            _socket(project, project.service_role_key) as socket,
        ):
            await _join(socket, project, "pg")
            await postgres.restart(immediate=True)
            await eventually(lambda: _replicating(project))
            await _execute(project, "insert into ft_orders (id, name) values (gen_random_uuid(), 'back')")
            assert '"name": "back"' in await _receive(socket)


async def test_the_token_it_already_has_changes_nothing(project: SupabaseSandbox) -> None:
    key = project.service_role_key
    async with _socket(project, key) as socket:
        await _join(socket, project, "same", key)
        token = {
            "event": "access_token",
            "topic": "realtime:same",
            "payload": {"access_token": key},
            "ref": "2",
        }
        await socket.send(json.dumps(token))
        with pytest.raises(TimeoutError):
            await _receive(socket, within_s=COMPRESSED.resubscribe_s * 5)


def _address(project: SupabaseSandbox, key: str) -> str:
    return f"{project.url.replace('http', 'ws', 1)}/realtime/v1/websocket?apikey={key}&vsn=1.0.0"


@asynccontextmanager
async def _socket(project: SupabaseSandbox, key: str) -> AsyncIterator[ClientConnection]:
    async with connect(_address(project, key), ping_interval=None, max_size=None) as socket:
        yield socket


async def _join(
    socket: ClientConnection, project: SupabaseSandbox, topic: str, key: str | None = None
) -> None:
    """Joins a topic for the inserts of ft_orders and waits until it is live."""
    bindings = [{"event": "INSERT", "schema": "public", "table": "ft_orders"}]
    payload = {"config": {"postgres_changes": bindings}, "access_token": key or project.service_role_key}
    frame = {
        "event": "phx_join",
        "topic": f"realtime:{topic}",
        "payload": payload,
        "ref": "1",
        "join_ref": "1",
    }
    await socket.send(json.dumps(frame))
    assert "phx_reply" in await _receive(socket)
    assert "Subscribed to PostgreSQL" in await _receive(socket)


async def _receive(socket: ClientConnection, *, within_s: float = 20) -> str:
    async with asyncio.timeout(within_s):
        return str(await socket.recv())


async def _replicating(project: SupabaseSandbox) -> bool:
    async with await psycopg.AsyncConnection.connect(project.dsn) as connection:
        rows = await connection.execute("select from pg_replication_slots where active")
        return rows.rowcount > 0


async def _execute(project: SupabaseSandbox, statements: str, *values: object) -> None:
    async with await psycopg.AsyncConnection.connect(project.dsn, autocommit=True) as connection:
        await connection.execute(statements.encode(), values or None)
