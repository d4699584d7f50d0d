"""The life of an attempt, of a fill and of an order: every state, every legal step, one table each.

SQL holds the same attempt table (`lt_attempt_transitions`) and a test compares the two. A step that is not in the
table is refused by both, so a late or repeated answer can never take back what is known already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class AttemptState(StrEnum):
    """One POST's worth of an order. Born `submitting`, which means: may have been sent."""

    SUBMITTING = "submitting"
    LIVE = "live"  # resting on the book
    DELAYED = "delayed"  # accepted into the venue's hold, matched later
    MATCHED = "matched"
    UNMATCHED = "unmatched"  # accepted, not matched; on the book unless the order type forbids it
    KILLED = "killed"  # FAK/FOK found nothing: no fill
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # no answer that can be believed: look it up
    ABANDONED = "abandoned"  # not processed, says whoever claimed it: never sent, or turned away
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    LOST = "lost"  # the exchange said "not found" often enough; a late fill is still booked


class FillState(StrEnum):
    """A trade is provisional until the chain confirms it, and reversed if the chain refuses it."""

    PROVISIONAL = "provisional"
    FINAL = "final"
    REVERSED = "reversed"


class OrderStatus(StrEnum):
    """The platform's six words, in `lt_orders.status`."""

    PENDING = "PENDING"
    PARTIAL = "PARTIAL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    LOST = "LOST"


_A = AttemptState

ALIVE: frozenset[AttemptState] = frozenset(
    {_A.SUBMITTING, _A.LIVE, _A.DELAYED, _A.UNMATCHED, _A.UNKNOWN, _A.CANCELLING}
)
"""May still trade: at most one such attempt per order."""

_ANSWERED = frozenset({_A.MATCHED, _A.KILLED, _A.REJECTED, _A.CANCELLING, _A.CANCELLED, _A.EXPIRED})

TRANSITIONS: Mapping[AttemptState, frozenset[AttemptState]] = {
    # Whatever a look-up may find of an order whose process died with the answer is a step from here.
    _A.SUBMITTING: frozenset(
        {_A.LIVE, _A.DELAYED, _A.MATCHED, _A.UNMATCHED, _A.KILLED, _A.REJECTED, _A.UNKNOWN, _A.ABANDONED}
        | {_A.CANCELLED, _A.EXPIRED}
    ),
    # What is taken in only comes nearer to its end, so that old news cannot take it back. To `unknown` it goes by the
    # rule alone: the exchange has said "not found" often enough, and for long enough.
    _A.DELAYED: _ANSWERED | {_A.UNMATCHED, _A.LIVE, _A.UNKNOWN},
    _A.UNMATCHED: _ANSWERED | {_A.LIVE, _A.UNKNOWN},
    _A.LIVE: _ANSWERED | {_A.UNKNOWN},
    _A.CANCELLING: frozenset({_A.MATCHED, _A.REJECTED, _A.CANCELLED, _A.EXPIRED, _A.LIVE, _A.UNKNOWN}),
    _A.UNKNOWN: _ANSWERED | {_A.LIVE, _A.DELAYED, _A.UNMATCHED, _A.LOST},
    # Its money was given out again: it never lives on, and whatever it came to after all is booked.
    _A.LOST: frozenset({_A.MATCHED, _A.CANCELLED}),
    _A.MATCHED: frozenset(),
    _A.KILLED: frozenset(),
    _A.REJECTED: frozenset(),
    _A.ABANDONED: frozenset(),
    _A.CANCELLED: frozenset(),
    _A.EXPIRED: frozenset(),
}

FILL_TRANSITIONS: Mapping[FillState, frozenset[FillState]] = {
    FillState.PROVISIONAL: frozenset({FillState.FINAL, FillState.REVERSED}),
    FillState.FINAL: frozenset(),
    FillState.REVERSED: frozenset(),
}


def allowed(old: AttemptState, new: AttemptState) -> bool:
    """Whether the step is legal. Staying where one is always is: records are repeated."""
    return new is old or new in TRANSITIONS[old]


def transition(old: AttemptState, new: AttemptState) -> AttemptState:
    """The new state. Raises ValueError for a step that is not in the table."""
    if not allowed(old, new):
        raise ValueError(
            f"An attempt cannot go from {old} to {new}; it can go to {sorted(TRANSITIONS[old])}."
        )
    return new


def adopted(held: AttemptState, told: AttemptState) -> AttemptState:
    """What an attempt is once `told` is heard of it, in whatever order and however often it is told.

    News to which no step leads is old and changes nothing, and a doubt takes back nothing that is known.
    """
    if told is AttemptState.UNKNOWN and held is not AttemptState.SUBMITTING:
        return held
    return told if allowed(held, told) else held


def given_up(held: AttemptState) -> AttemptState:
    """The next step of an attempt without a trade that the exchange, by `LostRule`, does not know any more."""
    if held is AttemptState.UNKNOWN:
        return AttemptState.LOST
    return AttemptState.UNKNOWN if allowed(held, AttemptState.UNKNOWN) else held


@dataclass(frozen=True, slots=True)
class AttemptLife:
    """`closed`: the attempt is over and every one of its trades is booked."""

    state: AttemptState
    closed: bool


def order_status(
    attempts: Sequence[AttemptLife], *, filled: Decimal, target: Decimal, dust: Decimal = Decimal("0.01")
) -> OrderStatus:
    """One word for an order: `attempts` oldest first; `filled` = its fills that are not reversed.

    `filled` and `target` are both dollars (FAK/FOK BUY) or both shares; within `dust` of the target is filled.
    """
    if filled > 0:
        return OrderStatus.FILLED if filled >= target - dust else OrderStatus.PARTIAL
    if not attempts or any(not attempt.closed for attempt in attempts):
        return OrderStatus.PENDING
    match attempts[-1].state:
        case AttemptState.REJECTED:
            return OrderStatus.REJECTED
        case AttemptState.LOST:
            return OrderStatus.LOST
        case _:
            return OrderStatus.CANCELLED


def transition_rows() -> Iterable[tuple[str, str]]:
    """The table as sorted rows, to be compared with SQL's."""
    return sorted((old.value, new.value) for old, news in TRANSITIONS.items() for new in news)
