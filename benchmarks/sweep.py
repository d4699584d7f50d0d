"""What one sweep costs among so many signals: `python -m benchmarks.sweep --signals 5000 500000`.

Four fifths of the signals are in one wallet, all are decided but ten. Two forms are measured: the sweep of every second (the
newest signals and one stretch of the horizon), and the whole horizon in one call. Exit code 0: the sweep touches as
many buffers at every size, give or take a fifth; 1: not.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import psycopg

from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres

_SWEEP: Final = {"mode": "paper", "limit": 500, "window_s": 900, "pairs": 2000}
_WHOLE: Final = {"mode": "paper", "limit": 500}
_TIMES: Final = 20
_SETTLE_IN: Final = """
insert into public.ft_wallets (wallet_id, config_id, display_name) values ('FT_0', '0', '0'), ('FT_1', '1', '1');
insert into public.lt_strategies (strategy_id, ft_wallet_id, user_id, wallet_address, display_name, is_active)
  select 'LT_' || n, 'FT_' || n, gen_random_uuid(), '0x' || repeat('a', 40), n, true from generate_series(0, 1) n;
insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, reason)
  select strategy_id, ft_wallet_id, now() - interval '7 days', 'benchmark' from public.lt_strategies;
"""
_SIGNALS: Final = """
insert into public.ft_orders (wallet_id, side, condition_id, source_trade_id, entry_price, size, order_time, created_at)
select 'FT_' || (mod(n, 5) = 0)::integer, 'BUY', '0xc0', n, 0.5, 6, now(), now() - n * (interval '6 days' / %s)
from generate_series(1, %s) n
"""
_DECISIONS: Final = """
insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)
select s.strategy_id, o.order_id, 'paper', 'skipped', 'benchmark', o.created_at
from public.lt_strategies s join public.ft_orders o on o.wallet_id = s.ft_wallet_id
order by o.created_at offset 10
"""


@dataclass(frozen=True, slots=True)
class Cost:
    signals: int
    sweep_buffers: int
    sweep_ms: float
    whole_buffers: int
    whole_ms: float


async def measure(server: Postgres, signals: int) -> Cost:
    name = await server.create_project(with_auth_users=False)
    await apply_migrations(server.dsn(name))
    async with await server.connect(name) as database:
        await database.execute(_SETTLE_IN)
        await database.execute(_SIGNALS, (signals, signals))
        await database.execute(_DECISIONS)
        await database.execute("vacuum analyze public.ft_orders, public.lt_decisions")
        sweep, whole = await _cost(database, _SWEEP, _TIMES), await _cost(database, _WHOLE, 3)
    await server.drop_database(name)
    return Cost(signals, *sweep, *whole)


async def _cost(database: psycopg.AsyncConnection, asked: dict[str, Any], times: int) -> tuple[int, float]:
    """Buffers and median milliseconds of one call, once the session knows its way."""
    durations_ms = []
    for _ in range(times):
        began_s = time.perf_counter()
        await database.execute("select public.lt_work(%s::jsonb)", (json.dumps(asked),))
        durations_ms.append((time.perf_counter() - began_s) * 1000)
    explained = await database.execute(
        "explain (analyze, buffers, format json) select public.lt_work(%s::jsonb)", (json.dumps(asked),)
    )
    ((plans,),) = await explained.fetchall()
    plan = plans[0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], round(statistics.median(durations_ms), 2)


async def compare(sizes: list[int]) -> list[Cost]:
    async with Postgres.start() as server:
        return [await measure(server, signals) for signals in sizes]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--signals", type=int, nargs="+", default=[5_000, 500_000])
    costs = asyncio.run(compare(parser.parse_args().signals))
    holds = all(0.8 <= cost.sweep_buffers / costs[0].sweep_buffers <= 1.2 for cost in costs)
    sys.stdout.write(json.dumps({"costs": [asdict(cost) for cost in costs], "holds": holds}) + "\n")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
