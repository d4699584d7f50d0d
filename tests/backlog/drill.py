"""A start over a long backlog: thousands of undecided rows, some of which fail whenever they are tried.

A strategy is switched on over them, the production worker is started, and while it works the backlog off, signals of
now come in. Everything is judged by the database and by the exchange's journal.
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from time import monotonic
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.support.eventually import eventually
from tests.support.tool import SoFar
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, World

FOLLOWERS = (Follower("LT_BACKLOG", "FT_BACKLOG", 0, "FAK", Decimal(5)),)
_STRATEGY = FOLLOWERS[0].strategy_id
_POISONED, _SOUND = 0, 1  # markets
_LOOK_EVERY_S = 0.1
_OLDEST = timedelta(hours=23)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    rows: int
    poison: int
    fresh: int = 10
    fresh_every_s: float = 1.0
    patience_s: float = 900.0
    settings: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`wire_s`: from the commit of each fresh signal to its order's arrival at the exchange, slowest last."""

    rows: int
    poison: int
    ready_s: float
    wire_s: tuple[float, ...]
    fresh_before_the_end: bool
    backlog_s: float
    decided: Mapping[str, int]
    poisoned_deferred: int
    undecided: int
    missed: int
    orders: int
    accepted: int

    def as_json(self) -> Row:
        return asdict(self)


class Drill:
    def __init__(
        self, world: World, database: psycopg.AsyncConnection[Row], plan: Plan, so_far: SoFar
    ) -> None:
        self._so_far = so_far
        self._world = world
        self._database = database
        self._plan = plan

    async def run(self) -> Outcome:
        await self._world.exchange.call("crowd", asleep=True)
        trades = [await self._trade(market) for market in (_POISONED, _SOUND)]
        await self._hang(trades[_POISONED])
        await self._fill(trades)
        self._so_far["rows"] = self._plan.rows
        began_s = monotonic()
        settings = {**self._world.worker_environment(), **(self._plan.settings or {})}
        async with WorkerProcess.start(settings, "--live"):
            ready_s = monotonic() - began_s
            self._so_far["ready_s"] = round(ready_s, 2)
            fresh = await self._insert_fresh(trades[_SOUND])
            await self._until_all_are_decided()
            return await self._judge(fresh, ready_s, monotonic() - began_s)

    async def _trade(self, market: int) -> Trade:
        listed = (await self._world.exchange.read("markets"))[market]
        book = await self._world.exchange.book(listed["tokens"][0])
        price = min(Decimal(level["price"]) for level in book["asks"])
        return Trade(listed["condition"], listed["outcomes"][0], "BUY", price, listed["question"])

    async def _hang(self, trade: Trade) -> None:
        """Whoever asks for this market waits until he gives up, for as long as the world lasts."""
        await self._world.exchange.call(
            "fault",
            action="hang_before",
            method="GET",
            path=f"/clob-markets/{trade.condition}",
            times=None,
        )

    async def _fill(self, trades: list[Trade]) -> None:
        """The backlog, spread over a day; the rows that fail are spread over it evenly."""
        step = max(self._plan.rows // max(self._plan.poison, 1), 1)
        rows = [
            signal_row(
                trades[_POISONED if self._is_poison(number, step) else _SOUND],
                ft_wallet_id=FOLLOWERS[0].ft_wallet_id,
                size_usd=Decimal(5),
            )
            | {"age": _OLDEST * ((number + 1) / self._plan.rows)}
            for number in range(self._plan.rows)
        ]
        columns = [name for name in rows[0] if name != "age"]
        statement = (
            f"insert into public.ft_orders ({', '.join(columns)}, created_at) "  # noqa: S608 - our own names
            f"values ({', '.join(f'%({name})s' for name in columns)}, now() - %(age)s)"
        )
        async with self._database.cursor() as cursor:
            await cursor.executemany(statement.encode(), rows)

    def _is_poison(self, number: int, step: int) -> bool:
        return number % step == 0 and number // step < self._plan.poison

    async def _insert_fresh(self, trade: Trade) -> dict[str, int]:
        """Signals of now, one after the other: id -> when each was committed, in nanoseconds."""
        committed: dict[str, int] = {}
        for _ in range(self._plan.fresh):
            row = signal_row(trade, ft_wallet_id=FOLLOWERS[0].ft_wallet_id, size_usd=Decimal(5))
            columns = ", ".join(row)
            values = ", ".join(f"%({name})s" for name in row)
            statement = f"insert into public.ft_orders ({columns}) values ({values})"  # noqa: S608 - our own names
            await self._database.execute(statement.encode(), row)
            (told,) = await self._rows("select (extract(epoch from clock_timestamp()) * 1e9)::bigint as ns")
            committed[row["order_id"]] = told["ns"]
            self._so_far["fresh"] = len(committed)
            await asyncio.sleep(self._plan.fresh_every_s)
        return committed

    async def _until_all_are_decided(self) -> None:
        async def none_is_left() -> bool:
            undecided = (await self._equation())["undecided"]
            self._so_far["undecided"] = undecided
            return undecided == 0

        await eventually(none_is_left, within_s=self._plan.patience_s, every_s=_LOOK_EVERY_S)

    async def _judge(self, fresh: Mapping[str, int], ready_s: float, backlog_s: float) -> Outcome:
        decisions = await self._rows(
            "select state, reason, count(*) as pairs from public.lt_decisions "
            "where strategy_id = %s group by state, reason",
            _STRATEGY,
        )
        (last,) = await self._rows(
            "select max(d.decided_at) filter (where not fresh) as backlog, max(d.decided_at) filter (where fresh) as fresh "
            "from (select *, ft_order_id = any(%s) as fresh from public.lt_decisions) d",
            [uuid.UUID(one) for one in fresh],
        )
        equation = await self._equation()
        (orders,) = await self._rows("select count(*) as orders from public.lt_orders")
        return Outcome(
            rows=self._plan.rows,
            poison=self._plan.poison,
            ready_s=round(ready_s, 2),
            wire_s=tuple(sorted(await self._on_the_wire(fresh))),
            fresh_before_the_end=last["fresh"] < last["backlog"],
            backlog_s=round(backlog_s, 1),
            decided={f"{row['state']}:{row['reason']}": row["pairs"] for row in decisions},
            poisoned_deferred=sum(
                row["pairs"] for row in decisions if row["reason"] == "exchange_unreachable"
            ),
            undecided=equation["undecided"],
            missed=equation["missed"],
            orders=orders["orders"],
            accepted=len(await self._world.exchange.read("accepted")),
        )

    async def _on_the_wire(self, fresh: Mapping[str, int]) -> list[float]:
        """Seconds from each commit to the arrival of its order, by the exchange's journal; of the first order alone,
        where one that found the book eaten up by the backlog is taken again.
        """
        attempts = await self._rows(
            "select ft_order_id, exchange_order_id from public.lt_order_attempts "
            "where attempt_no = 1 and ft_order_id = any(%s)",
            [uuid.UUID(one) for one in fresh],
        )
        arrived = await self._world.exchange.read("arrivals")
        return [
            round((arrived[row["exchange_order_id"]] - fresh[str(row["ft_order_id"])]) / 1e9, 3)
            for row in attempts
            if row["exchange_order_id"] in arrived
        ]

    async def _equation(self) -> dict[str, int]:
        (row,) = await self._rows('select public.lt_equation(\'{"mode": "live"}\') as said')
        return dict(row["said"]["total"])

    async def _rows(self, query: str, *values: object) -> list[Row]:
        return await (await self._database.execute(query.encode(), values)).fetchall()


async def drill(world: World, plan: Plan, so_far: SoFar | None = None) -> Outcome:
    """`so_far` is told what has been done."""
    async with await psycopg.AsyncConnection.connect(
        world.supabase.dsn, autocommit=True, row_factory=dict_row
    ) as database:
        return await Drill(world, database, plan, {} if so_far is None else so_far).run()
