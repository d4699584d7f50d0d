"""What came of a chaos run, judged by the exchange's journal and books and by SQL, never by a worker's memory.

A pair (strategy, signal) that was decided `executed` has attempts, one after the other, for what those before it left.
Each of them is *expected* to be an accepted order, unless the exchange itself bears witness that there can be none
(`Excuse`). No two of a pair may live at the same time, nor all of them together trade more than the first was for.
Everything else that may be wrong is a count that has to be nought.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from tests.chaos.evidence import Evidence, Pair, Row
from tests.chaos.positions import ON_THE_BOOK, gain_usd, positions
from tests.chaos.untraded import Staged, wrongly_untraded
from worker.orders.lifecycle import ALIVE, AttemptState, FillState
from worker.sandbox.exchange.journal import ACCEPTED
from worker.sandbox.exchange.refusals import FAK_NO_MATCH, FOK_NOT_FILLED
from worker.sandbox.report import lived_at_once
from worker.sandbox.world import World

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
_DUST = Decimal("0.01")
_CENT = Decimal("0.01")
_GIVEN_UP_MOST = 0.1  # of the attempts may be abandoned or lost, however good the reasons
_TURNED_DOWN_MOST = 0.3  # of them may be killed or refused: 2 to 16 % were, of runs without a bug


class Excuse(StrEnum):
    """Why an attempt rightly is no accepted order. The exchange's journal has to bear every one of them out."""

    KILLED = "killed"  # it took the order in, found no match, and the attempt says so
    REFUSED = "refused"  # it answered with another refusal, and the attempt says so
    ABANDONED = "abandoned"  # it never processed a POST of it, and the worker proved that it need not
    LOST = "lost"  # it accepted none of the sends; no further one was allowed


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the workers and of the world that an excuse is measured by."""

    sends_most: int
    fresh_for_s: float
    bet_usd: Decimal


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
    doubled = list(duplicates(evidence))
    excused, unexcused = await _missing(world, evidence, limits)
    fills = list(_fill_differences(evidence))
    in_flux = list(_in_flux(evidence))
    capital = list(_capital_differences(evidence))
    total = evidence.equation
    missed = total["undecided"] + abs(
        total["seen"] - total["executed"] - total["skipped"] - total["deferred"] - total["undecided"]
    )
    untraded = list(wrongly_untraded(evidence, Staged(limits.bet_usd, limits.fresh_for_s)))
    missed += len(untraded)
    expected = evidence.expected
    for excuses, share in (
        ((Excuse.ABANDONED, Excuse.LOST), _GIVEN_UP_MOST),
        ((Excuse.KILLED, Excuse.REFUSED), _TURNED_DOWN_MOST),
    ):
        without = sum(excused[excuse] for excuse in excuses)
        if without > 2 + share * expected:
            missed += without
            unexcused.append(f"{without} of {expected} attempts were {' or '.join(excuses)}: too many")
    return Verdict(
        accepted_orders=len(evidence.accepted),
        expected_orders=expected - sum(excused.values()),
        duplicates=len(doubled),
        missed=missed,
        fill_mismatch=len(fills),
        unknown_left=len(in_flux),
        capital_mismatch=len(capital),
        complaints=(*doubled, *unexcused, *untraded, *fills, *in_flux, *capital),
        excused=excused,
    )


def disagreements(evidence: Evidence) -> list[str]:
    """One line for everything on which the exchange's journal and books and the database do not agree, or not yet."""
    return [
        *duplicates(evidence),
        *_fill_differences(evidence),
        *_in_flux(evidence),
        *_capital_differences(evidence),
    ]


def _in_flux(evidence: Evidence) -> Iterable[str]:
    for row in evidence.attempts:
        if row["state"] in _IN_FLUX:
            yield f"order {_short(row)} is still {row['state']}"


def _capital_differences(evidence: Evidence) -> Iterable[str]:
    yield from _kept_reservations(evidence)
    yield from _money_differences(evidence)
    yield from _unlike_their_markets(evidence)


def _short(row: Row) -> str:
    return f"{row['exchange_order_id'][:12]} ({row['strategy_id']})"


# --- once ---------------------------------------------------------------------------------------------------------


def duplicates(evidence: Evidence) -> Iterable[str]:
    """Accepted orders that no attempt knows, those of a pair that lived at the same time, and what traded too much."""
    known = {row["exchange_order_id"] for row in evidence.attempts}
    for order_id in evidence.accepted - known:
        yield f"order {order_id[:12]} was accepted and no attempt knows of it"
    for pair, attempts in evidence.of_pairs.items():
        orders = [
            order
            for row in attempts
            if row["exchange_order_id"] in evidence.accepted
            and (order := evidence.orders.get(row["exchange_order_id"])) is not None
        ]
        for one, other in lived_at_once(orders):
            yield f"orders {one[:12]} and {other[:12]} of pair {pair} lived at the same time"
        yield from _beyond_its_target(evidence, pair, attempts)


def _beyond_its_target(evidence: Evidence, pair: Pair, attempts: Sequence[Row]) -> Iterable[str]:
    """Dollars of a FAK or FOK BUY, else shares, as the exchange traded them. What it never took in was for nothing."""
    taken = [row for row in attempts if row["state"] not in {AttemptState.REJECTED, AttemptState.ABANDONED}]
    if not taken:
        return
    in_dollars = taken[0]["amount_usd"] is not None
    target = taken[0]["amount_usd"] if in_dollars else taken[0]["target_shares"]
    traded = sum(
        (
            Decimal(fill["shares"]) * (Decimal(fill["price"]) if in_dollars else 1)
            for row in attempts
            if (order := evidence.orders.get(row["exchange_order_id"])) is not None
            for fill in order["fills"]
            if fill["status"] != "FAILED"
        ),
        Decimal(0),
    )
    if traded > target + _DUST:
        yield f"pair {pair} traded {traded:f} of {target:f} {'USD' if in_dollars else 'shares'}"


async def _missing(world: World, evidence: Evidence, limits: Limits) -> tuple[Counter[Excuse], list[str]]:
    """Attempts that are no accepted order: those with an excuse, and those without one."""
    excused: Counter[Excuse] = Counter()
    unexcused: list[str] = []
    for pair, attempts in evidence.of_pairs.items():
        if not attempts:
            unexcused.append(f"pair {pair} is executed, but nothing was sent")
        for row in attempts:
            if row["exchange_order_id"] in evidence.accepted:
                continue
            excuse = await _excuse(world, row, limits)
            if excuse is None:
                unexcused.append(
                    f"order {_short(row)} of pair {pair} is {row['state']}, but was not accepted"
                )
            else:
                excused[excuse] += 1
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
            or attempt["is_outlived"]  # its trader had sold, or its signal was over
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


def _money_differences(evidence: Evidence) -> Iterable[str]:
    """What each strategy has locked and what it has made, computed again from the exchange's trades, book and ends."""
    locked: defaultdict[str, Decimal] = defaultdict(Decimal)
    realised: defaultdict[str, Decimal] = defaultdict(Decimal)
    for (strategy_id, token_id), held in positions(
        evidence.attempts, evidence.orders, evidence.fills
    ).items():
        payout = evidence.payouts.get(token_id)
        locked[strategy_id] += held.locked_usd if payout is None else 0
        realised[strategy_id] += held.realised_usd(payout)
        least, most = held.cost_range
        if not least - _CENTICENT <= held.sold_cost_usd <= most + _CENTICENT:
            yield (
                f"{strategy_id} sold {held.sold_shares} of {token_id[:8]}, said to have cost {held.sold_cost_usd} USD: "
                f"they cost {least} to {most}"
            )
    for word, said, computed in (
        ("locked", evidence.locked_usd, locked),
        ("realised", evidence.realised_usd, realised),
    ):
        for strategy_id, usd in sorted(said.items()):
            if abs(usd - computed[strategy_id]) > _CENTICENT:
                yield f"{strategy_id} has {usd} USD {word}, the exchange's books say {computed[strategy_id]}"


def _unlike_their_markets(evidence: Evidence) -> Iterable[str]:
    """Orders that are won or lost where their market says something else, or nothing."""
    made: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in evidence.attempts:
        if (payout := evidence.payouts.get(row["token_id"])) is not None:
            order = evidence.orders.get(row["exchange_order_id"])
            made[row["lt_order_id"]] += gain_usd(row["side"], order, payout)
    for row in evidence.outcomes:
        payout = evidence.payouts.get(row["token_id"])
        rightly = _word(payout, made[row["lt_order_id"]])
        if row["outcome"] != rightly:
            yield f"order {row['lt_order_id']} ({row['strategy_id']}) is {row['outcome']}, its market says {rightly}"


def _word(payout: Decimal | None, made_usd: Decimal) -> str:
    """Of a market that nobody won it is whether the order lost money, in cents."""
    if payout is None:
        return "OPEN"
    kept = made_usd.quantize(_CENT, ROUND_HALF_UP) >= 0 if 0 < payout < 1 else payout == 1
    return "WON" if kept else "LOST"
