"""Who may write, asked over HTTP as anybody on the internet can ask: with the keys that every browser holds.

What is asked is read from the catalogue, so a table or a function that a later migration adds is asked too.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from worker.sandbox.migrations import apply_migrations, read_migrations
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

NO_PRIVILEGE = "42501"
A_USER = str(UUID(int=7))

# A project as the platform runs it: row security with policies that name no role, and the grants that Supabase
# gave by default until late 2026.
PERMISSIVE = """
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
grant all on all tables in schema public to anon, authenticated, service_role;
grant usage on schema public to anon, authenticated, service_role;
do $$
declare t text;
begin
  foreach t in array array['ft_orders', 'ft_wallets', 'lt_strategies', 'lt_orders'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('create policy "public read" on public.%I for select using (true)', t);
    execute format('create policy "Service role full access" on public.%I for all using (true) with check (true)', t);
  end loop;
end
$$;
"""

TABLES = """
select c.relname, min(a.attname) from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  and a.attidentity = '' and a.attgenerated = ''
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
  and (c.relname like 'lt\\_%' or c.relname in ('ft_orders', 'ft_wallets'))
group by c.relname order by c.relname
"""

FUNCTIONS = """
select p.proname, coalesce(p.proargnames[1:p.pronargs], '{}') from pg_proc p
where p.pronamespace = 'public'::regnamespace and p.proname like 'lt\\_%'
  and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
order by p.proname
"""


@dataclass(frozen=True)
class Ask:
    """One request that would change something, or call something of ours."""

    method: str
    path: str
    body: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@pytest.fixture(scope="module")
def permissive_template(cluster: Postgres, project_template: str) -> str:
    """The platform's tables with its permissive policies and grants, then our migrations over them."""

    async def prepare() -> str:
        name = await cluster.create_database(template=project_template)
        async with await psycopg.AsyncConnection.connect(cluster.dsn(name), autocommit=True) as connection:
            app_tables = next(found for found in read_migrations() if found.name == "app_tables")
            await connection.execute(app_tables.text.encode())
            await connection.execute(PERMISSIVE)
        await apply_migrations(cluster.dsn(name))
        return name

    return asyncio.run(prepare())


@pytest.fixture(
    params=["migrated_template", "permissive_template"], ids=["empty project", "running platform"]
)
def template(request: pytest.FixtureRequest) -> str:
    name: str = request.getfixturevalue(request.param)
    return name


@pytest.fixture
async def project(cluster: Postgres, template: str) -> AsyncIterator[SupabaseSandbox]:
    async with SupabaseSandbox.start(postgres=cluster, template=template) as sandbox:
        yield sandbox


async def catalogue(project: SupabaseSandbox, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(project.dsn) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def writes_of(project: SupabaseSandbox) -> list[Ask]:
    def of(table: str, column: str) -> Iterator[Ask]:
        yield Ask("POST", f"/{table}", {})
        yield Ask("PATCH", f"/{table}?{column}=not.is.null", {column: None})
        yield Ask("DELETE", f"/{table}?{column}=not.is.null", {})

    asks = [ask for table, column in await catalogue(project, TABLES) for ask in of(table, column)]
    assert len(asks) > 3 * 10
    return asks


async def calls_of(project: SupabaseSandbox) -> list[Ask]:
    functions = await catalogue(project, FUNCTIONS)
    asks = [Ask("POST", f"/rpc/{name}", dict.fromkeys(arguments)) for name, arguments in functions]
    assert len(asks) > 10
    return asks


async def answers(project: SupabaseSandbox, key: str, asks: list[Ask]) -> dict[Ask, tuple[int, str]]:
    """Status and code of each answer."""
    headers = {"apikey": key, "Authorization": f"Bearer {key}", "Prefer": "return=minimal"}
    given = {}
    async with httpx.AsyncClient(base_url=f"{project.url}/rest/v1", headers=headers) as http:
        for ask in asks:
            answer = await http.request(ask.method, ask.path, json=ask.body)
            given[ask] = (answer.status_code, answer.json().get("code", "") if answer.is_error else "")
    return given


def allowed(given: dict[Ask, tuple[int, str]], *statuses: int) -> list[str]:
    """What was not refused for want of a privilege, with one of `statuses`."""
    return [
        f"{ask}: {status} {code}"
        for ask, (status, code) in given.items()
        if code != NO_PRIVILEGE or status not in statuses
    ]


async def test_nobody_without_a_key_writes_to_what_moves_money(project: SupabaseSandbox) -> None:
    assert not allowed(await answers(project, project.anon_key, await writes_of(project)), 401)


async def test_no_signed_in_user_writes_to_what_moves_money(project: SupabaseSandbox) -> None:
    key = project.keys.authenticated(A_USER)
    assert not allowed(await answers(project, key, await writes_of(project)), 403)


async def test_nobody_without_a_key_calls_a_function_of_ours(project: SupabaseSandbox) -> None:
    assert not allowed(await answers(project, project.anon_key, await calls_of(project)), 401)


async def test_no_signed_in_user_calls_a_function_of_ours(project: SupabaseSandbox) -> None:
    key = project.keys.authenticated(A_USER)
    assert not allowed(await answers(project, key, await calls_of(project)), 403)


async def test_signed_orders_are_unreadable_to_both(project: SupabaseSandbox) -> None:
    reads = [Ask("GET", "/lt_order_attempts?select=signed_body", {})]
    assert not allowed(await answers(project, project.anon_key, reads), 401)
    assert not allowed(await answers(project, project.keys.authenticated(A_USER), reads), 403)


async def test_the_worker_with_its_key_is_refused_none_of_it(project: SupabaseSandbox) -> None:
    asks = [*await writes_of(project), *await calls_of(project)]
    given = await answers(project, project.service_role_key, asks)
    assert not [str(ask) for ask, (_, code) in given.items() if code == NO_PRIVILEGE]


async def test_the_platform_may_still_read_what_it_had_opened(
    permissive_template: str, cluster: Postgres
) -> None:
    async with SupabaseSandbox.start(postgres=cluster, template=permissive_template) as project:
        reads = [Ask("GET", f"/{table}?limit=1", {}) for table in ("ft_orders", "ft_wallets")]
        given = await answers(project, project.anon_key, reads)
    assert [status for status, _ in given.values()] == [200, 200]
