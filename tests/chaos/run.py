"""A chaos run: `make chaos ARGS="--signals 200 --kills 40 --workers 3 --seed 7 --json"`.

A small world, workers that are killed and paused along their path, an exchange that fails in every known way; then
peace, time to recover, and the verdict. Exit code 0: every expected order exists once, all books agree, and there were
as many kills as were asked for; 1: not.
"""

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from time import monotonic
from typing import Any

import psycopg

from tests.chaos.ending_markets import end_markets, insert_signal
from tests.chaos.judge import Limits, Verdict, judge
from tests.chaos.plan import MEANINGS, Plan, read_plan
from tests.chaos.schedule import POINTS, SUBMIT_TIMEOUT_S, Point, Schedule
from tests.chaos.signals import COPIED, FRESH_FOR_S, INSERT_EVERY_S, OUT_OF_REACH, insert_signals
from tests.chaos.stand_ins import Usurper
from tests.chaos.troop import Life, Pace, Tormentor, Troop
from tests.chaos.victim import PLANT
from tests.support.tool import SoFar, conduct, tell
from worker.sandbox.signals import random_trades
from worker.sandbox.workspace import workspace
from worker.sandbox.world import Follower, World, open_world

FOLLOWERS = (
    Follower("CHAOS_FAK", COPIED[0], 0, "FAK", Decimal("3.0")),
    Follower("CHAOS_FOK", COPIED[0], 1, "FOK", Decimal("5.0")),
    Follower("CHAOS_GTC", COPIED[1], 2, "GTC", Decimal("2.0")),
    Follower("CHAOS_FAK_TOO", COPIED[1], 0, "FAK", Decimal("4.0")),
    Follower("CHAOS_SHORT_OF_MONEY", COPIED[1], 1, "FAK", Decimal("3.0")),
    Follower("CHAOS_OUT_OF_REACH", OUT_OF_REACH, 2, "GTC", Decimal("2.0")),
)
# Soon spent: from then on every decision of this strategy asks for its capital once more.
_SHORT_CAPITAL_USD = 50
_LEASE_TTL_S = 3.0
_LOST_AFTER_S = 12.0
LIMITS = Limits(sends_most=3, fresh_for_s=FRESH_FOR_S, bet_usd=Decimal(10))
# Minutes of production as seconds; which step follows which stays the same.
SETTINGS: Mapping[str, str] = {
    "POLYCOPY_LEASE__TTL_S": str(_LEASE_TTL_S),
    "POLYCOPY_LEASE__MARGIN_S": "0.8",
    "POLYCOPY_LEASE__RENEW_EVERY_S": "0.5",
    "POLYCOPY_EXCHANGE__SUBMIT_TIMEOUT_S": str(SUBMIT_TIMEOUT_S),
    "POLYCOPY_EXCHANGE__READ_TIMEOUT_S": "2",
    "POLYCOPY_BALANCE__REFRESH_EVERY_S": "2",
    "POLYCOPY_PENDING__FIRST_S": "0.3",
    "POLYCOPY_PENDING__MOST_S": "1.5",
    "POLYCOPY_PENDING__REFRESH_EVERY_S": "1",
    "POLYCOPY_PENDING__SENDS_MOST": str(LIMITS.sends_most),
    "POLYCOPY_PENDING__LOST_AFTER_S": str(_LOST_AFTER_S),
    "POLYCOPY_PENDING__MAX_AGE_S": "3",
    "POLYCOPY_RETAKE__MOST_S": "1",
    "POLYCOPY_RETAKE__REFRESH_EVERY_S": "1",
    "POLYCOPY_SETTLEMENT__ROUND_EVERY_S": "0.5",
    "POLYCOPY_SETTLEMENT__LEAST_S": "0.3",
    "POLYCOPY_SETTLEMENT__MOST_S": "0.5",
    "POLYCOPY_SETTLEMENT__MARKETS_PER_MINUTE": "60000",
    "POLYCOPY_SIGNAL__FRESH_FOR_S": str(LIMITS.fresh_for_s),
    "POLYCOPY_STOP_DRAIN_S": "8",
    "POLYCOPY_LOG__FORMAT": "json",
}
_FATES = {"retries": 0.05, "fails": 0.04, "fails_after_retry": 0.02}
_JUDGE_EVERY_S = 0.5
_JUDGE_SHARE = 0.2  # of the peace at the most: the judge reads both books whole, beside the workers
_MARKET_MOVES_ON_S = 3.0  # of the peace: orders that rest may still trade


@dataclass(frozen=True, slots=True)
class Outcome:
    """`signals`: more than were asked for, where kills took longer. `short`: points that were struck too seldom."""

    plan: Plan
    signals: int
    kills: Mapping[str, int]
    short: Mapping[Point, int]
    faults: Mapping[str, int]
    verdict: Verdict

    @property
    def unmet(self) -> Sequence[str]:
        """One line for each thing that was asked for and not done in the time that there was."""
        done = sum(self.kills.values())
        lines = [f"{done} kills of {self.plan.kills}"] if done < self.plan.kills else []
        lines += [f"{one}: hit {self.kills.get(str(one), 0)} times of {self.plan.each}" for one in self.short]
        return lines

    @property
    def holds(self) -> bool:
        return self.verdict.holds and not self.unmet

    def as_json(self) -> dict[str, Any]:
        verdict = self.verdict
        return {
            "signals": self.signals,
            "kills": sum(self.kills.values()),
            "kill_points": dict(sorted(self.kills.items())),
            "faults": dict(sorted(self.faults.items())),
            "accepted_orders": verdict.accepted_orders,
            "expected_orders": verdict.expected_orders,
            "duplicates": verdict.duplicates,
            "missed": verdict.missed,
            "fill_mismatch": verdict.fill_mismatch,
            "unknown_left": verdict.unknown_left,
            "capital_mismatch": verdict.capital_mismatch,
            "seed": self.plan.seed,
        }


async def torment(plan: Plan, so_far: SoFar) -> Outcome:
    """The whole run."""
    schedule = Schedule(plan.seed, plan.faults, each=plan.each)
    with workspace() as folder:
        logs = plan.logs or folder
        async with open_world(
            seed=plan.seed, markets=8, followers=FOLLOWERS, bet_usd=LIMITS.bet_usd, say=tell
        ) as world:
            await _set_up(world)
            await world.exchange.call("fates", seed=plan.seed, **_FATES)
            environment = {
                **world.worker_environment(),
                **SETTINGS,
                "SUPABASE_DB_URL": world.supabase.dsn,  # heard of twice: by Realtime and by LISTEN
            }
            if plan.plant:
                environment[PLANT] = plan.plant
            troop = Troop(environment, logs, say=tell)
            pace = Pace(
                life_most_s=30.0 if plan.each else 15.0,
                pause_s=_LEASE_TTL_S + 0.7,
                stop_after_s=5.0,
                settled_after_s=2.5,
            )
            tormentor = (
                Tormentor(
                    troop,
                    schedule,
                    workers=plan.workers,
                    kills=plan.kills,
                    pace=pace,
                    end_leases=partial(_end_leases, world),
                )
                if plan.reign_s is None
                else Usurper(
                    troop,
                    world.supabase.dsn,
                    workers=plan.workers,
                    kills=plan.kills,
                    every_s=plan.reign_s,
                    say=tell,
                )
            )
            try:
                await _storm(world, plan, schedule, tormentor, so_far)
                faults = {**await world.exchange.faults_struck(), "worker_paused": tormentor.pauses}
                troop.kill()
                await world.exchange.call("clear-faults")
                for _ in range(plan.workers):
                    troop.start()
                verdict = await _peace(world, plan)
                codes = await troop.stop()
                tell(f"the last workers stopped with {sorted(map(str, codes.values()))}")
            finally:
                so_far.update(kills=tormentor.done, kill_points=dict(tormentor.kills))
                troop.kill()
    struck = {name: n for name, n in faults.items() if n}
    return Outcome(plan, so_far["signals"], tormentor.kills, schedule.short, struck, verdict)


async def _set_up(world: World) -> None:
    """The database holds workers to a rule of its own for giving an order up; one strategy is short of money; and no price
    is too good: while the crowd sleeps, what the workers have left on the books is all that signals are made of.
    """
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        await database.execute(
            "update public.lt_config set value = %s where key = 'lost_after'", (f"{_LOST_AFTER_S} seconds",)
        )
        await database.execute(
            "update public.lt_strategies set initial_capital = %s where strategy_id = 'CHAOS_SHORT_OF_MONEY'",
            (_SHORT_CAPITAL_USD,),
        )
        await database.execute("update public.ft_wallets set dead_market_guard = false")


async def _storm(
    world: World, plan: Plan, schedule: Schedule, tormentor: Tormentor | Usurper, so_far: SoFar
) -> None:
    """Signals, faults and kills together, until there were enough of each."""
    began_s = monotonic()
    async with (
        aclosing(random_trades(world.exchange, rate_per_s=1 / INSERT_EVERY_S, seed=plan.seed)) as trades,
        asyncio.TaskGroup() as group,
    ):
        await anext(trades)  # it has chosen its markets: none of those that end
        tormenting = group.create_task(tormentor.run())
        telling = group.create_task(_tell_progress(tormentor))
        ending = group.create_task(end_markets(world, sorted({one.ft_wallet_id for one in FOLLOWERS})))
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.minutes_most * 60):
                await insert_signals(world, plan.signals, schedule, tormentor, trades, so_far)
                await tormenting
        for task in (tormenting, telling, ending):
            task.cancel()
    tell(f"{so_far['signals']} signals, {tormentor.done} kills in {monotonic() - began_s:.0f} s; now peace")


async def _tell_progress(tormentor: Tormentor | Usurper) -> None:
    while True:
        await asyncio.sleep(5)
        tell(f"{tormentor.done}/{tormentor.done + tormentor.left} kills, {tormentor.pauses} pauses")


async def _end_leases(world: World, dead: Life) -> None:
    """As it would have done itself, had it been told to stop."""
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        await database.execute(
            "update public.lt_leases set expires_at = clock_timestamp()"
            " where starts_with(worker, %s) and expires_at > clock_timestamp()",
            (f"{dead.name}-",),
        )


async def insert(world: World, row: Mapping[str, Any]) -> None:
    """A signal, as the platform would write it."""
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        await insert_signal(database, row)


async def _peace(world: World, plan: Plan) -> Verdict:
    """Judges again and again, until the books agree or nothing has got better for as long as the patience lasts."""
    await world.exchange.call("crowd", asleep=False)
    await asyncio.sleep(_MARKET_MOVES_ON_S)
    await world.exchange.call("crowd", asleep=True)
    least: float = float("inf")
    deadline_s = 0.0
    while True:
        began_s = monotonic()
        verdict = await judge(world, LIMITS)
        took_s = monotonic() - began_s
        if verdict.wrong < least:
            least = verdict.wrong
            deadline_s = monotonic() + plan.patience_s
        if verdict.holds or verdict.beyond_repair or monotonic() > deadline_s:
            return verdict
        await asyncio.sleep(max(_JUDGE_EVERY_S, took_s / _JUDGE_SHARE))


def _report(outcome: Outcome, *, as_json: bool) -> None:
    for complaint in outcome.verdict.complaints[:40]:
        tell(f"WRONG: {complaint}")
    for line in outcome.unmet:
        tell(f"NOT ENOUGH in {outcome.plan.minutes_most:g} min: {line}")
    tell("attempts that rightly are no accepted order, as the exchange's journal bears out:")
    for excuse, meaning in MEANINGS.items():
        tell(f"  {excuse:<10} {outcome.verdict.excused.get(excuse, 0):>5}  {meaning}")
    if as_json:
        sys.stdout.write(json.dumps(outcome.as_json()) + "\n")
        return
    lines = [f"{point!s:<32} {outcome.kills.get(str(point), 0):>5}" for point in POINTS]
    others = sorted(outcome.kills.keys() - set(map(str, POINTS)))
    lines += [f"{name:<32} {outcome.kills[name]:>5}" for name in others]
    lines += [
        f"{name}: {value}"
        for name, value in outcome.as_json().items()
        if name not in {"kill_points", "faults"}
    ]
    lines.append("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(outcome.faults.items())))
    sys.stdout.write("\n".join(lines) + "\n")


def main(given: Sequence[str] | None = None) -> int:
    plan, as_json = read_plan(given)
    # A worker that dies in the middle of a request is what this is about: the sandbox need not show where it noticed.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    tell(f"seed {plan.seed}")
    outcome = conduct(partial(torment, plan), as_json=as_json, seed=plan.seed, signals=0, kills=0)
    _report(outcome, as_json=as_json)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
