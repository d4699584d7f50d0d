"""What came of a run, judged by the database and by the exchange's journal, never by the worker's memory."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
from psycopg.rows import dict_row

from worker.sandbox.exchange.journal import ACCEPTED
from worker.sandbox.world import World

_PAIRS = """
select a.exchange_order_id, a.strategy_id, a.ft_order_id, a.state, a.attempt_no, coalesce(d.tries > 1, false) as put_off,
       pg_xact_commit_timestamp(f.xmin) as committed_at,
       a.answer -> 'timing' ->> 'own_ms' as own_ms
from public.lt_order_attempts a join public.ft_orders f on f.order_id = a.ft_order_id
left join public.lt_decisions d on d.strategy_id = a.strategy_id and d.ft_order_id = a.ft_order_id and d.mode = a.mode
"""
_ORDERS = """
select status, signal_size_usd, coalesce(fill_rate, 0) as fill_rate from public.lt_orders
"""
_REASONS = """
select reason, count(*) as number from public.lt_decisions where state = 'skipped' group by reason order by 2 desc, 1
"""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In milliseconds, of so many; None where there was nothing to measure."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, samples: Iterable[float]) -> "Percentiles":
        ordered = sorted(samples)
        if not ordered:
            return cls(0, None, None, None, None)

        def at(share: float) -> float:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

        return cls(len(ordered), at(0.50), at(0.95), at(0.99), round(ordered[-1], 2))


@dataclass(frozen=True, slots=True)
class FillRate:
    """Shares of what was ordered: by orders filled whole, and by dollars."""

    by_count: Decimal | None
    by_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Latency:
    """`commit_to_wire`: commit of the signal's row to receipt of its first order; `own_time`: the worker's part of it.

    What was put off first, such as a sale until its shares are there, is told apart (`commit_to_wire_late`), as `audit`
    does: its times are those of what it waited for.
    """

    commit_to_wire: Percentiles
    commit_to_wire_late: Percentiles
    own_time: Percentiles


@dataclass(frozen=True, slots=True)
class Report:
    signals: int
    decisions: int
    executed: int
    skipped: int
    skip_reasons: Mapping[str, int]
    deferred: int
    undecided: int
    missed: int
    duplicates: int
    filled: int
    fill_rate: FillRate
    orders_per_signal: Decimal | None
    latency_ms: Latency
    interrupted: bool = False

    @property
    def broken(self) -> bool:
        """Whether a promise was. That an interrupt left something undecided breaks none."""
        return bool(self.duplicates or ((self.missed or self.undecided) and not self.interrupted))

    def as_json(self) -> dict[str, Any]:
        """Shares, ratios and milliseconds as texts with their digits, as every command prints them."""
        return {name: _texts(value) for name, value in asdict(self).items()}


async def report_on(world: World, *, interrupted: bool = False) -> Report:
    """Count everything that there is now. `interrupted`: before all that was begun came to its end."""
    async with await psycopg.AsyncConnection.connect(
        world.supabase.dsn, autocommit=True, row_factory=dict_row
    ) as database:
        signals = (await _rows(database, "select count(*) as number from public.ft_orders"))[0]["number"]
        total = (
            await _rows(database, "select public.lt_equation('{\"mode\": \"live\"}') -> 'total' as total")
        )[0]["total"]
        reasons = {row["reason"]: row["number"] for row in await _rows(database, _REASONS)}
        pairs = await _rows(database, _PAIRS)
        orders = await _rows(database, _ORDERS)
    arrivals, accepted = await journal_of(world)
    return Report(
        signals=signals,
        decisions=total["executed"] + total["skipped"] + total["deferred"],
        executed=total["executed"],
        skipped=total["skipped"],
        skip_reasons=reasons,
        deferred=total["deferred"],
        undecided=total["undecided"],
        missed=total["missed"],
        duplicates=duplicates_among(pairs, accepted, await orders_of(world)),
        filled=sum(order["status"] == "FILLED" for order in orders),
        fill_rate=_fill_rate(orders),
        orders_per_signal=round(Decimal(len(pairs)) / signals, 3) if signals else None,
        latency_ms=latency_of(pairs, arrivals),
        interrupted=interrupted,
    )


def latency_of(attempts: Iterable[Mapping[str, Any]], arrivals: Mapping[str, float]) -> Latency:
    """`arrivals`: of the exchange's journal, by order id. A further attempt was due when the market moved, not before."""
    wire: dict[bool, list[float]] = {False: [], True: []}
    own: list[float] = []
    for one in attempts:
        arrived_ms = arrivals.get(one["exchange_order_id"])
        if arrived_ms is not None and one["attempt_no"] == 1:
            wire[one["put_off"]].append(arrived_ms - _ms(one["committed_at"]))
        if one["own_ms"]:
            own.append(float(one["own_ms"]))
    return Latency(Percentiles.of(wire[False]), Percentiles.of(wire[True]), Percentiles.of(own))


async def _rows(database: psycopg.AsyncConnection[dict[str, Any]], query: str) -> list[dict[str, Any]]:
    return await (await database.execute(query.encode())).fetchall()


async def orders_of(world: World) -> dict[str, Mapping[str, Any]]:
    """The exchange's orders by id."""
    return {order["id"]: order for order in await world.exchange.read("orders")}


async def journal_of(world: World) -> tuple[dict[str, float], list[str]]:
    """First arrival of every order id, in Unix milliseconds, and the ids that the exchange accepted."""
    arrivals: dict[str, float] = {}
    accepted: dict[str, None] = {}
    after = -1
    while receipts := await world.exchange.read("journal", after=after):
        for receipt in receipts:
            after = receipt["sequence"]
            for order_id, outcome in zip(receipt["order_ids"], receipt["outcomes"], strict=True):
                if order_id is None:
                    continue
                arrivals.setdefault(order_id, receipt["arrived_ns"] / 1e6)
                if outcome in ACCEPTED:
                    accepted[order_id] = None
    return arrivals, list(accepted)


def duplicates_among(
    attempts: Sequence[Mapping[str, Any]], accepted: Iterable[str], orders: Mapping[str, Mapping[str, Any]]
) -> int:
    """Accepted orders that no attempt knows, and orders of a pair that lived while another one of it did.

    `orders`: the exchange's own, by id. A further attempt that follows one that has ended is none.
    """
    taken_in = set(accepted)
    pair_of = {one["exchange_order_id"]: (one["strategy_id"], one["ft_order_id"]) for one in attempts}
    of_pairs: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for order_id in taken_in & pair_of.keys() & orders.keys():
        of_pairs[pair_of[order_id]].append(orders[order_id])
    return len(taken_in - pair_of.keys()) + sum(len(lived_at_once(one)) for one in of_pairs.values())


def lived_at_once(orders: Iterable[Mapping[str, Any]]) -> Sequence[tuple[str, str]]:
    """Ids of the exchange's orders that were there when the next one came, and of that one."""
    lives = sorted((order["born_ns"], order["ended_ns"], order["id"]) for order in orders)
    return [
        (one, other)
        for (_, ended_ns, one), (born_ns, _, other) in pairwise(lives)
        if ended_ns is None or ended_ns > born_ns
    ]


def _fill_rate(orders: Sequence[Mapping[str, Any]]) -> FillRate:
    ordered_usd = sum((order["signal_size_usd"] for order in orders), Decimal(0))
    if not ordered_usd:
        return FillRate(None, None)
    filled_usd = sum((order["signal_size_usd"] * order["fill_rate"] for order in orders), Decimal(0))
    whole = sum(order["status"] == "FILLED" for order in orders)
    return FillRate(round(Decimal(whole) / len(orders), 4), round(filled_usd / ordered_usd, 4))


def _texts(value: Any) -> Any:
    match value:
        case float() | Decimal():
            return str(value)
        case Mapping():
            return {name: _texts(inner) for name, inner in value.items()}
    return value


def _ms(moment: datetime) -> float:
    return moment.timestamp() * 1000
