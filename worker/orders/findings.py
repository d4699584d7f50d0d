"""What the exchange's word makes of an attempt: its state, and whether its books are complete. Pure.

Answers, look-ups and trades come late, twice and in any order; whatever the order, they end in the same state
(`lifecycle.adopted`). Trades speak louder than the status of their order, and an order that the exchange does not
know any more is over only by `LostRule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from worker.orders.lifecycle import ALIVE, AttemptState, FillState, adopted, given_up
from worker.orders.outcomes import Outcome, OutcomeKind
from worker.orders.ports import Attempt, Fill, OrderView
from worker.orders.terms import OrderType

DUST_SHARES = Decimal("0.01")  # amounts in answers are cut off, those of trades are not

_A = AttemptState

# How the exchange names the states of an order it knows.
_STATES = {
    "LIVE": _A.LIVE,
    "DELAYED": _A.DELAYED,
    "UNMATCHED": _A.UNMATCHED,
    "MATCHED": _A.MATCHED,
    "CANCELED": _A.CANCELLED,
    "CANCELED_MARKET_RESOLVED": _A.CANCELLED,
    "INVALID": _A.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Booked:
    """What the trades of an attempt amount to; closed once they are all that the answer had stated."""

    filled_shares: Decimal
    final_shares: Decimal
    closed: bool

    @classmethod
    def of(cls, fills: Sequence[Fill], stated_shares: Decimal | None) -> "Booked":
        filled = sum((fill.shares for fill in fills if fill.state is not FillState.REVERSED), Decimal(0))
        final = sum((fill.shares for fill in fills if fill.state is FillState.FINAL), Decimal(0))
        return cls(filled, final, closed=_covers(fills, stated_shares))


@dataclass(frozen=True, slots=True)
class Finding:
    state: AttemptState
    closed: bool = False  # it is over, and every trade of it is in the view
    call_off: bool = False  # it stands on the book, where it must not


def told(outcome: Outcome, order_type: OrderType) -> AttemptState:
    """What the answer to a POST says. Of what rests it does not say whether anything is left on the book."""
    if outcome.kind is OutcomeKind.MATCHED and order_type.rests:
        return _A.LIVE
    return outcome.next_state


def found(attempt: Attempt, view: OrderView) -> Finding:
    """What a look-up that found the order, or a trade of it, makes of the attempt."""
    known = _known(attempt, view)
    complete = _is_complete(attempt, view)
    if attempt.state is _A.LOST:
        # Its money was given out again: it must not trade on, and is watched until all of it is booked.
        over = known not in ALIVE and complete
        return Finding(
            adopted(_A.LOST, known) if over else _A.LOST, over, call_off=view.found and known in ALIVE
        )
    state = adopted(attempt.state, known)
    stands = view.found and state is _A.LIVE and known is _A.LIVE
    lives_on = view.found and attempt.is_watched and known in ALIVE
    return Finding(
        state,
        closed=complete and state is known and state in {_A.MATCHED, _A.CANCELLED},
        call_off=lives_on or (stands and not attempt.envelope.order_type.rests),
    )


def absent(attempt: Attempt, view: OrderView, *, by_rule: bool) -> Finding:
    """What a look-up that did not find the order makes of the attempt. `by_rule`: `LostRule` holds for it.

    A remainder that rested and is not known any more is not on the book: its trades are all that it came to.
    """
    if not view.fills and attempt.filled_shares == 0:
        if by_rule:
            return Finding(given_up(attempt.state))
        return Finding(adopted(attempt.state, _A.UNKNOWN))
    finding = found(attempt, view) if view.fills else Finding(attempt.state)
    if by_rule and finding.state in ALIVE:
        return Finding(adopted(finding.state, _A.CANCELLED), closed=True)
    return finding


def _known(attempt: Attempt, view: OrderView) -> AttemptState:
    """What the exchange says, whatever the attempt was held for."""
    rests = attempt.envelope.order_type.rests
    has_traded = bool(view.fills) or bool(view.size_matched)
    # Trades say that an order exists; of one that rests they do not say that nothing of it is left on the book,
    # unless they are all that it was for.
    by_trades = _A.LIVE if rests and not _covers(view.fills, attempt.shares) else _A.MATCHED
    if not view.found:
        return by_trades
    known = _STATES.get(view.status, _A.UNKNOWN)
    if has_traded and known in {_A.REJECTED, _A.UNKNOWN}:
        return by_trades
    # What is left of a FAK is cancelled by its own terms: that is how it was matched.
    return _A.MATCHED if known is _A.CANCELLED and has_traded and not rests else known


def _is_complete(attempt: Attempt, view: OrderView) -> bool:
    """Whether every trade of a finished order is in the view."""
    if view.size_matched is not None:
        return abs(_shares(view.fills) - view.size_matched) <= DUST_SHARES
    if _covers(view.fills, attempt.stated_shares) or _covers(view.fills, attempt.shares):
        return True
    # They were made in one match: when all that can be seen are settled, none is still to be seen.
    return bool(view.fills) and all(fill.state is not FillState.PROVISIONAL for fill in view.fills)


def _covers(fills: Sequence[Fill], shares: Decimal | None) -> bool:
    return shares is not None and shares - _shares(fills) <= DUST_SHARES


def _shares(fills: Sequence[Fill]) -> Decimal:
    """Reversed ones included: a trade that failed was one of the order's all the same."""
    return sum((fill.shares for fill in fills), Decimal(0))
