"""Who may do what, asked of PostgreSQL itself: tables and functions come from the catalogue, none is forgotten."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.support.desk import USER, Desk
from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres

V2_SCHEMA = Path(__file__).parents[1] / "support" / "v2_schema.sql"
OUTSIDERS = ("anon", "authenticated")


@pytest.fixture(scope="module", params=["empty project", "running platform"])
def dressed_template(
    request: pytest.FixtureRequest, cluster: Postgres, project_template: str
) -> Iterator[str]:
    """A migrated project whose past was generous: default grants to everybody, and over the platform its policies."""

    async def build() -> str:
        name = await cluster.create_database(template=project_template)
        async with await cluster.connect(name) as connection:
            if request.param == "running platform":
                await connection.execute(V2_SCHEMA.read_bytes())
            else:
                await connection.execute(
                    "alter default privileges in schema public grant all on tables to anon, authenticated"
                )
                await connection.execute(
                    "alter default privileges in schema public grant all on functions to anon, authenticated"
                )
        await apply_migrations(cluster.dsn(name))
        return name

    name = asyncio.run(build())
    yield name
    asyncio.run(cluster.drop_database(name))


@pytest.fixture
async def desk(cluster: Postgres, dressed_template: str) -> AsyncIterator[Desk]:
    async with cluster.database(template=dressed_template) as name:
        desk = await Desk.open(cluster.dsn(name))
        try:
            yield desk
        finally:
            await desk.close()


async def become(desk: Desk, role: str) -> None:
    await desk.connection.execute("reset role")
    await desk.connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))


async def relations(desk: Desk, *, views: bool) -> list[str]:
    rows = await desk.rows(
        "select relname, relkind = 'v' as is_view from pg_class"
        " where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')"
        " and (relname like 'lt\\_%' or relname in ('ft_orders', 'ft_wallets'))"
    )
    names = [row["relname"] for row in rows if views or not row["is_view"]]
    assert {"ft_orders", "ft_wallets", "lt_strategies", "lt_orders", "lt_order_attempts", "lt_fills"} <= set(
        names
    )
    return names


@pytest.mark.parametrize("role", OUTSIDERS)
async def test_an_outsider_may_write_no_table_of_the_ledger(desk: Desk, role: str) -> None:
    for name in await relations(desk, views=False):
        await become(desk, role)
        table = sql.Identifier("public", name)
        for statement in ("insert into {} default values", "delete from {}", "truncate {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await desk.connection.execute(sql.SQL(statement).format(table))
        columns = await desk.rows(
            "select attname from pg_attribute where attrelid = %(t)s::regclass and attnum > 0"
            " and attidentity = '' and attgenerated = ''",
            t=f"public.{name}",
        )
        for column in columns:
            update = sql.SQL("update {} set {} = null").format(table, sql.Identifier(column["attname"]))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await desk.connection.execute(update)


async def test_no_outsider_holds_any_privilege_but_select(desk: Desk) -> None:
    held = await desk.rows(
        "select name, who, privilege from unnest(%(names)s::text[]) name"
        " cross join unnest(array['anon', 'authenticated']) who"
        " cross join unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) privilege"
        " where has_table_privilege(who, 'public.' || name, privilege)",
        names=await relations(desk, views=True),
    )
    assert held == []


@pytest.mark.parametrize("role", OUTSIDERS)
async def test_an_outsider_may_read_nothing_that_the_platform_had_not_opened(desk: Desk, role: str) -> None:
    readable = set()
    for name in await relations(desk, views=True):
        await become(desk, role)
        try:
            await desk.connection.execute(sql.SQL("select * from {}").format(sql.Identifier("public", name)))
            readable.add(name)
        except psycopg.errors.InsufficientPrivilege:
            pass
    policies = await desk.rows("select 1 from pg_policies where policyname = 'Public read ft_orders'")
    opened = {"ft_orders", "ft_wallets"} if policies else set()
    assert readable == opened | ({"lt_strategies", "lt_orders"} if role == "authenticated" else set())


@pytest.mark.parametrize("role", OUTSIDERS)
async def test_an_outsider_may_call_none_of_our_functions(desk: Desk, role: str) -> None:
    callable_ = await desk.rows(
        "select p.oid::regprocedure::text as signature from pg_proc p"
        " where p.pronamespace = 'public'::regnamespace and p.proname like %(ours)s and has_function_privilege(%(role)s, p.oid, 'execute')",
        ours="lt\\_%",
        role=role,
    )
    assert callable_ == []
    await become(desk, role)
    for call in (
        "select public.lt_claim('{}')",
        "select public.lt_record('{}')",
        "select public.lt_control('{}')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await desk.connection.execute(call)


async def test_every_function_of_ours_runs_as_its_caller_with_an_empty_search_path(desk: Desk) -> None:
    wrong = await desk.rows(
        "select p.oid::regprocedure::text as signature from pg_proc p"
        " where p.pronamespace = 'public'::regnamespace and p.proname like %(ours)s"
        " and (p.prosecdef or not coalesce('search_path=\"\"' = any (p.proconfig), false)"
        "      or not has_function_privilege('service_role', p.oid, 'execute'))",
        ours="lt\\_%",
    )
    assert wrong == []


async def test_row_security_is_on_everywhere_and_views_obey_it(desk: Desk) -> None:
    open_ = await desk.rows(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relname = any(%(names)s) and case c.relkind"
        " when 'v' then not coalesce('security_invoker=true' = any (c.reloptions), false) else not c.relrowsecurity end",
        names=await relations(desk, views=True),
    )
    assert open_ == []


async def test_no_policy_lets_anybody_but_service_role_write(desk: Desk) -> None:
    writers = await desk.rows(
        "select tablename, policyname from pg_policies where schemaname = 'public' and cmd <> 'SELECT' and roles <> '{service_role}'"
    )
    assert writers == []


async def test_a_user_sees_his_own_strategies_and_orders_and_nobody_elses(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_OTHER", ft_wallet_id="FT_TWO", user_id="00000000-0000-4000-8000-00000000000f")
    await desk.ready()
    mine = await desk.claim(await desk.signal())
    other = await desk.signal(wallet_id="FT_TWO")
    await desk.claim(other, "LT_OTHER", expected={"wallet_id": "FT_TWO"})
    await become(desk, "authenticated")
    await desk.rows(
        "select set_config('request.jwt.claims', %(claims)s, false)", claims=f'{{"sub": "{USER}"}}'
    )
    strategies = await desk.rows(
        "select strategy_id from public.lt_strategies where strategy_id in ('LT_ONE', 'LT_OTHER')"
    )
    orders = await desk.rows("select lt_order_id from public.lt_orders where lt_order_id not like 'old%'")
    assert (strategies, orders) == ([{"strategy_id": "LT_ONE"}], [{"lt_order_id": mine["lt_order_id"]}])


async def test_a_role_of_the_projects_own_loses_its_writes_and_keeps_its_reads(desk: Desk) -> None:
    await desk.connection.execute("reset role")
    role = "sandbox_analyst"
    await desk.connection.execute(f"drop role if exists {role}")
    await desk.connection.execute(f"create role {role}")
    try:
        await desk.connection.execute(f"grant select, insert on public.ft_orders to {role}")
        await desk.connection.execute(f"grant update (size) on public.ft_orders to {role}")
        problems = (await desk.call("lt_worker_check", "live"))["problems"]
        assert [problem["thing"] for problem in problems] == ["ft_orders"]
        assert role in problems[0]["problem"]
        await desk.connection.execute("call public.lt_close_access()")
        privileges = await desk.row(
            "select has_table_privilege(%(r)s, 'public.ft_orders', 'select') as reads,"
            " has_table_privilege(%(r)s, 'public.ft_orders', 'insert') as inserts,"
            " has_any_column_privilege(%(r)s, 'public.ft_orders', 'update') as updates",
            r=role,
        )
        assert privileges == {"reads": True, "inserts": False, "updates": False}
    finally:
        await desk.connection.execute(f"drop owned by {role}")
        await desk.connection.execute(f"drop role {role}")


async def test_the_check_names_what_is_missing_and_how_to_mend_it(desk: Desk) -> None:
    await desk.connection.execute("reset role")
    await desk.connection.execute("alter publication supabase_realtime drop table public.ft_orders")
    await desk.connection.execute("revoke insert on public.lt_decisions from service_role")
    await desk.connection.execute("alter table public.lt_fills disable row level security")
    await desk.connection.execute("grant insert on public.ft_orders to anon")
    await desk.connection.execute("drop index public.ft_orders_wallet_created_idx")
    await become(desk, "service_role")
    fixes = {problem["fix"] for problem in (await desk.call("lt_worker_check", "live"))["problems"]}
    assert fixes == {
        "alter publication supabase_realtime add table public.ft_orders",
        "grant insert on public.lt_decisions to service_role",
        "alter table public.lt_fills enable row level security",
        "revoke all on public.ft_orders from anon",
        "create index concurrently ft_orders_wallet_created_idx on public.ft_orders (wallet_id, created_at, order_id)",
    }


async def test_money_rows_are_removed_by_nobody_not_even_the_owner(desk: Desk) -> None:
    await desk.connection.execute("reset role")
    for table in ("lt_scopes", "lt_order_attempts", "lt_fills", "lt_checkpoints"):
        for statement in ("delete from {}", "truncate {} cascade"):
            with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
                await desk.connection.execute(sql.SQL(statement).format(sql.Identifier("public", table)))
    with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
        await desk.connection.execute("truncate public.lt_decisions")
    with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
        await desk.connection.execute("truncate public.lt_strategies cascade")
