"""What came of a chaos run, judged by the exchange's journal and books and by SQL, never by a worker's memory.

A pair (strategy, signal) that was decided `executed` is *expected* to have exactly one accepted order, unless
the exchange itself bears witness that there can be none (`Excuse`). Everything else that may be wrong is a count
that has to be nought.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.chaos.positions import ON_THE_BOOK, positions
from worker.orders.lifecycle import ALIVE, AttemptState, FillState
from worker.sandbox.exchange.journal import ACCEPTED
from worker.sandbox.exchange.refusals import FAK_NO_MATCH, FOK_NOT_FILLED
from worker.sandbox.world import World

Row = Mapping[str, Any]
Pair = tuple[str, str]

_ATTEMPTS = """
select a.exchange_order_id, a.strategy_id, a.ft_order_id::text, a.state, a.side, a.order_type, a.token_id,
       a.reserve_usd, a.closed_at, a.barred, a.sends, a.note, t.reserved_usd, t.reserved_shares,
       extract(epoch from a.state_changed_at - f.created_at)::float8 as ended_after_s
from public.lt_order_attempts a
join public.lt_attempt_totals t using (exchange_order_id)
join public.ft_orders f on f.order_id = a.ft_order_id
where a.mode = 'live'
"""
_EXECUTED = """
select strategy_id, ft_order_id::text from public.lt_decisions where mode = 'live' and state = 'executed'
"""
_FILLS = """
select exchange_order_id, trade_id, role, side, price, shares, fee_usd, cost_usd, state from public.lt_fills
"""
_LOCKED = "select strategy_id, locked_usd from public.lt_capital_now where mode = 'live'"
_EQUATION = "select public.lt_equation('{\"mode\": \"live\"}') -> 'total' as total"

_DEAD = frozenset(
    {
        AttemptState.KILLED,
        AttemptState.REJECTED,
        AttemptState.ABANDONED,
        AttemptState.LOST,
        AttemptState.EXPIRED,
    }
)
_SETTLED = {"CONFIRMED": FillState.FINAL, "FAILED": FillState.REVERSED}
_IN_FLUX = ALIVE - {AttemptState.LIVE, AttemptState.UNMATCHED}
_CENTICENT = Decimal("0.0001")
_GIVEN_UP_MOST = 0.1  # of the executed pairs may be abandoned or lost, however good the reasons


class Excuse(StrEnum):
    """Why an executed pair rightly has no accepted order. The exchange's journal has to bear every one of them out."""

    KILLED = "killed"  # it took the order in, found no match, and the attempt says so
    REFUSED = "refused"  # it answered with another refusal, and the attempt says so
    ABANDONED = "abandoned"  # it never processed a POST of it, and the worker proved that it need not
    LOST = "lost"  # it accepted none of the sends; no further one was allowed


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the workers that an excuse is measured by."""

    sends_most: int
    fresh_for_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted_orders: int
    expected_orders: int
    duplicates: int
    missed: int
    fill_mismatch: int
    unknown_left: int
    capital_mismatch: int
    complaints: tuple[str, ...]  # one line for each thing that is wrong
    excused: Mapping[Excuse, int]

    @property
    def wrong(self) -> int:
        """How much there is to mend: the five together, and the orders too few or too many."""
        return (
            self.duplicates
            + self.missed
            + self.fill_mismatch
            + self.unknown_left
            + self.capital_mismatch
            + abs(self.expected_orders - self.accepted_orders)
        )

    @property
    def holds(self) -> bool:
        """The five are nought, every expected order was accepted, and there was something to judge."""
        return self.wrong == 0 and self.accepted_orders > 0

    @property
    def beyond_repair(self) -> bool:
        """Time heals the rest."""
        return self.duplicates > 0


async def judge(world: World, limits: Limits) -> Verdict:
    """Reads both books once. While workers and the market move on, a difference may be a matter of moments."""
    evidence = await Evidence.gathered(world)
    duplicates = list(_duplicates(evidence))
    excused, unexcused = await _missing(world, evidence, limits)
    fills = list(_fill_differences(evidence))
    in_flux = [
        f"order {_short(row)} is still {row['state']}"
        for row in evidence.attempts
        if row["state"] in _IN_FLUX
    ]
    capital = [*_kept_reservations(evidence), *_locked_differences(evidence)]
    total = evidence.equation
    missed = total["undecided"] + abs(
        total["seen"] - total["executed"] - total["skipped"] - total["deferred"] - total["undecided"]
    )
    given_up = excused[Excuse.ABANDONED] + excused[Excuse.LOST]
    if given_up > 2 + _GIVEN_UP_MOST * len(evidence.executed):
        missed += given_up
        unexcused.append(f"{given_up} of {len(evidence.executed)} executed pairs were given up: too many")
    return Verdict(
        accepted_orders=len(evidence.accepted),
        expected_orders=len(evidence.executed) - sum(excused.values()),
        duplicates=len(duplicates),
        missed=missed,
        fill_mismatch=len(fills),
        unknown_left=len(in_flux),
        capital_mismatch=len(capital),
        complaints=(*duplicates, *unexcused, *fills, *in_flux, *capital),
        excused=excused,
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    accepted: frozenset[str]
    orders: Mapping[str, Row]  # the exchange's, by id
    attempts: Sequence[Row]
    executed: frozenset[Pair]
    fills: Sequence[Row]
    locked_usd: Mapping[str, Decimal]
    equation: Mapping[str, int]

    @classmethod
    async def gathered(cls, world: World) -> "Evidence":
        async with await psycopg.AsyncConnection.connect(
            world.supabase.dsn, autocommit=True, row_factory=dict_row
        ) as database:

            async def rows(query: str) -> list[dict[str, Any]]:
                return await (await database.execute(query.encode())).fetchall()

            accepted = frozenset(await world.exchange.read("accepted"))
            orders = {order["id"]: order for order in await world.exchange.read("orders")}
            return cls(
                accepted=accepted,
                orders=orders,
                attempts=await rows(_ATTEMPTS),
                executed=frozenset(_pair(row) for row in await rows(_EXECUTED)),
                fills=await rows(_FILLS),
                locked_usd={row["strategy_id"]: row["locked_usd"] for row in await rows(_LOCKED)},
                equation=(await rows(_EQUATION))[0]["total"],
            )


def _pair(row: Row) -> Pair:
    return row["strategy_id"], row["ft_order_id"]


def _short(row: Row) -> str:
    return f"{row['exchange_order_id'][:12]} ({row['strategy_id']})"


# --- once ---------------------------------------------------------------------------------------------------------


def _duplicates(evidence: Evidence) -> Iterable[str]:
    """Accepted orders that no attempt knows, and those of a pair beyond its first."""
    pair_of = {row["exchange_order_id"]: _pair(row) for row in evidence.attempts}
    per_pair = Counter(pair_of[order_id] for order_id in evidence.accepted if order_id in pair_of)
    for order_id in evidence.accepted - pair_of.keys():
        yield f"order {order_id[:12]} was accepted and no attempt knows of it"
    for pair, number in per_pair.items():
        for _ in range(number - 1):
            yield f"pair {pair} has {number} accepted orders"


async def _missing(world: World, evidence: Evidence, limits: Limits) -> tuple[Counter[Excuse], list[str]]:
    """Executed pairs without an accepted order: those with an excuse, and those without one."""
    attempts_of: defaultdict[Pair, list[Row]] = defaultdict(list)
    for row in evidence.attempts:
        attempts_of[_pair(row)].append(row)
    excused: Counter[Excuse] = Counter()
    unexcused: list[str] = []
    for pair in sorted(evidence.executed):
        attempts = attempts_of[pair]
        if any(row["exchange_order_id"] in evidence.accepted for row in attempts):
            continue
        excuses = [await _excuse(world, row, limits) for row in attempts]
        if not excuses or None in excuses:
            states = ", ".join(f"{row['exchange_order_id'][:12]} {row['state']}" for row in attempts)
            unexcused.append(f"pair {pair} is executed, but no order was accepted: {states or 'no attempt'}")
        else:
            excused.update(excuse for excuse in excuses[-1:] if excuse is not None)
    return excused, unexcused


async def _excuse(world: World, attempt: Row, limits: Limits) -> Excuse | None:
    order_id = attempt["exchange_order_id"]
    posts = await world.exchange.read("journal", order_id=order_id)
    outcomes = {
        outcome
        for post in posts
        for one, outcome in zip(post["order_ids"], post["outcomes"], strict=True)
        if one in {order_id, None}
    }
    killed = outcomes & {FAK_NO_MATCH, FOK_NOT_FILLED}
    match attempt["state"]:
        case AttemptState.KILLED if killed:
            return Excuse.KILLED
        case AttemptState.REJECTED if outcomes and not outcomes & ACCEPTED:
            return Excuse.REFUSED
        case AttemptState.ABANDONED if not outcomes:
            return Excuse.ABANDONED
        case AttemptState.LOST if (
            attempt["barred"]
            or attempt["sends"] >= limits.sends_most
            or attempt["ended_after_s"] >= limits.fresh_for_s
        ):
            return Excuse.LOST
    return None


# --- fills --------------------------------------------------------------------------------------------------------


def _fill_differences(evidence: Evidence) -> Iterable[str]:
    """One line for every trade, and every order's end, on which the two books disagree."""
    ours = {
        (row["exchange_order_id"], row["trade_id"], row["role"]): (
            row["shares"],
            row["price"],
            row["fee_usd"],
            row["state"],
        )
        for row in evidence.fills
    }
    theirs = {
        (order["id"], fill["trade"], fill["role"]): (
            Decimal(fill["shares"]),
            Decimal(fill["price"]),
            Decimal(fill["fee_usd"]),
            _SETTLED.get(fill["status"], FillState.PROVISIONAL),
        )
        for order in evidence.orders.values()
        for fill in order["fills"]
    }
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            order_id, trade_id, role = key
            yield (
                f"trade {trade_id[:8]} of order {order_id[:12]} as {role}: the exchange says "
                f"{_said(theirs.get(key))}, the ledger {_said(ours.get(key))}"
            )
    for row in evidence.attempts:
        order = evidence.orders.get(row["exchange_order_id"])
        if row["exchange_order_id"] not in evidence.accepted or order is None:
            continue
        dead = row["state"] in _DEAD
        apart = (row["closed_at"] is None) is not (order["status"] in ON_THE_BOOK)
        if dead or apart:
            closed = "closed" if row["closed_at"] else "open"
            yield f"order {_short(row)} is {order['status']} and was accepted: the ledger has it {row['state']}, {closed}"


def _said(fill: tuple[Decimal, Decimal, Decimal, str] | None) -> str:
    if fill is None:
        return "nothing"
    shares, price, fee_usd, state = fill
    return f"{shares.normalize():f} at {price.normalize():f}, fee {fee_usd.normalize():f}, {state}"


# --- capital ------------------------------------------------------------------------------------------------------


def _kept_reservations(evidence: Evidence) -> Iterable[str]:
    for row in evidence.attempts:
        order = evidence.orders.get(row["exchange_order_id"])
        over = row["closed_at"] is not None or (order is not None and order["status"] not in ON_THE_BOOK)
        if over and (row["reserved_usd"] or row["reserved_shares"]):
            yield f"order {_short(row)} is over and still reserves {row['reserved_usd']} USD"


def _locked_differences(evidence: Evidence) -> Iterable[str]:
    """What each strategy has locked, computed again from the exchange's trades and from the orders on its book."""
    locked: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (strategy_id, token_id), held in positions(
        evidence.attempts, evidence.orders, evidence.fills
    ).items():
        locked[strategy_id] += held.usd - held.sold_cost_usd
        least, most = held.cost_range
        if not least - _CENTICENT <= held.sold_cost_usd <= most + _CENTICENT:
            yield (
                f"{strategy_id} sold {held.sold_shares} of {token_id[:8]}, said to have cost {held.sold_cost_usd} USD: "
                f"they cost {least} to {most}"
            )
    for strategy_id, said in sorted(evidence.locked_usd.items()):
        if abs(said - locked[strategy_id]) > _CENTICENT:
            yield f"{strategy_id} has {said} USD locked, the exchange's books say {locked[strategy_id]}"
