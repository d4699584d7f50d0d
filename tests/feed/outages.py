"""What happens to the database behind the worker's back: each begins, lasts, and is over when the call returns.

None of them is announced to the worker; it has to recover by itself.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from enum import StrEnum
from functools import partial
from typing import assert_never

import aiohttp
import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.feed.flow import Line
from tests.feed.scene import Scene
from tests.feed.trials import RECOVERED_WITHIN_S, Trial
from worker.sandbox.postgres import AUTHENTICATOR
from worker.sandbox.world import World

_POOL_HOLDERS = 12  # PostgREST's pool has ten connections
_TAKERS = 4
_HOLD = b"""
create or replace function public.hold(seconds float8) returns void
language sql security invoker set search_path = '' as 'select pg_catalog.pg_sleep(seconds)'
"""
_GRANT_HOLD = b"grant execute on function public.hold(float8) to service_role"
_DISCONNECT_POSTGREST = b"""
select pg_terminate_backend(pid) from pg_stat_activity
where usename = 'authenticator' and application_name ilike 'postgrest%'
"""


class Outage(StrEnum):
    POSTGREST_RESTARTED = "postgrest_restarted"
    POSTGRESQL_CRASHED = "postgresql_crashed"
    POSTGRESQL_AWAY = "postgresql_stopped"
    POOL_HELD = "postgrest_pool_held"
    CONNECTIONS_USED_UP = "postgresql_connections_used_up"


DOWN_S: Mapping[Outage, float] = {
    Outage.POSTGREST_RESTARTED: 2.0,
    Outage.POSTGRESQL_CRASHED: 0.0,
    Outage.POSTGRESQL_AWAY: 4.0,
    Outage.POOL_HELD: 4.0,
    Outage.CONNECTIONS_USED_UP: 4.0,
}


async def suffer(outage: Outage, scene: Scene) -> None:
    """The whole outage."""
    with scene.without_database():
        await _cause(outage, scene.world)


async def _cause(outage: Outage, world: World) -> None:
    down_s = DOWN_S[outage]
    match outage:
        case Outage.POSTGREST_RESTARTED:
            await world.supabase.postgrest.stop()
            await asyncio.sleep(down_s)
            await world.supabase.postgrest.restart()
        case Outage.POSTGRESQL_CRASHED | Outage.POSTGRESQL_AWAY:
            await world.supabase.postgres.stop(immediate=True)
            await asyncio.sleep(down_s)
            await world.supabase.postgres.restart()
        case Outage.POOL_HELD:
            await _hold_pool(world, down_s)
        case Outage.CONNECTIONS_USED_UP:
            await _use_up_connections(world, down_s)
        case _:
            assert_never(outage)


async def _hold_pool(world: World, held_s: float) -> None:
    """Every connection that PostgREST may have is busy with somebody else's slow call."""
    supabase = world.supabase
    async with Line.open(supabase.dsn) as line:
        await line.ask(_HOLD)
        await line.ask(_GRANT_HOLD)
    await supabase.postgrest.reload_schema()
    headers = {"Authorization": f"Bearer {supabase.service_role_key}"}
    # Past the gateway, which may be down meanwhile.
    connector = aiohttp.UnixConnector(str(supabase.postgrest.socket))
    async with (
        aiohttp.ClientSession("http://postgrest", headers=headers, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):

        async def hold() -> None:
            async with session.post("/rpc/hold", json={"seconds": held_s}) as response:
                await response.read()

        for _ in range(_POOL_HOLDERS):
            group.create_task(hold())


async def _use_up_connections(world: World, held_s: float) -> None:
    """PostgREST loses its connections, and PostgreSQL has none left to give it back."""
    supabase = world.supabase
    database = str(conninfo_to_dict(supabase.dsn)["dbname"])
    theirs = supabase.postgres.dsn(database, user=AUTHENTICATOR)
    async with AsyncExitStack() as held, Line.open(supabase.dsn) as line:

        async def take_all() -> None:
            with suppress(psycopg.OperationalError):
                while True:
                    connection = await psycopg.AsyncConnection.connect(theirs, autocommit=True)
                    held.push_async_callback(connection.close)

        await take_all()
        await line.ask(_DISCONNECT_POSTGREST)
        await asyncio.gather(*(take_all() for _ in range(_TAKERS)))
        await asyncio.sleep(held_s)


OUTAGE_TRIALS = tuple(Trial(one, partial(suffer, one), worst_delay_s=RECOVERED_WITHIN_S) for one in Outage)
