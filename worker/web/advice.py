"""What to do about signals that were not traded: from the reasons that were recorded, and the numbers that failed.

Pure. A recommendation says how often, why, and what would have let the newest such signal through.
"""

from collections.abc import Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from worker.database.values import Row, count_of, flag_of, row_of, rows_of, text_of
from worker.orders.numbers import exact_decimal
from worker.orders.passing import passing
from worker.orders.reasons import SkipReason
from worker.web.kinds import Answer

# The platform's own targets: more than 60 % of the orders FILLED, fewer than 20 % PENDING, fewer than 10 % too old.
_FILLED_LEAST: Final = Decimal("0.6")
_PENDING_MOST: Final = Decimal("0.2")
_NOTABLE: Final = Decimal("0.1")
_ORDERS_LEAST: Final = 10  # fewer are no rate
_REASONS_MOST: Final = 5
_WIDER: Final = (
    "UPDATE lt_strategies SET order_type = 'IOC', slippage_tolerance_pct = 5.0 WHERE strategy_id = '{}'"
)


class Priority(StrEnum):
    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"


class Recommendation(Answer):
    """`action`: a command, or what a human does; `sql`: where a setting of the platform would change it."""

    priority: Priority
    issue: Annotated[str, Field(examples=["70 of 100 signals were skipped as signal_too_old."])]
    solution: str
    action: str | None = None
    sql: str | None = None


def recommend(audit: Row) -> Iterator[Recommendation]:
    """`audit`: an answer of `lt_execution_audit`. The gravest first. Raises SchemaError."""
    total = row_of(audit, "total")
    yield from _undecided(total)
    yield from _skipped(audit, total)
    for part in rows_of(audit, "strategies"):
        yield from _orders(part)


def _undecided(total: Row) -> Iterator[Recommendation]:
    if missed := count_of(total, "missed"):
        yield Recommendation(
            priority=Priority.CRITICAL,
            issue=f"{missed} signals are in scope and undecided for more than five seconds.",
            solution="Nobody decides them: see whether a worker runs for the wallet, and what its log says.",
            action="polycopy-worker status",
        )
    elif not flag_of(total, "holds"):
        yield Recommendation(
            priority=Priority.CRITICAL,
            issue="The counts of signals and decisions do not add up.",
            solution="A decision was lost, or one strayed in: compare lt_decisions with ft_orders.",
            action="polycopy-worker audit",
        )


def _skipped(audit: Row, total: Row) -> Iterator[Recommendation]:
    seen = count_of(total, "seen")
    told = [(SkipReason(word), count) for word, count in _by_reason(total) if word in set(SkipReason)]
    for reason, count in told[:_REASONS_MOST]:
        sample = _sample(audit, reason)
        would = passing(reason, _words(sample, "value"), _words(sample, "limit"), {})
        numbers = f" The newest: {would.sentence()}" if would.measured and would.number else ""
        yield Recommendation(
            priority=Priority.HIGH if Decimal(count) >= _NOTABLE * seen else Priority.MEDIUM,
            issue=f"{count} of {seen} signals were skipped as {reason.value}: {reason.sentence}{numbers}",
            solution=would.advice or "Nothing: it is as it should be.",
            action=f"polycopy-worker explain {sample['ft_order_id']}" if sample else None,
        )


def _by_reason(total: Row) -> list[tuple[str, int]]:
    return [(text_of(one, "reason"), count_of(one, "count")) for one in rows_of(total, "skipped_by")]


def _sample(audit: Row, reason: SkipReason) -> Row | None:
    """The first that tells its number, or just the first."""
    told = [
        one
        for part in rows_of(audit, "strategies")
        for one in rows_of(part, "sample_skipped")
        if one.get("reason") == reason
    ]
    return next((one for one in told if one.get("value")), told[0] if told else None)


def _words(sample: Row | None, name: str) -> str:
    return str(sample.get(name) or "") if sample else ""


def _orders(part: Row) -> Iterator[Recommendation]:
    strategy_id, orders = text_of(part, "strategy_id"), row_of(part, "orders")
    placed = count_of(orders, "placed")
    filled, pending = (exact_decimal(orders.get(name)) for name in ("filled_share", "pending_share"))
    if placed < _ORDERS_LEAST or filled is None or pending is None:
        return
    if pending >= _PENDING_MOST:
        yield Recommendation(
            priority=Priority.MEDIUM,
            issue=f"{pending:.0%} of the {placed} orders of {strategy_id} are pending.",
            solution="They rest on the book, and are priced anew after pending.max_age_s; IOC leaves nothing there.",
            action=f"polycopy-worker orders --open --strategy {strategy_id}",
        )
    if filled < _FILLED_LEAST:
        yield Recommendation(
            priority=Priority.HIGH,
            issue=f"Only {filled:.0%} of the {placed} orders of {strategy_id} were filled whole.",
            solution="IOC takes what there is, and a wider tolerance reaches further; it may cost that much more.",
            action=f"polycopy-worker orders --failed --strategy {strategy_id}",
            sql=_WIDER.format(strategy_id.replace("'", "''")),
        )
