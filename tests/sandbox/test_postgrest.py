"""PostgREST behind the gateway: real answers, passed through as they are."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest

from worker.sandbox import postgrest as postgrest_module
from worker.sandbox.errors import ProcessError, SandboxError
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.postgres import Postgres
from worker.sandbox.postgrest import PostgREST, find_postgrest
from worker.sandbox.supabase import SupabaseSandbox

TABLE = """
create table notes (id bigint primary key, price numeric(6,4), owner uuid default auth.uid());
create function public.whoami() returns text language sql as $$ select auth.uid()::text $$;
grant select, insert on notes to service_role, authenticated;
grant execute on function public.whoami() to authenticated;
"""


@pytest.fixture
async def project(cluster: Postgres, project_template: str) -> AsyncIterator[SupabaseSandbox]:
    async with SupabaseSandbox.start(postgres=cluster, template=project_template) as project:
        async with await psycopg.AsyncConnection.connect(project.dsn) as connection:
            await connection.execute(TABLE)
        await project.postgrest.reload_schema()
        yield project


def _client(project: SupabaseSandbox, key: str) -> httpx.AsyncClient:
    headers = {"apiKey": key, "Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=f"{project.url}/rest/v1", headers=headers)


async def test_rows_keep_the_digits_that_postgres_wrote(project: SupabaseSandbox) -> None:
    async with _client(project, project.service_role_key) as client:
        created = await client.post("/notes", json={"id": 1, "price": "0.5000"})
        assert (created.status_code, created.headers["content-range"]) == (201, "*/*")
        read = await client.get("/notes", params={"select": "id,price", "id": "eq.1"})
        assert read.text == '[{"id":1,"price":0.5000}]'
        assert read.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_duplicate_is_a_conflict_with_postgres_own_words(project: SupabaseSandbox) -> None:
    async with _client(project, project.service_role_key) as client:
        await client.post("/notes", json={"id": 1})
        again = await client.post("/notes", json={"id": 1})
    assert (again.status_code, again.json()["code"]) == (409, "23505")


async def test_at_most_a_thousand_rows_are_returned(project: SupabaseSandbox) -> None:
    async with await psycopg.AsyncConnection.connect(project.dsn) as connection:
        await connection.execute("insert into notes (id) select generate_series(1, 1500)")
    async with _client(project, project.service_role_key) as client:
        answer = await client.get("/notes", params={"select": "id", "limit": "2000"})
        counted = await client.head("/notes", headers={"Prefer": "count=exact"})
    assert len(answer.json()) == 1000
    assert counted.headers["content-range"] == "0-999/1500"


async def test_a_signed_in_user_is_who_the_token_says(project: SupabaseSandbox) -> None:
    user = "11111111-2222-4333-8444-555555555555"
    async with _client(project, project.keys.authenticated(user)) as client:
        answer = await client.post("/rpc/whoami")
    assert answer.json() == user


@pytest.mark.parametrize("key", ["anon", "another project's", "no token"])
async def test_without_grant_or_valid_key_nothing_is_shown(key: str, project: SupabaseSandbox) -> None:
    keys = {
        "anon": (project.anon_key, "42501"),
        "another project's": (ProjectKeys().service_role, "PGRST301"),
        "no token": ("sb_secret_xxx", "PGRST301"),
    }
    token, code = keys[key]
    async with _client(project, token) as client:
        answer = await client.get("/notes")
    assert (answer.status_code, answer.json()["code"]) == (401, code)


async def test_encoded_paths_and_large_bodies_pass_unchanged(project: SupabaseSandbox) -> None:
    rows = [{"id": number} for number in range(20_000)]
    async with _client(project, project.service_role_key) as client:
        created = await client.post("/notes", json=rows, headers={"Prefer": "return=minimal,count=exact"})
        assert (created.status_code, created.content) == (201, b"")
        assert created.headers["content-range"] == "*/20000"
        read = await client.get("/notes?select=id&or=(id.eq.3,and(id.gt.5,id.lt.7))&order=id.desc")
    assert read.json() == [{"id": 6}, {"id": 3}]


async def test_an_unreachable_postgrest_is_a_bad_gateway(project: SupabaseSandbox) -> None:
    await project.postgrest._process.stop()
    async with _client(project, project.service_role_key) as client:
        answer = await client.get("/notes")
    assert answer.status_code == 502


async def test_a_postgrest_that_cannot_start_says_why(
    cluster: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgrest_module, "_WITHIN_S", 1.0)
    dsn = cluster.dsn("no_such_database")
    with pytest.raises(ProcessError, match="no_such_database"):
        async with PostgREST.start(dsn=dsn, authenticator_dsn=dsn, jwt_secret="x" * 40):
            pass


def test_a_missing_binary_is_one_sentence_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(postgrest_module, "__file__", str(tmp_path / "a" / "b" / "postgrest.py"))
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SandboxError, match="npm ci"):
        find_postgrest()


async def test_it_can_be_stopped_and_comes_back_at_the_same_address(project: SupabaseSandbox) -> None:
    async with _client(project, project.service_role_key) as client:
        await project.postgrest.stop()
        assert (await client.get("/notes")).status_code == 502
        await project.postgrest.restart()
        assert (await client.get("/notes")).status_code == 200
