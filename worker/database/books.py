"""Capital's books over Supabase: checkpoints are written and everything is audited a part at a time.

Both calls are bounded and idempotent, and raise what `SupabaseDatabase.rpc` raises.
"""

from collections.abc import Mapping
from typing import Any

from worker.database.client import SupabaseDatabase
from worker.database.values import Row, count_of, row_of, rows_of, text_of, word_of
from worker.errors import SchemaError
from worker.orders.capital import AuditedPart, CapitalDifference
from worker.orders.numbers import exact_decimal
from worker.orders.terms import Mode, StrategyId


class SupabaseBooks:
    """Implements `orders.capital.Books`, for all strategies and in both modes."""

    def __init__(self, database: SupabaseDatabase) -> None:
        self._database = database

    async def checkpoint(self) -> int:
        return count_of(await self._database.rpc("lt_checkpoint", {"p": {}}), "written")

    async def after(self, strategy_id: StrategyId | None) -> StrategyId | None:
        answer = await self._database.rpc("lt_audit_next", {"p": {"strategy_id": strategy_id}})
        return None if answer.get("strategy_id") is None else StrategyId(text_of(answer, "strategy_id"))

    async def audit(
        self, strategy_id: StrategyId, *, orders: int, bookmark: Mapping[str, Any] | None
    ) -> AuditedPart:
        params = {"strategy_id": strategy_id, "orders": orders, "bookmark": bookmark}
        answer = await self._database.rpc("lt_audit_capital", {"p": params})
        return AuditedPart(
            differences=tuple(_difference(row) for row in rows_of(answer, "differences")),
            bookmark=None if answer.get("bookmark") is None else row_of(answer, "bookmark"),
        )


def _difference(row: Row) -> CapitalDifference:
    return CapitalDifference(
        what=text_of(row, "what"),
        mode=word_of(row, "mode", Mode),
        missing={name: _amount(name, value) for name, value in row_of(row, "missing").items()},
    )


def _amount(name: str, value: object) -> Any:
    amount = exact_decimal(value)
    if amount is None:
        raise SchemaError(f"missing.{name}: expected a number as text, was {value!r}.")
    return amount
