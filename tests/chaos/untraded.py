"""What a chaos run did not trade, judged by what the run stages: a worker's word alone excuses nothing.

Every skip has to follow from the exchange's books and the platform's rows as they were when it was decided, and every
deferral has to wait for something that was staged, and not beyond its time. Whatever is neither was missed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from tests.chaos.evidence import Evidence, Row
from worker.orders.reasons import SkipReason
from worker.orders.terms import Side
from worker.sandbox.exchange.fault_catalogue import FaultName

# The books may have been read so long before: workers fall asleep in between.
_READ_BEFORE = timedelta(seconds=10)
_OVERDUE_MOST_S = 5.0
_DUST_SHARES = Decimal("0.01")
_SMALLEST_SALE_SHARES = Decimal(5)  # that may rest on the exchange's book
_DEFERRED_MOST = 0.1  # of all pairs may still wait, however good the reasons

_BY_FAULT = {
    SkipReason.EXCHANGE_RESTARTING: FaultName.RESTARTING,
    SkipReason.EXCHANGE_POST_ONLY: FaultName.POST_ONLY,
    SkipReason.EXCHANGE_CANCEL_ONLY: FaultName.CANCEL_ONLY,
    SkipReason.EXCHANGE_THROTTLED: FaultName.RATE_LIMITED,
}
# Every kill and every pause takes a lease away, and what was known of a balance with it.
_BY_KILLS = frozenset({SkipReason.LEASE_LOST, SkipReason.WALLET_BALANCE_UNKNOWN})


@dataclass(frozen=True, slots=True)
class Staged:
    """What a run gives its workers to refuse a signal for."""

    bet_usd: Decimal  # with fees
    fresh_for_s: float


def wrongly_untraded(evidence: Evidence, staged: Staged) -> Iterable[str]:
    """One line for each pair that was skipped or put off without a reason that holds."""
    waiting = []
    for row in evidence.untraded:
        deferred = row["state"] == "deferred"
        why = _wrong_with_deferral(row, evidence) if deferred else _wrong_with_skip(row, evidence, staged)
        if why is not None:
            yield f"{_named(row)}: {why}"
        elif deferred:
            waiting.append(row)
    if len(waiting) > 2 + _DEFERRED_MOST * evidence.equation["seen"]:
        for row in waiting:
            yield f"{_named(row)}: one of {len(waiting)} that wait, which is too many"


def _named(row: Row) -> str:
    return f"pair {(row['strategy_id'], row['ft_order_id'])} is {row['state']}, {row['reason']}"


def _wrong_with_skip(row: Row, evidence: Evidence, staged: Staged) -> str | None:
    match row["reason"], row["side"]:
        case SkipReason.INSUFFICIENT_CAPITAL | SkipReason.BELOW_MIN_SIZE, Side.BUY:
            left_usd = row["capital_usd"] - _committed_usd(row, evidence)
            return None if left_usd < staged.bet_usd else f"it had {left_usd} USD left"
        case SkipReason.SELL_NO_POSITION, Side.SELL:
            held = _held_shares(row, evidence)
            return (
                None if held <= _DUST_SHARES or not row["paper_bought_shares"] else f"it held {held} shares"
            )
        case SkipReason.BELOW_MIN_SIZE, Side.SELL:
            part = row["paper_shares"] / max(row["paper_bought_shares"], row["paper_shares"])
            least = part * _held_shares(row, evidence)
            return None if least < _SMALLEST_SALE_SHARES else f"it had {least} shares to sell"
        case SkipReason.SIGNAL_STALE, _:
            return None if row["age_s"] >= staged.fresh_for_s else f"it was {row['age_s']:.0f} s old"
        case SkipReason.MARKET_CLOSED, _:
            return None if row["condition_id"] in evidence.ended_markets else "its market goes on"
    return "nothing of that kind was staged"


def _wrong_with_deferral(row: Row, evidence: Evidence) -> str | None:
    if row["overdue_s"] > _OVERDUE_MOST_S:
        return f"it has been due for {row['overdue_s']:.0f} s"
    reason = row["reason"]
    if reason == SkipReason.POSITION_UNSETTLED and row["side"] == Side.SELL:
        return None
    if reason in _BY_KILLS or evidence.faults.get(_BY_FAULT.get(reason, ""), 0):
        return None
    return "nothing of that kind was staged"


def _committed_usd(row: Row, evidence: Evidence) -> Decimal:
    """The most that the strategy can have spent or reserved when the pair was decided.

    What comes back cools down for longer than a run lasts, so nothing of what was spent is there again.
    """
    return sum(
        (
            max(attempt["reserve_usd"], _traded(evidence, attempt, in_usd=True))
            if _was_open(attempt, row["decided_at"])
            else _traded(evidence, attempt, in_usd=True)
            for attempt in evidence.attempts
            if attempt["strategy_id"] == row["strategy_id"]
            and attempt["side"] == Side.BUY
            and attempt["created_at"] <= row["updated_at"]
        ),
        Decimal(0),
    )


def _held_shares(row: Row, evidence: Evidence) -> Decimal:
    """The least that the strategy can have had to sell then, of what was bought on signals before this one."""
    held = Decimal(0)
    for attempt in evidence.attempts:
        if (attempt["strategy_id"], attempt["condition_id"], attempt["token_label"]) != (
            row["strategy_id"],
            row["condition_id"],
            row["token_label"],
        ):
            continue
        traded = _traded(evidence, attempt, in_usd=False)
        if attempt["side"] == Side.BUY:
            if attempt["traded_at"] <= row["traded_at"] and attempt["created_at"] <= row["decided_at"]:
                held += traded
        elif attempt["created_at"] <= row["updated_at"]:
            held -= attempt["target_shares"] if _was_open(attempt, row["decided_at"]) else traded
    return held


def _was_open(attempt: Row, at: datetime) -> bool:
    closed_at = attempt["closed_at"]
    return closed_at is None or closed_at > at - _READ_BEFORE


def _traded(evidence: Evidence, attempt: Row, *, in_usd: bool) -> Decimal:
    """By the exchange. A trade that failed in the end may have counted as dollars spent, never as shares bought."""
    order = evidence.orders.get(attempt["exchange_order_id"])
    fills = order["fills"] if order is not None else ()
    may_count = in_usd or attempt["side"] == Side.SELL
    return sum(
        (
            Decimal(fill["shares"]) * Decimal(fill["price"]) + Decimal(fill["fee_usd"])
            if in_usd
            else Decimal(fill["shares"])
            for fill in fills
            if may_count or fill["status"] != "FAILED"
        ),
        Decimal(0),
    )
