"""What one sweep costs among so many signals: `make sweep ARGS="--signals 5000 500000"`.

Four fifths of the signals are in one wallet, all are decided but ten. Measured are the sweep of every second (the newest
signals and one stretch of the horizon) at the beginning of a round and halfway through it, that of a worker which was
started a day ago with `--no-backfill`, and the whole horizon in one call. Exit code 0: among more signals no sweep
touches more than a fifth more buffers than the first among the fewest; 1: one does.
"""

import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import psycopg

from tests.support.tool import SoFar, add_json, conduct, parser, tell, whole
from worker.configuration.feed import SweepSettings
from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres

_SETTINGS: Final = SweepSettings()
_SWEEP: Final = {
    "mode": "paper",
    "limit": _SETTINGS.batch,
    "window_s": _SETTINGS.window_s,
    "pairs": _SETTINGS.pairs,
}
_UP_S: Final = 86_400
_ROUND_MOST: Final = 2_000  # sweeps
_WHOLE: Final = {"mode": "paper", "limit": 500}
_TIMES: Final = 20
_GROWTH_MOST: Final = 1.2
_SIGNALS_LEAST: Final = 5_000  # below, one stretch is most of the horizon: there is nothing to compare
_ABOUT: Final = f"""\
What one sweep costs among different numbers of signals, all decided but ten: the sweep of every second, and the whole
horizon in one call. Among more signals the sweep may touch at most {_GROWTH_MOST:g} times the buffers (pages of 8 KiB) that it
touches among the fewest."""
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
    round_sweeps: int
    deep_buffers: int
    deep_ms: float
    no_backfill_buffers: int
    no_backfill_ms: float
    whole_buffers: int
    whole_ms: float

    @property
    def sweeps(self) -> dict[str, int]:
        """Buffers of each form that must not grow."""
        return {
            "a sweep": self.sweep_buffers,
            "a sweep halfway": self.deep_buffers,
            "a sweep without backfill": self.no_backfill_buffers,
        }


async def measure(server: Postgres, signals: int) -> Cost:
    name = await server.create_project(with_auth_users=False)
    await apply_migrations(server.dsn(name))
    async with await server.connect(name) as database:
        await database.execute(_SETTLE_IN)
        await database.execute(_SIGNALS, (signals, signals))
        await database.execute(_DECISIONS)
        await database.execute("vacuum analyze public.ft_orders, public.lt_decisions")
        sweep = await _cost(database, _SWEEP, _TIMES)
        bookmarks = await _round(database)
        deep = await _cost(database, _SWEEP | {"bookmark": bookmarks[len(bookmarks) // 2]}, _TIMES)
        no_backfill = await _cost(database, _SWEEP | {"oldest_s": _UP_S}, _TIMES)
        all_of_it = await _cost(database, _WHOLE, 3)
    await server.drop_database(name)
    return Cost(signals, *sweep, len(bookmarks), *deep, *no_backfill, *all_of_it)


async def _round(database: psycopg.AsyncConnection) -> list[dict[str, Any] | None]:
    """The bookmarks with which the sweeps of one round begin."""
    bookmarks: list[dict[str, Any] | None] = [None]
    while len(bookmarks) < _ROUND_MOST:
        asked = _SWEEP | {"bookmark": bookmarks[-1]}
        answered = await database.execute("select public.lt_work(%s::jsonb)", (json.dumps(asked),))
        ((answer,),) = await answered.fetchall()
        if answer["bookmark"] is None:
            break
        bookmarks.append(answer["bookmark"])
    return bookmarks


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


async def compare(sizes: Sequence[int], so_far: SoFar) -> list[Cost]:
    costs: list[Cost] = []
    so_far["costs"] = told = []
    async with Postgres.start() as server:
        for signals in sizes:
            tell(f"{signals} signals ...")
            costs.append(await measure(server, signals))
            told.append(asdict(costs[-1]))
    return costs


def judged(costs: Sequence[Cost]) -> list[str]:
    """What is wrong, in a sentence each: the first is what the others are measured by."""
    least = costs[0]
    limit = int(least.sweep_buffers * _GROWTH_MOST)
    return [
        f"{form} touches {buffers} buffers among {cost.signals} signals, and one {least.sweep_buffers} among "
        f"{least.signals}: the limit is {limit} ({_GROWTH_MOST:g} times as many)"
        for cost in costs
        for form, buffers in cost.sweeps.items()
        if buffers > limit
    ]


def _report(costs: Sequence[Cost], wrong: Sequence[str], *, as_json: bool) -> None:
    limit = int(costs[0].sweep_buffers * _GROWTH_MOST)
    if as_json:
        said = {
            "costs": [asdict(cost) for cost in costs],
            "buffers_most": limit,
            "holds": not wrong,
            "wrong": wrong,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        return
    for cost in costs:
        sys.stdout.write(
            f"{cost.signals:>9} signals: a sweep {cost.sweep_buffers} buffers, {cost.sweep_ms:g} ms; "
            f"halfway {cost.deep_buffers} buffers, {cost.deep_ms:g} ms; "
            f"without backfill {cost.no_backfill_buffers} buffers, {cost.no_backfill_ms:g} ms; "
            f"a round {cost.round_sweeps} sweeps; the whole horizon {cost.whole_buffers} buffers, {cost.whole_ms:g} ms\n"
        )
    verdict = "\n".join(f"FAILED: {one}" for one in wrong) or f"ok: the limit is {limit} buffers for a sweep"
    sys.stdout.write(verdict + "\n")


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "sweep",
        _ABOUT,
        module="benchmarks.sweep",
        lasts="about 1 min with 500000 signals (2 cores)",
        holds="no number of signals costs more than that",
        examples=("--signals 5000 500000", "--signals 5000 50000 --json"),
    )
    options.add_argument(
        "--signals",
        type=whole(least=_SIGNALS_LEAST),
        nargs="+",
        default=[5_000, 500_000],
        metavar="N",
        help=f"Measure among so many signals, in two numbers or more of at least {_SIGNALS_LEAST} each "
        "(default: 5000 500000).",
    )
    add_json(options)
    asked = options.parse_args(given)
    sizes = sorted(set(asked.signals))
    if len(sizes) < 2:
        options.error(
            f"argument --signals: '{sizes[0]}' is not allowed alone: it takes two different numbers or more"
        )
    costs = conduct(partial(compare, sizes), as_json=asked.json, costs=[])
    wrong = judged(costs)
    _report(costs, wrong, as_json=asked.json)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
