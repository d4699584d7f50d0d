"""Values, keys and filters of row changes, as PostgreSQL and the hosted server write and judge them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from websockets.asyncio.client import ClientConnection, connect

from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

TYPES = """
create type mood as enum ('calm', 'wild');
create table kinds (
  id int8 primary key, b bool, n numeric, nn numeric(6,4), f float8, nan float4, t text, c char(3), v varchar(5),
  ts timestamp, tz timestamptz, d date, iv interval, ip inet, by bytea, j json, jb jsonb, u uuid, m mood,
  ta text[], ia int[], na numeric[]
);
"""
ROW = """
insert into kinds values (
  9223372036854775807, true, 0.1234567890123456789012345, 0.5, 0.1, 'NaN', 'a "q" é €', 'x', 'yz',
  '2026-01-02 03:04:05.123456', '2026-01-02 03:04:05.123456+02', '2026-01-02', '1 day 2:03', '10.0.0.1/8',
  '\\xdead', '{"k": 1.10}', '{"k": 1.10, "a": null}', '00000000-0000-4000-8000-000000000001', 'wild',
  '{a,"b,c",NULL}', '{1,2}', '{1.50,2}'
)
"""
# The hosted server's type table, value for value; jsonb orders keys by length, then bytes.
RECORD = (
    '{"b": true, "c": "x  ", "d": "2026-01-02", "f": 0.1, "j": {"k": 1.10}, "m": "wild", '
    '"n": 0.1234567890123456789012345, "t": "a \\"q\\" é €", "u": "00000000-0000-4000-8000-000000000001", '
    '"v": "yz", "by": "dead", "ia": [1, 2], "id": 9223372036854775807, "ip": "10.0.0.1/8", '
    '"iv": "1 day 02:03:00", "jb": {"a": null, "k": 1.10}, "na": [1.50, 2], "nn": 0.5000, '
    '"ta": ["a", "b,c", null], "ts": "2026-01-02T03:04:05.123456", '
    '"tz": "2026-01-02T01:04:05.123456+00:00", "nan": null}'
)


@pytest.fixture
async def project(cluster: Postgres, project_template: str) -> AsyncIterator[SupabaseSandbox]:
    async with SupabaseSandbox.start(postgres=cluster, template=project_template) as project:
        yield project


async def test_every_type_is_written_as_the_hosted_server_writes_it(project: SupabaseSandbox) -> None:
    await _create(project, TYPES, "kinds")
    async with _listening(project, {"all": {"event": "*", "table": "kinds"}}) as socket:
        await _execute(project, ROW)
        frame = await _receive(socket)
    assert f'"record":{RECORD},' in frame
    types = {column["name"]: column["type"] for column in json.loads(frame)["payload"]["data"]["columns"]}
    assert list(types)[:4] == ["id", "b", "n", "nn"]
    assert (types["c"], types["ta"], types["m"]) == ("bpchar", "_text", "mood")


async def test_a_large_value_that_an_update_does_not_touch_is_left_out(project: SupabaseSandbox) -> None:
    await _create(project, "create table docs (id int primary key, title text, body text)", "docs")
    await _execute(project, "alter table docs alter body set storage external")
    await _execute(project, "insert into docs values (1, 'old', repeat('x', 10000))")
    async with _listening(project, {"all": {"event": "UPDATE", "table": "docs"}}) as socket:
        await _execute(project, "update docs set title = 'new'")
        data = json.loads(await _receive(socket))["payload"]["data"]
    assert data["record"] == {"id": 1, "title": "new"}
    assert data["old_record"] == {"id": 1}


async def test_an_update_of_the_key_tells_the_old_one(project: SupabaseSandbox) -> None:
    await _create(project, "create table pairs (a int, b text, c text, primary key (a, b))", "pairs")
    await _execute(project, "insert into pairs values (1, 'x', 'c')")
    async with _listening(project, {"all": {"event": "*", "table": "pairs"}}) as socket:
        await _execute(project, "update pairs set a = 2")
        data = json.loads(await _receive(socket))["payload"]["data"]
    assert data["record"] == {"a": 2, "b": "x", "c": "c"}
    assert data["old_record"] == {"a": 1, "b": "x"}


async def test_only_granted_columns_are_shown(project: SupabaseSandbox) -> None:
    await _create(project, "create table accounts (id int primary key, name text, secret text)", None)
    await _execute(project, "grant select (id, name) on accounts to service_role")
    await _execute(project, "alter publication supabase_realtime add table accounts")
    async with _listening(project, {"all": {"event": "*", "table": "accounts"}}) as socket:
        await _execute(project, "insert into accounts values (1, 'a', 's')")
        before = json.loads(await _receive(socket))["payload"]["data"]
        await _execute(project, "grant select on accounts to service_role")
        await _execute(project, "insert into accounts values (2, 'b', 't')")
        after = json.loads(await _receive(socket))["payload"]["data"]
    assert before["record"] == {"id": 1, "name": "a"}
    assert after["record"] == {"id": 2, "name": "b", "secret": "t"}


FILTERS = {
    "n=eq.2": [2],
    "n=neq.2": [1, 3, 10],
    "n=gt.2": [3, 10],
    "n=gte.2": [2, 3, 10],
    "n=lt.2": [1],
    "n=lte.2": [1, 2],
    "n=in.(1,10)": [1, 10],
    "t=like.%1%": [1, 10],
    "t=ilike.ROW 3": [3],
    "t=eq.row 2": [2],
}


async def test_filters_are_judged_by_the_columns_type(project: SupabaseSandbox) -> None:
    await _create(project, "create table rows (n int primary key, t text, o int)", "rows")
    bindings = {text: {"event": "INSERT", "table": "rows", "filter": text} for text in FILTERS}
    received: dict[str, list[int]] = {text: [] for text in FILTERS}
    async with _listening(project, bindings) as socket:
        await _execute(project, "insert into rows select n, 'row ' || n from unnest('{1,2,3,10}'::int[]) n")
        for _ in range(sum(map(len, FILTERS.values()))):
            frame = json.loads(await _receive(socket))
            received[frame["topic"].removeprefix("realtime:")].append(frame["payload"]["data"]["record"]["n"])
    assert received == FILTERS


async def test_two_bindings_of_a_channel_share_a_frame(project: SupabaseSandbox) -> None:
    await _create(project, "create table one (id int primary key)", "one")
    async with connect(_address(project)) as socket:
        bindings = [
            {"event": "*", "schema": "public"},
            {"event": "INSERT", "schema": "public", "table": "one"},
        ]
        ids = await _join(socket, project, "both", bindings)
        await _execute(project, "insert into one values (1)")
        assert json.loads(await _receive(socket))["payload"]["ids"] == ids


async def _create(project: SupabaseSandbox, statements: str, table: str | None) -> None:
    await _execute(project, statements)
    if table is not None:
        await _execute(project, f"grant select on {table} to service_role")
        await _execute(project, f"alter publication supabase_realtime add table {table}")


async def _execute(project: SupabaseSandbox, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(project.dsn, autocommit=True) as connection:
        await connection.execute(statement.encode())


@asynccontextmanager
async def _listening(
    project: SupabaseSandbox, bindings: dict[str, dict[str, str]]
) -> AsyncIterator[ClientConnection]:
    """A socket that has joined each topic with its binding, all of them live."""
    async with connect(_address(project)) as socket:
        for topic, binding in bindings.items():
            await _join(socket, project, topic, [{"schema": "public", **binding}])
        yield socket


async def _join(
    socket: ClientConnection, project: SupabaseSandbox, topic: str, bindings: list[dict[str, str]]
) -> list[int]:
    """Returns the ids of the bindings."""
    payload = {"config": {"postgres_changes": bindings}, "access_token": project.service_role_key}
    frame = {
        "event": "phx_join",
        "topic": f"realtime:{topic}",
        "payload": payload,
        "ref": "1",
        "join_ref": "1",
    }
    await socket.send(json.dumps(frame))
    reply = json.loads(await _receive(socket))
    assert "Subscribed to PostgreSQL" in await _receive(socket)
    return [binding["id"] for binding in reply["payload"]["response"]["postgres_changes"]]


def _address(project: SupabaseSandbox) -> str:
    return f"{project.url.replace('http', 'ws', 1)}/realtime/v1/websocket?apikey={project.service_role_key}"


async def _receive(socket: ClientConnection) -> str:
    async with asyncio.timeout(20):
        return str(await socket.recv())
