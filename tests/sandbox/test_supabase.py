"""The whole project: up soon, on its own PostgreSQL or a given one, and several side by side."""

from time import monotonic

import httpx
import psycopg
import pytest

from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time


async def _status(project: SupabaseSandbox, table: str, key: str) -> int:
    async with httpx.AsyncClient() as client:
        headers = {"apiKey": key, "Authorization": f"Bearer {key}"}
        answer = await client.get(f"{project.url}/rest/v1/{table}?limit=1", headers=headers)
    return answer.status_code


async def test_a_whole_project_with_our_schema_is_up_within_half_a_minute_on_any_machine() -> None:
    started = monotonic()
    async with SupabaseSandbox.start() as project:
        assert await _status(project, "ft_orders", project.service_role_key) == 200
        assert monotonic() - started < 30  # 3 s where nothing else runs


async def test_projects_do_not_know_each_other(supabase: SupabaseSandbox, cluster: Postgres) -> None:
    async with SupabaseSandbox.start(postgres=cluster, template="template1") as other:
        assert await _status(supabase, "ft_orders", supabase.service_role_key) == 200
        assert await _status(supabase, "ft_orders", other.service_role_key) == 401
        assert await _status(other, "ft_orders", other.service_role_key) == 404


async def test_a_given_server_serves_as_well_and_is_left_as_it_was(
    cluster: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases = "select array_agg(datname order by datname) from pg_database"
    async with await psycopg.AsyncConnection.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        before = await (await connection.execute(databases)).fetchone()
        monkeypatch.setenv("DATABASE_URL", cluster.tcp_dsn("postgres"))
        async with SupabaseSandbox.start() as project:
            assert await _status(project, "ft_orders", project.service_role_key) == 200
            assert await (await connection.execute(databases)).fetchone() != before
        assert await (await connection.execute(databases)).fetchone() == before
