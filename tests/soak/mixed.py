"""Everything at once, for as long as one likes: every type of order, trades that fail, markets that end, faults.

One production worker trades it. Again and again all becomes quiet: a pause has taken what rests off the book, no signal is
open any more, every trade has come to its end. Then exchange and database have to agree on every fill, fee and balance.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from time import monotonic
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.chaos.ending_markets import end_markets, insert_signal
from tests.chaos.evidence import Evidence
from tests.chaos.judge import disagreements
from tests.chaos.run import SETTINGS as CHAOS_SETTINGS
from tests.chaos.schedule import FAULTS, Schedule
from tests.soak.balances import balances_apart
from tests.soak.plants import Plant, Planted
from tests.support.tool import SoFar, tell
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, random_trades, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, World, open_world

Row = Mapping[str, Any]

FOLLOWERS = (
    Follower("SOAK_FAK", "FT_LARGE", 0, "FAK", Decimal("3.0")),
    Follower("SOAK_FAK_SMALL", "FT_SMALL", 1, "FAK", Decimal("5.0")),
    Follower("SOAK_FOK", "FT_SMALL", 0, "FOK", Decimal("5.0")),
    Follower("SOAK_GTC", "FT_LARGE", 1, "GTC", Decimal("2.0")),
    Follower("SOAK_GTD", "FT_MIDDLING", 2, "GTD", Decimal("2.0")),
)
# Of the crowd's levels, which have a few hundred shares each, they take a part, about one, and several.
BETS_USD = {"FT_SMALL": 10, "FT_MIDDLING": 120, "FT_LARGE": 400}
DEPOSIT_USD = Decimal(100_000_000)
# Minutes of production as seconds, as in a chaos run; but nobody here dies, and a pause takes orders off the book.
SETTINGS: Mapping[str, str] = {
    **{name: value for name, value in CHAOS_SETTINGS.items() if "_LEASE__" not in name},
    "POLYCOPY_PENDING__CANCEL_ON_PAUSE": "true",
    "POLYCOPY_PENDING__LOST_AFTER_S": "5",
}
_FATES = {"retries": 0.06, "fails": 0.05, "fails_after_retry": 0.03}
_NOISE = {"lost": 0.2, "doubled": 0.1, "overtaken": 0.1}
_STALL_SHARE = 0.02  # of the signals come with a stream that is silent for so long
_STALL_S = 2.0
_LOOK_EVERY_S = 0.5
_AS_ASKED_PER_S = 1000.0
_RESTING = ("SOAK_GTC", "SOAK_GTD")

_OPEN = """
select (total ->> 'undecided')::int as undecided, (total ->> 'deferred')::int as deferred,
       (select count(*) from public.lt_order_attempts where closed_at is null) as attempts,
       (select count(*) from public.lt_fills where state = 'provisional') as fills
from (select public.lt_equation('{"mode": "live"}') -> 'total' as total) equation
"""
_SEEN = """
select 'orders '  || order_type as what, count(*) as times from public.lt_order_attempts where attempt_no = 1 group by 1
union all select 'sales', count(*) from public.lt_order_attempts where side = 'SELL' and attempt_no = 1
union all select 're-takes', count(*) from public.lt_order_attempts where attempt_no > 1 and order_type in ('FAK', 'FOK')
union all select 'reprices', count(*) from public.lt_order_attempts where attempt_no > 1 and order_type in ('GTC', 'GTD')
union all select 'called off: ' || called_off, count(*) from public.lt_order_attempts
  where called_off is not null group by 1
union all select 'fills as ' || lower(role), count(*) from public.lt_fills group by 1
union all select 'fills ' || state, count(*) from public.lt_fills group by 1
union all select 'orders in part', count(*) from public.lt_orders where status = 'PARTIAL'
union all select 'decided ' || reason, count(*) from public.lt_decisions group by 1
union all select 'ended ' || lower(case winning_label when 'VOID' then 'VOID' else outcome end), count(*)
  from public.lt_orders where outcome in ('WON', 'LOST') group by 1
"""
# What a run of a minute has seen, or it was not mixed.
MIXTURE = frozenset(
    {f"orders {kind}" for kind in ("FAK", "FOK", "GTC", "GTD")}
    | {"sales", "re-takes", "reprices", "called off: reprice", "called off: pause"}
    | {"fills as taker", "fills as maker", "fills final", "fills reversed", "orders in part"}
    | {"ended won", "ended lost", "ended void"}
)


@dataclass(frozen=True, slots=True)
class Plan:
    seconds: float
    seed: int
    rate_per_s: float = 6.0
    quiet_every_s: float = 30.0
    patience_s: float = 90.0  # for a quiet point: without anything that got better
    plants: Sequence[Plant] = ()  # after the last quiet point, one after the other


@dataclass(slots=True)
class Outcome:
    plan: Plan
    quiet_points: list[tuple[str, ...]] = field(default_factory=list)  # what was wrong at each
    signals: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    compared: int = 0  # fills, at the last quiet point
    found: dict[Plant, bool] = field(default_factory=dict)

    @property
    def lacking(self) -> Sequence[str]:
        """What a run that is long enough should have seen."""
        return sorted(MIXTURE - self.seen.keys()) if self.plan.seconds >= 60 else ()

    @property
    def holds(self) -> bool:
        agreed = bool(self.quiet_points) and not any(self.quiet_points)
        return agreed and self.compared > 0 and not self.lacking and not any(self.found.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": self.plan.seconds,
            "signals": self.signals,
            "quiet_points": len(self.quiet_points),
            "disagreements": sum(map(len, self.quiet_points)),
            "fills_compared": self.compared,
            "seen": dict(sorted(self.seen.items())),
            "lacking": list(self.lacking),
            "faults": sum(self.faults.values()),
            "kinds_of_faults": len(self.faults),
            "planted": {
                plant.value: "found" if found else "NOT FOUND" for plant, found in self.found.items()
            },
            "seed": self.plan.seed,
        }


async def mixed(
    plan: Plan, so_far: SoFar, *, postgres: Postgres | None = None, template: str | None = None
) -> Outcome:
    """The whole run. `postgres`, `template`: as for `open_world`."""
    outcome = Outcome(plan)
    async with (
        open_world(
            seed=plan.seed,
            markets=8,
            followers=FOLLOWERS,
            deposit_usd=DEPOSIT_USD,
            mined_after_s=0.7,
            confirmed_after_s=0.7,
            postgres=postgres,
            template=template,
            say=tell,
        ) as world,
        await psycopg.AsyncConnection.connect(
            world.supabase.dsn, autocommit=True, row_factory=dict_row
        ) as database,
    ):
        soak = _Soak(world, database, outcome, so_far)
        await soak.set_up()
        async with WorkerProcess.start({**world.worker_environment(), **SETTINGS}, "--live"):
            await soak.run()
        for plant in plan.plants:
            planted = Planted(world, plant)
            await planted.do()
            outcome.found[plant] = bool(await soak.disagreements())
            await planted.undo()
        outcome.faults = {name: n for name, n in (await world.exchange.faults_struck()).items() if n}
        rows = await (await database.execute(_SEEN.encode())).fetchall()
        outcome.seen = {row["what"]: row["times"] for row in rows if row["times"]}
    return outcome


class _Soak:
    def __init__(
        self,
        world: World,
        database: psycopg.AsyncConnection[dict[str, Any]],
        outcome: Outcome,
        so_far: SoFar,
    ) -> None:
        self._world = world
        self._database = database
        self._outcome = outcome
        self._so_far = so_far
        self._schedule = Schedule(outcome.plan.seed, tuple(FAULTS))
        self._source = random.Random(outcome.plan.seed)
        self._ended = count()

    async def set_up(self) -> None:
        lost_after = f"{SETTINGS['POLYCOPY_PENDING__LOST_AFTER_S']} seconds"
        await self._database.execute(
            "update public.lt_config set value = %s where key = 'lost_after'", (lost_after,)
        )
        await self._database.execute(
            "update public.lt_strategies set max_order_size_usd = 10000, cooldown_hours = 0"
        )
        for ft_wallet_id, bet_usd in BETS_USD.items():
            await self._database.execute(
                "update public.ft_wallets set bet_size = %s where wallet_id = %s", (bet_usd, ft_wallet_id)
            )
        await self._world.exchange.call("fates", seed=self._outcome.plan.seed, **_FATES)
        await self._world.exchange.call("stream-noise", channel="user", **_NOISE)

    async def run(self) -> None:
        plan = self._outcome.plan
        until_s = monotonic() + plan.seconds
        # Without a pace of their own: they would make up for every quiet point at once.
        trades = random_trades(self._world.exchange, rate_per_s=_AS_ASKED_PER_S, seed=plan.seed)
        async with aclosing(trades):
            await anext(trades)  # it has chosen its markets: none of those that end
            while (left_s := until_s - monotonic()) > 0:
                await self._storm(trades, min(plan.quiet_every_s, left_s))
                await self._become_quiet()
                if any(self._outcome.quiet_points):
                    return
                await self._go_on()

    async def _storm(self, trades: AsyncIterator[Trade], seconds: float) -> None:
        until_s = monotonic() + seconds
        ending = asyncio.create_task(end_markets(self._world, sorted(BETS_USD), self._ended))
        try:
            async for trade in trades:
                if monotonic() > until_s or ending.done():
                    break
                row = signal_row(
                    trade, ft_wallet_id=self._source.choice(sorted(BETS_USD)), size_usd=Decimal(10)
                )
                await insert_signal(self._database, row)
                self._outcome.signals += 1
                self._so_far["signals"] = self._outcome.signals
                if (fault := self._schedule.next_fault()) is not None:
                    name, how = fault
                    await self._world.exchange.inflict(name, **how)
                if self._schedule.strikes(_STALL_SHARE):
                    await self._world.exchange.call("stall", seconds=_STALL_S)
                await asyncio.sleep(1 / self._outcome.plan.rate_per_s)
            if ending.done():
                ending.result()
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    async def _become_quiet(self) -> None:
        """What is wrong when nothing gets better any more is of this quiet point."""
        await self._world.exchange.call("clear-faults")
        await self._until_nothing_is_open("undecided")
        await self._control("pause")
        await self._until_nothing_is_open("deferred")
        await self._world.exchange.call("crowd", asleep=True)
        await self._until_nothing_is_open("attempts", "fills")
        found = await self._settled_disagreements()
        self._outcome.quiet_points.append(tuple(found))
        self._so_far["quiet_points"] = len(self._outcome.quiet_points)
        self._so_far["disagreements"] = len(found)
        tell(f"{self._outcome.signals} signals, {self._outcome.compared} fills: {len(found)} disagreements")

    async def _go_on(self) -> None:
        await self._world.exchange.call("crowd", asleep=False)
        await self._control("resume")

    async def _control(self, action: str) -> None:
        """Of the strategies whose orders rest."""
        for strategy_id in _RESTING:
            switch = {
                "scope": f"strategy:{strategy_id}",
                "action": action,
                "reason": "quiet",
                "actor": "soak",
            }
            await self._database.execute("select public.lt_control(%s)", (Jsonb(switch),))

    async def _until_nothing_is_open(self, *kinds: str) -> None:
        """Or for as long as it gets less: what stays open is found by who compares."""
        least, deadline_s = float("inf"), float("inf")
        while monotonic() < deadline_s:
            row = (await (await self._database.execute(_OPEN.encode())).fetchall())[0]
            now_open = sum(row[kind] for kind in kinds)
            if not now_open:
                return
            if now_open < least:
                least, deadline_s = now_open, monotonic() + self._outcome.plan.patience_s
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _settled_disagreements(self) -> list[str]:
        """The markets that ended, and what the worker last saw of a wallet, may take another moment."""
        least, deadline_s = float("inf"), float("inf")
        while True:
            found = await self.disagreements()
            if not found or monotonic() > deadline_s:
                return found
            if len(found) < least:
                least, deadline_s = len(found), monotonic() + self._outcome.plan.patience_s
            await asyncio.sleep(_LOOK_EVERY_S)

    async def disagreements(self) -> list[str]:
        """On orders, fills, fees, reservations, capital and balances, by one reading of both books."""
        evidence = await Evidence.gathered(self._world)
        told = await (await self._database.execute("select * from public.lt_wallets")).fetchall()
        self._outcome.compared = len(evidence.fills)
        row = (await (await self._database.execute(_OPEN.encode())).fetchall())[0]
        still_open = [f"{number} {kind} at a quiet point" for kind, number in row.items() if number]
        apart = await balances_apart(self._world, evidence, told, DEPOSIT_USD)
        return [*still_open, *disagreements(evidence), *apart]
