"""What the client does when the database goes away and comes back: an error meanwhile, and then answers by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.support.desk import Desk
from tests.support.eventually import eventually
from worker.database.client import CallReport, CallTiming, SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.errors import DatabaseUnreachable
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

QUICK = CallTiming(call_s=2.0, deadline_s=3.0)
PATIENT = CallTiming(deadline_s=40.0)
WAITING = CallTiming(read_s=40.0, call_s=40.0, deadline_s=40.0)  # each try is as patient as the call
POOL = 10  # connections of PostgREST


@asynccontextmanager
async def client_of(
    project: SupabaseSandbox, timing: CallTiming, reports: list[CallReport] | None = None
) -> AsyncIterator[SupabaseDatabase]:
    access = DatabaseAccess(url=project.url, key=project.service_role_key)
    on_call = (reports if reports is not None else []).append
    async with await SupabaseDatabase.open(access, timing=timing, on_call=on_call) as database:
        yield database


async def work(database: SupabaseDatabase) -> dict[str, object]:
    return await database.rpc("lt_work", {"p": {"mode": "paper", "limit": 10}})


async def test_a_call_outlasts_a_restart_of_postgrest(supabase: SupabaseSandbox) -> None:
    reports: list[CallReport] = []
    async with client_of(supabase, PATIENT, reports) as database:
        await work(database)
        await supabase.postgrest.stop()
        asked = asyncio.create_task(work(database))
        await eventually(lambda: any(report.outcome == "DatabaseUnreachable" for report in reports))
        await supabase.postgrest.restart()
        assert (await asked)["work"] == []


async def test_an_outage_is_an_error_and_not_an_empty_answer(supabase: SupabaseSandbox) -> None:
    async with client_of(supabase, QUICK) as database:
        await supabase.postgrest.stop()
        with pytest.raises(DatabaseUnreachable):
            await work(database)
        await supabase.postgrest.restart()
        assert (await work(database))["work"] == []


async def test_a_call_outlasts_a_crash_of_the_server_and_finds_what_was_committed() -> None:
    async with (
        Postgres.private() as server,
        SupabaseSandbox.start(postgres=server) as project,
        client_of(project, PATIENT) as database,
    ):
        desk = await Desk.open(project.dsn)
        await desk.strategy()
        signal = await desk.signal()
        await desk.close()
        await work(database)
        await server.stop(immediate=True)
        asked = asyncio.create_task(work(database))
        with pytest.raises(DatabaseUnreachable):
            await database.rpc("lt_work", {"p": {"mode": "paper"}}, deadline_s=0.5)
        await server.restart(immediate=True)
        found = (await asked)["work"]
        assert isinstance(found, list)
        assert [item["signal"]["order_id"] for item in found] == [signal]


async def test_an_exhausted_pool_is_an_error_until_it_has_places_again(supabase: SupabaseSandbox) -> None:
    holder = await psycopg.AsyncConnection.connect(supabase.dsn)
    await holder.execute("lock table public.lt_scopes in access exclusive mode")
    async with client_of(supabase, QUICK) as database, client_of(supabase, WAITING) as crowd:
        stuck = [asyncio.create_task(work(crowd)) for _ in range(POOL)]
        async with await psycopg.AsyncConnection.connect(supabase.dsn, autocommit=True) as onlooker:

            async def waiting() -> bool:
                rows = await onlooker.execute("select from pg_locks where not granted")
                return len(await rows.fetchall()) == POOL

            await eventually(waiting)
            with pytest.raises(DatabaseUnreachable):
                await database.rpc("lt_capital", {"p": {"mode": "paper", "strategy_id": "x"}}, deadline_s=0.5)
        await holder.rollback()
        assert [answer["work"] for answer in await asyncio.gather(*stuck)] == [[]] * POOL
        assert (await work(database))["work"] == []
    await holder.close()
