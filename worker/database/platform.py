"""What the platform's own endpoints ask: the audit of the executions, the orders of a strategy, and a sweep that is asked for.

Each is one SQL function of `supabase/migrations/*_platform.sql`, whose comment is the contract of its answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.database.reports import Reports, begins
from worker.database.values import Row, count_of, moment_of, moment_text, rows_of
from worker.orders.terms import StrategyId


@dataclass(frozen=True, slots=True)
class SweepAsked:
    """`workers`: how many may carry it out."""

    asked_at: datetime
    workers: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What was decided since the sweep was asked for. `left`: work of before then that is not done yet."""

    left: int
    strategies: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class PlatformReports(Reports):
    """As `Reports`."""

    async def execution_audit(
        self, since: timedelta | datetime, strategy_id: StrategyId | None = None
    ) -> Row:
        """The answer of `lt_execution_audit`: the funnel, and samples of what was skipped and of what is left."""
        return await self._ask("lt_execution_audit", strategy_id=strategy_id, **begins(since))

    async def strategy_orders(self, strategy_id: StrategyId, *, limit: int) -> Row | None:
        """The answer of `lt_strategy_orders`; None where there is no such strategy."""
        answer = await self._ask("lt_strategy_orders", strategy_id=strategy_id, limit=limit)
        return None if answer.get("strategy") is None else answer

    async def ask_sweep(self) -> SweepAsked:
        """Wake every worker up to look for work now."""
        answer = await self._ask("lt_ask_sweep")
        return SweepAsked(moment_of(answer, "asked_at"), count_of(answer, "workers"))

    async def swept(self, asked_at: datetime) -> Swept:
        answer = await self._ask("lt_swept", asked_at=moment_text(asked_at))
        return Swept(count_of(answer, "left"), tuple(rows_of(answer, "strategies")))
