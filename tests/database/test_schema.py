"""The migrations: on an empty project, over the running platform, and both again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.desk import Desk
from worker.sandbox.migrations import apply_migrations, read_migrations
from worker.sandbox.postgres import Postgres

V2_SCHEMA = Path(__file__).parents[1] / "support" / "v2_schema.sql"

CATALOGUE = """
select coalesce(string_agg(line, E'\\n' order by line), '') as catalogue from (
  select format('column %s.%s %s %s', table_name, column_name, data_type, is_nullable) as line
  from information_schema.columns where table_schema = 'public'
  union all select format('index %s', indexdef) from pg_indexes where schemaname = 'public'
  union all select format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
  from pg_constraint where connamespace = 'public'::regnamespace
  union all select format('policy %s %s %s %s', tablename, policyname, cmd, roles) from pg_policies
  union all select format('grants %s %s', relname, relacl) from pg_class where relnamespace = 'public'::regnamespace
  union all select format('routine %s %s', oid::regprocedure, proacl) from pg_proc where pronamespace = 'public'::regnamespace
  union all select format('trigger %s %s', tgrelid::regclass, tgname) from pg_trigger where not tgisinternal
  union all select format('published %s', tablename) from pg_publication_tables
) lines
"""


@pytest.fixture(scope="module")
def platform_template(cluster: Postgres, project_template: str) -> Iterator[str]:
    """The running platform with our migrations applied over it."""

    async def build() -> str:
        name = await cluster.create_database(template=project_template)
        async with await cluster.connect(name) as connection:
            await connection.execute(V2_SCHEMA.read_bytes())
        await apply_migrations(cluster.dsn(name))
        return name

    return_name = asyncio.run(build())
    yield return_name
    asyncio.run(cluster.drop_database(return_name))


@pytest.fixture
async def platform_database(cluster: Postgres, platform_template: str) -> AsyncIterator[str]:
    async with cluster.database(template=platform_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def platform(platform_database: str) -> AsyncIterator[Desk]:
    desk = await Desk.open(platform_database, mode="live")
    try:
        yield desk
    finally:
        await desk.close()


async def superuser(desk: Desk) -> Desk:
    await desk.connection.execute("reset role")
    return desk


async def test_the_schema_that_the_migrations_make_is_one_the_worker_accepts(desk: Desk) -> None:
    check = await desk.call("lt_worker_check", "live")
    assert (check["problems"], check["schema_version"], check["role"]) == ([], "1", "service_role")


async def test_migrations_applied_twice_change_nothing(database: str) -> None:
    desk = await superuser(await Desk.open(database))
    before = await desk.row(CATALOGUE)
    await apply_migrations(database, force=True)
    assert await desk.row(CATALOGUE) == before
    assert len(str(before["catalogue"]).splitlines()) > 300
    await desk.close()


async def test_migrations_applied_twice_over_a_working_ledger_decide_nothing_anew(
    trading: Desk, database: str
) -> None:
    claimed = await trading.claim(await trading.signal())
    count = "select (select count(*) from public.lt_decisions), (select count(*) from public.lt_scopes), * from public.lt_orders"
    before = await trading.row(count)
    await apply_migrations(database, force=True)
    assert await trading.row(count) == before
    assert before["lt_order_id"] == claimed["lt_order_id"]


async def test_the_platform_is_taken_over_with_its_rows_untouched(platform: Desk) -> None:
    check = await platform.call("lt_worker_check", "live")
    assert check["problems"] == []
    orders = await platform.rows(
        "select lt_order_id, status, order_not_found_count from public.lt_orders order by 1"
    )
    assert [(order["lt_order_id"], order["status"]) for order in orders] == [
        ("old-1", "FILLED"),
        ("old-2", "PENDING"),
        ("old-3", "FILLED"),
        ("old-4", "REJECTED"),
    ]


async def test_the_platform_may_be_migrated_twice(platform: Desk, platform_database: str) -> None:
    desk = await superuser(platform)
    before = await desk.row(CATALOGUE)
    await apply_migrations(platform_database, force=True)
    assert await desk.row(CATALOGUE) == before


async def test_pairs_of_the_old_executor_are_decided_by_id_or_by_trade_and_force_tests_are_not(
    platform: Desk,
) -> None:
    decided = await platform.rows(
        "select ft_order_id::text, mode, state, reason, value from public.lt_decisions order by 1"
    )
    assert [(row["ft_order_id"][-1], row["value"]) for row in decided] == [("1", "0xold1"), ("2", "0xold2")]
    assert {(row["mode"], row["state"], row["reason"]) for row in decided} == {
        ("live", "executed", "already_executed")
    }
    assert sorted(id_[-1] for id_ in await platform.work_ids()) == ["3", "4"]


async def test_only_strategies_that_are_active_get_a_scope_at_installation(platform: Desk) -> None:
    scopes = await platform.rows("select strategy_id, ft_wallet_id, scope_to, reason from public.lt_scopes")
    assert scopes == [
        {"strategy_id": "LT_OLD", "ft_wallet_id": "FT_OLD", "scope_to": None, "reason": "installed"}
    ]


async def test_capital_counts_the_old_executors_open_orders_but_no_force_test(platform: Desk) -> None:
    capital = await platform.capital("LT_OLD")
    assert capital["locked_usd"] == "12.50"  # 5.50 filled and a pending bet of 7.00
    assert capital["available_usd"] == "987.50"


async def test_a_strategy_with_orders_cannot_be_deleted_not_even_through_its_user(platform: Desk) -> None:
    desk = await superuser(platform)
    for statement in (
        "delete from public.lt_strategies where strategy_id = 'LT_OLD'",
        "delete from auth.users where id = '00000000-0000-4000-8000-000000000001'",
    ):
        # PostgreSQL 18 tells a restricted key from a violated one.
        with pytest.raises((psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation)):
            await desk.connection.execute(statement)
    assert await desk.execute("delete from public.lt_strategies where strategy_id = 'LT_OFF'") == 1


async def test_no_foreign_key_cascades_into_the_ledger(platform: Desk) -> None:
    desk = await superuser(platform)
    cascades = await desk.rows(
        "select conrelid::regclass::text as into, conname from pg_constraint where contype = 'f' and confdeltype in ('c', 'n', 'd')"
        " and connamespace = 'public'::regnamespace"
    )
    reached = {row["into"] for row in cascades}
    assert reached == {
        "ft_orders",
        "lt_strategies",
        "lt_cooldown_queue",
    }  # the platform's own, and none of ours


async def test_a_foreign_program_cannot_overwrite_the_id_of_a_real_order(platform: Desk) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="immutable"):
        await platform.execute("update public.lt_orders set order_id = '0xnew' where lt_order_id = 'old-1'")
    assert (
        await platform.execute("update public.lt_orders set order_id = '0xnew' where lt_order_id = 'old-4'")
        == 1
    )


async def test_auth_users_may_be_absent(cluster: Postgres) -> None:
    name = await cluster.create_project(with_auth_users=False)
    try:
        await apply_migrations(cluster.dsn(name))
        desk = await Desk.open(cluster.dsn(name))
        await desk.strategy()
        assert len((await desk.call("lt_strategies_load", "paper"))["strategies"]) == 1
        await desk.close()
    finally:
        await cluster.drop_database(name)


async def test_every_constraint_of_our_tables_has_a_name_that_says_what_it_forbids(desk: Desk) -> None:
    named = await desk.rows(
        "select conname from pg_constraint where connamespace = 'public'::regnamespace and contype = 'c'"
        " and conrelid::regclass::text like %(ours)s and conname ~ '_check[0-9]*$'",
        ours="lt\\_%",
    )
    assert named == []


def test_only_the_indexes_of_the_big_table_are_built_outside_a_transaction() -> None:
    outside = [migration for migration in read_migrations() if not migration.in_transaction]
    assert [migration.name for migration in outside] == ["indexes"]
    assert outside[0].text.count("concurrently if not exists") == 2


async def test_an_index_that_the_platform_has_is_not_built_again(desk: Desk, platform: Desk) -> None:
    by_time = "select count(*) from pg_indexes where tablename = 'ft_orders' and indexdef like '%(wallet_id, order_time DESC)'"
    assert [await each.row(by_time) for each in (desk, platform)] == [{"count": 1}, {"count": 1}]
