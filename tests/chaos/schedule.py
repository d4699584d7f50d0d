"""What goes wrong and when, drawn from one seed: where workers die or fall asleep, and what the exchange does wrong.

Every kill point is dealt as often as every other one; a worker that did not come by its point hands it back. Where
every point has to be struck so often, those that are short of it come first.
"""

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.execution.steps import Moment
from worker.sandbox.exchange.fault_catalogue import FaultName

SUBMIT_TIMEOUT_S = 1.5
HIDDEN_S = 1.0

# Every step of the money path and of the ways onto it, back onto it and off it; how often it may pass first.
STEPS: Mapping[str, int] = {
    "ledger.claim": 4,
    "exchange.prepare": 4,
    "exchange.submit": 4,
    "ledger.record": 6,
    "ledger.decide": 2,
    "ledger.make_due": 1,
    "exchange.lookup": 3,
    "exchange.fills": 2,
    "exchange.open_orders": 1,
    "ledger.lease": 1,
    "ledger.leases": 8,
    "ledger.open_attempts": 6,
    "ledger.work": 4,
    "ledger.strategies": 2,
    "ledger.wallets_seen": 4,
    "exchange.balance": 4,
    "exchange.market": 3,
    "exchange.book": 2,
    "ledger.signal": 4,
    "ledger.capital": 3,
    "ledger.holdings": 2,
    "ledger.foreign_orders": 1,
    "ledger.allow_resend": 2,
    "exchange.cancel": 1,
    "ledger.remainders": 4,
    "ledger.resting": 3,
    "ledger.call_off": 1,
    "ledger.unsettled_markets": 3,
    "exchange.endings": 3,
    "ledger.settle_market": 2,
    "ledger.release": 1,
}
# Taken by a worker that is told to stop, and by no other.
AT_A_STOP = frozenset({"ledger.release"})


class Blow(StrEnum):
    KILL = "kill"  # SIGKILL to itself
    PAUSE = "pause"  # SIGSTOP to itself: whoever started it lets it go on, once its lease is over


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the path: just before a step crosses to the outside, or just after its answer came."""

    step: str
    moment: Moment

    def __str__(self) -> str:
        return f"{self.step} {self.moment}"


POINTS = tuple(Point(step, moment) for step in STEPS for moment in Moment)
# Asleep between the claim and the POST, or with an answer that nobody has written down.
PAUSE_POINTS = (
    Point("ledger.claim", Moment.AFTER),
    Point("exchange.submit", Moment.BEFORE),
    Point("exchange.submit", Moment.AFTER),
    Point("exchange.lookup", Moment.AFTER),
)


@dataclass(frozen=True, slots=True)
class Misfortune:
    """What happens to one life of a worker: at a point, when it comes by for the nth time."""

    point: Point
    nth: int
    blow: Blow = Blow.KILL


# What a wallet trades on after. Those that stop it until a human has looked (another id, 401, 403) stay out:
# nothing would be left to judge.
FAULTS: Mapping[FaultName, Mapping[str, Any]] = {
    FaultName.DROP_BEFORE: {},
    FaultName.DROP_AFTER: {},
    FaultName.ANSWER_LATE: {"seconds": SUBMIT_TIMEOUT_S + 0.5},
    FaultName.PROCESS_LATE: {"seconds": SUBMIT_TIMEOUT_S + 1.0},
    FaultName.HANG_BEFORE: {},
    FaultName.HANG_AFTER: {},
    FaultName.ORDER_TIMED_OUT: {},
    FaultName.NO_EXECUTION_BEFORE: {},
    FaultName.NO_EXECUTION_AFTER: {},
    FaultName.BAD_GATEWAY_BEFORE: {},
    FaultName.BAD_GATEWAY_AFTER: {},
    FaultName.GATEWAY_TIMEOUT_BEFORE: {},
    FaultName.GATEWAY_TIMEOUT_AFTER: {},
    FaultName.RATE_LIMITED: {},
    FaultName.TOO_MANY_BEFORE: {},
    FaultName.TOO_MANY_AFTER: {},
    FaultName.RESTARTING: {},
    FaultName.POST_ONLY: {},
    FaultName.CANCEL_ONLY: {},
    FaultName.NUMERIC_AMOUNTS: {},
    FaultName.NULL_ARRAYS: {},
    FaultName.MISSING_FIELDS: {},
    FaultName.UNKNOWN_STATUS: {},
    FaultName.NOT_JSON: {},
    FaultName.SUCCESS_WITH_ERROR: {},
    FaultName.UNMATCHED: {},
    FaultName.LIVE_FAK: {},
    FaultName.DELAYED: {},
    FaultName.SLOW_TO_APPEAR: {"seconds": HIDDEN_S},
    FaultName.SLOW_TRADES: {"seconds": HIDDEN_S},
    FaultName.DROPPED_AND_SLOW: {"seconds": HIDDEN_S},
    FaultName.LOOKUP_NOT_FOUND: {},
    FaultName.LOOKUP_NULL: {},
    FaultName.LOOKUP_NO_TRADES: {},
    FaultName.LOOKUP_SERVER_ERROR: {},
    FaultName.LOOKUP_DROPPED: {},
}
# Steps that few orders come by: what the exchange does to bring one there. It does so again and again for as long as a
# worker lives that is to die there: the order may be another worker's, or may trade before anybody looks.
_LEADS_TO: Mapping[str, FaultName] = {
    "exchange.cancel": FaultName.LIVE_FAK,
    "ledger.allow_resend": FaultName.ORDER_TIMED_OUT,
    "ledger.make_due": FaultName.ORDER_TIMED_OUT,  # it shuts a door, and the next order opens it
}
# And those that need orders that rest: signals at a price that nobody offers.
_RESTING_LEADS_TO = frozenset({"exchange.open_orders", "ledger.call_off"})
_FAULT_SHARE = 0.4  # of the signals come with a fault ...
_LEADING_SHARE = (
    0.7  # ... and of those in the life of a worker that a fault, or such a price, shall lead to its end
)
_WAITING_MOST = 8
_PAUSE_EVERY = 12  # lives


def least_struck(struck: Mapping[Point, int], dealt: Mapping[Point, int], *, each: int) -> list[Point]:
    """Where the next one is to die. `dealt`: to those who live; `each`: so often every point has to be struck."""
    candidates = short_of(struck, each) or POINTS
    counts = {point: struck.get(point, 0) + dealt.get(point, 0) for point in candidates}
    least = min(counts.values())
    return [point for point, count in counts.items() if count == least]


def short_of(struck: Mapping[Point, int], each: int) -> list[Point]:
    """Points that were not struck so often."""
    return [point for point in POINTS if struck.get(point, 0) < each]


class Schedule:
    """One run's misfortunes, in order of asking. `faults`: which of `FAULTS` may strike; `each`: see `least_struck`."""

    def __init__(self, seed: int, faults: Sequence[FaultName] = tuple(FAULTS), *, each: int = 0) -> None:
        self._source = random.Random(seed)
        self._dealt_faults = list(faults)
        self._each = each
        self._struck: Counter[Point] = Counter()
        self._dealt: Counter[Point] = Counter()  # to those who live
        self._missed: set[Point] = set()
        self._faults: deque[FaultName] = deque()
        self._leading: list[FaultName] = []  # to the points of those who live
        self._lives = 0

    def next_life(self) -> Misfortune:
        self._lives += 1
        if self._lives % _PAUSE_EVERY == 0:
            return Misfortune(self._source.choice(PAUSE_POINTS), 1, Blow.PAUSE)
        point = self._source.choice(least_struck(self._struck, self._dealt, each=self._each))
        self._dealt[point] += 1
        nth = 1 if point in self._missed else self._source.randint(1, STEPS[point.step])
        self._missed.discard(point)
        if (fault := _LEADS_TO.get(point.step)) in self._dealt_faults:
            self._leading.append(fault)
        return Misfortune(point, nth)

    def life_ended(self, misfortune: Misfortune, *, met: Point | None) -> None:
        """`met`: where it was struck dead. If it never came by its own point, another one shall, at the first pass."""
        if (fault := _LEADS_TO.get(misfortune.point.step)) in self._leading:
            self._leading.remove(fault)
        if misfortune.blow is Blow.KILL:
            self._dealt[misfortune.point] -= 1
            if met != misfortune.point:
                self._missed.add(misfortune.point)
        if met is not None:
            self._struck[met] += 1

    @property
    def short(self) -> Mapping[Point, int]:
        """Points that have to be struck still, and how often."""
        return {point: self._each - self._struck[point] for point in short_of(self._struck, self._each)}

    def next_fault(self, *, waiting: int = 0) -> tuple[FaultName, Mapping[str, Any]] | None:
        """What the exchange does with the next order, and how; None: nothing.

        `waiting`: faults that nobody came by yet. Where they are many, none is added to lead somewhere: the orders to
        come would be struck all by the same one, long after it was of use.
        """
        if self._leading and waiting < _WAITING_MOST and self.strikes(_LEADING_SHARE):
            name = self._source.choice(self._leading)
        elif self.strikes(_FAULT_SHARE):
            if not self._faults:
                self._faults.extend(self._source.sample(self._dealt_faults, len(self._dealt_faults)))
            name = self._faults.popleft()
        else:
            return None
        return name, FAULTS[name]

    def next_is_out_of_reach(self) -> bool:
        """Whether the next signal is at a price that nobody offers."""
        wanted = any(self._dealt[point] for point in POINTS if point.step in _RESTING_LEADS_TO)
        return wanted and self.strikes(_LEADING_SHARE)

    @property
    def wants_quiet(self) -> bool:
        """Whether the market should stand still, lest it trades what is to be called off."""
        return FaultName.LIVE_FAK in self._leading

    def strikes(self, probability: float) -> bool:
        return self._source.random() < probability
