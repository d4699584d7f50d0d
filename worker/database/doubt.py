"""What a human sees before he ends a doubt: the attempt, what it was for, what it holds, what he may make of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from worker.database.attempts import parse_fill
from worker.database.values import (
    Row,
    decimal_of,
    optional_moment_of,
    row_of,
    rows_of,
    text_of,
    texts_of,
    word_of,
)
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Remembered
from worker.orders.terms import ConditionId, OrderId


@dataclass(frozen=True, slots=True)
class Evidence:
    """One attempt. Rows are the tables' own, numerics as text; the signed body is in none of them."""

    order_id: OrderId
    state: AttemptState
    resolutions: tuple[AttemptState, ...]  # empty: nothing is in doubt
    reserved_usd: Decimal
    reserved_shares: Decimal
    attempt: Row  # with sent_times, not_found_times and found_at
    order: Row
    strategy: Row | None  # None: deleted meanwhile
    signal: Row | None
    fills: Sequence[Row]
    others: Sequence[Row]  # further attempts for the same signal

    def remembered(self) -> Remembered:
        """Raises SchemaError."""
        return Remembered(
            state=self.state,
            shares=None if self.attempt.get("shares") is None else decimal_of(self.attempt, "shares"),
            expires_at=optional_moment_of(self.attempt, "expires_at"),
            fills=tuple(parse_fill(row) for row in self.fills),
            condition_id=ConditionId(text_of(self.attempt, "condition_id")),
        )


def parse_evidence(row: Row) -> Evidence:
    """Raises SchemaError."""
    attempt, reservation = row_of(row, "attempt"), row_of(row, "reservation")
    return Evidence(
        order_id=OrderId(text_of(attempt, "exchange_order_id")),
        state=word_of(attempt, "state", AttemptState),
        resolutions=tuple(_state(word) for word in texts_of(row, "resolutions")),
        reserved_usd=decimal_of(reservation, "usd"),
        reserved_shares=decimal_of(reservation, "shares"),
        attempt=attempt,
        order=row_of(row, "order"),
        strategy=_optional(row, "strategy"),
        signal=_optional(row, "signal"),
        fills=rows_of(row, "fills"),
        others=rows_of(row, "others"),
    )


def _optional(row: Row, name: str) -> Row | None:
    return None if row.get(name) is None else row_of(row, name)


def _state(word: str) -> AttemptState:
    return word_of({"resolutions": word}, "resolutions", AttemptState)
