"""What an idle worker costs the database: `make idle ARGS="--strategies 20 --seconds 60"`.

The production worker, live, every strategy with a wallet of its own and each second one a shadow, and no signal at all. Calls are what
PostgREST asked for it, time is what pg_stat_statements counted for them, set-up of their transactions included.
Exit code 0: both are within the promise; 1: not.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from typing import Final, TypedDict

import psycopg

from tests.support.tool import SoFar, add_count, add_json, conduct, parser, positive, tell
from worker.sandbox.errors import SandboxError
from worker.sandbox.postgres import Postgres
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, open_world

CALLS_PER_S_MOST: Final = 2.0
DATABASE_MS_PER_S_MOST: Final = 5.0
_ABOUT: Final = f"""\
The production worker, live, every strategy with a wallet of its own and each second one a shadow, and no signal at all.
What it asks of the database meanwhile has to be at most {CALLS_PER_S_MOST:g} calls and {DATABASE_MS_PER_S_MOST:g} ms of database time a second, as PostgREST's
statements are counted by pg_stat_statements."""
# Statements of PostgREST run as the authenticator until they have become the role of the key. The statements are
# counted per database, and nobody else has these roles here.
_SPENT: Final = """
select
  coalesce(sum(s.calls) filter (where s.query like '%"lt\\_%'), 0)::integer,
  coalesce(sum(s.total_exec_time + s.total_plan_time), 0)::float8,
  coalesce(jsonb_object_agg(substring(s.query from '"(lt_\\w+)"'), jsonb_build_object(
    'calls', s.calls, 'ms', (s.total_exec_time + s.total_plan_time)::float8)) filter (where s.query like '%"lt\\_%'), '{}')
from extensions.pg_stat_statements s
join pg_roles r on r.oid = s.userid
join pg_database d on d.oid = s.dbid
where d.datname = current_database() and r.rolname in ('authenticator', 'service_role')
"""


class Cost(TypedDict):
    calls: int
    ms: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What was asked and what it cost, by function, over `seconds`; the rest of the time went to set transactions up."""

    strategies: int
    seconds: float
    calls_per_s: float
    database_ms_per_s: float
    functions: dict[str, Cost]

    @property
    def holds(self) -> bool:
        return self.calls_per_s <= CALLS_PER_S_MOST and self.database_ms_per_s <= DATABASE_MS_PER_S_MOST


async def measure(
    so_far: SoFar | None = None,
    *,
    strategies: int,
    seconds: float,
    postgres: Postgres | None = None,
    template: str | None = None,
) -> Idle:
    """Raises `SandboxError` where the server cannot count statements."""
    followers = [
        Follower(f"LT_{number}", f"FT_{number}", number, "FAK", Decimal(3)) for number in range(strategies)
    ]
    async with (
        open_world(markets=1, followers=followers, postgres=postgres, template=template) as world,
        await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database,
    ):
        await _require_statistics(database)
        await database.execute(
            "update public.lt_strategies set shadow_mode = true where substring(strategy_id from 4)::integer % 2 = 1"
        )
        async with WorkerProcess.start(world.worker_environment(), "--live"):
            await asyncio.sleep(min(seconds, 5))  # what a start asks for is not idleness
            await database.execute("select extensions.pg_stat_statements_reset()")
            began_s = asyncio.get_running_loop().time()
            try:
                await asyncio.sleep(seconds)
            finally:
                elapsed_s = asyncio.get_running_loop().time() - began_s
                if so_far is not None:
                    so_far["seconds"] = round(elapsed_s, 1)
            spent = await (await database.execute(_SPENT.encode())).fetchone()
    if spent is None:
        raise SandboxError("pg_stat_statements says nothing: an aggregate always has a row.")
    calls, spent_ms, by_function = spent
    return Idle(
        strategies,
        round(elapsed_s, 1),
        round(calls / elapsed_s, 2),
        round(spent_ms / elapsed_s, 2),
        {name: Cost(calls=cost["calls"], ms=round(cost["ms"], 1)) for name, cost in by_function.items()},
    )


async def _require_statistics(database: psycopg.AsyncConnection) -> None:
    try:
        await database.execute("create extension if not exists pg_stat_statements schema extensions")
        await database.execute("select from extensions.pg_stat_statements limit 1")
    except psycopg.Error as error:
        raise SandboxError(
            "This PostgreSQL cannot count statements (the wheel comes without pg_stat_statements): install the "
            "system's PostgreSQL with its contrib modules, or set DATABASE_URL to a server that preloads it."
        ) from error


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "idle",
        _ABOUT,
        module="benchmarks.idle",
        lasts="--seconds and about 20 s more",
        holds="both are within the promise",
        examples=("--strategies 20 --seconds 60", "--strategies 2 --seconds 10 --json"),
    )
    add_count(
        options, "--strategies", "Have so many strategies, each with a wallet of its own", least=1, default=20
    )
    options.add_argument(
        "--seconds",
        type=positive("seconds"),
        default=60.0,
        metavar="SECONDS",
        help="Count for so many seconds; what comes once a minute weighs too much in a shorter time "
        "(default: %(default)g s).",
    )
    add_json(options)
    asked = options.parse_args(given)
    tell(f"{asked.strategies} strategies, {asked.seconds:g} s ...")
    run = partial(measure, strategies=asked.strategies, seconds=asked.seconds)
    idle = conduct(run, as_json=asked.json, strategies=asked.strategies, seconds=0)
    said = {**asdict(idle), "holds": idle.holds}
    if asked.json:
        sys.stdout.write(json.dumps(said) + "\n")
    else:
        sys.stdout.write(
            f"calls: {idle.calls_per_s:g} a second, the limit is {CALLS_PER_S_MOST:g}\n"
            f"database time: {idle.database_ms_per_s:g} ms a second, the limit is {DATABASE_MS_PER_S_MOST:g}\n"
            + "".join(
                f"  {name:<24} {cost['calls']:>6} calls {cost['ms']:>8.1f} ms\n"
                for name, cost in sorted(idle.functions.items())
            )
            + f"{'ok' if idle.holds else 'FAILED'}: {idle.strategies} strategies, {idle.seconds:g} s\n"
        )
    return 0 if idle.holds else 1


if __name__ == "__main__":
    sys.exit(main())
