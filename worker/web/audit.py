"""GET /api/lt/execution-audit: why signals did not become orders, in the platform's own shape.

The counts are `lt_funnel`'s, those of `polycopy-worker audit`. `too_old` is what was skipped with `signal_too_old`, and
`eligible` what is still to be decided; what else was skipped stands beside them, so that the four make the total.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from worker.database.values import Row, count_of, flag_of, row_of, rows_of, text_of
from worker.web import examples
from worker.web.advice import Recommendation, recommend
from worker.web.kinds import (
    Answer,
    Asked,
    Moment,
    OnlyStrategy,
    Window,
    WindowSeconds,
    known,
    shown_as,
    troubles,
)

router = APIRouter()

_TOO_OLD = "signal_too_old"


class Breakdown(Answer):
    """Each pair of a signal and a strategy once."""

    too_old: int
    already_executed: int
    eligible: int
    skipped: int


class Sample(Answer):
    """`hours_before_sync`: how long before the platform's last sync of the strategy the trader had traded."""

    ft_order_id: str
    market: str | None
    order_time: Moment | None
    inserted_at: Moment | None
    price: str | None
    size_usd: str | None
    hours_before_sync: int | None
    state: str
    reason: str | None
    value: str | None
    limit: str | None


class StrategyAudit(Answer):
    strategy_id: Annotated[str, Field(examples=["LT_VALUE"])]
    mode: Annotated[str, Field(examples=["live"])]
    ft_wallet_id: str | None
    last_sync_time: Moment | None
    total_ft_orders: int
    already_executed: int
    breakdown: Breakdown
    skip_reasons: Annotated[dict[str, int], Field(examples=[{"price_moved": 3, "signal_too_old": 1}])]
    sample_skipped: list[Sample]
    sample_eligible: list[Sample]


class Summary(Answer):
    total_ft_orders: int
    already_executed: int
    too_old: int
    eligible: int
    skipped: int
    missed: Annotated[int, Field(description="Of the eligible: undecided for more than five seconds.")]
    holds: Annotated[bool, Field(description="Independent counts add up, and nothing was missed.")]


class ExecutionAudit(Answer):
    model_config = shown_as(examples.EXECUTION_AUDIT)

    timestamp: Moment
    mode: Annotated[str, Field(examples=["live"])]
    window: Window
    summary: Summary
    execution_rate: Annotated[str, Field(examples=["25%"])]
    skip_reasons: Annotated[dict[str, int], Field(examples=[{"price_moved": 3, "signal_too_old": 1}])]
    strategies: list[StrategyAudit]
    recommendations: list[Recommendation]


@router.get("/execution-audit", responses=troubles(404))
async def execution_audit(
    asked: Asked, window_s: WindowSeconds = 86400, strategy_id: OnlyStrategy = None
) -> ExecutionAudit:
    """Why signals did not become orders: counts that add up, the newest samples, and what to do about it.

    A signal counts once for each strategy that answers for it.
    """
    only = await known(asked, strategy_id)
    return audit_of(await asked.execution_audit(timedelta(seconds=window_s), only), window_s)


def audit_of(answer: Row, window_s: int) -> ExecutionAudit:
    """`answer`: of `lt_execution_audit`. Raises SchemaError."""
    total = row_of(answer, "total")
    seen, executed = count_of(total, "seen"), count_of(total, "executed")
    parts = _breakdown(total)
    return ExecutionAudit(
        timestamp=text_of(answer, "now"),
        mode=text_of(answer, "mode"),
        window=Window(since=text_of(answer, "since"), seconds=window_s),
        summary=Summary(
            total_ft_orders=seen,
            missed=count_of(total, "missed"),
            holds=flag_of(total, "holds"),
            **parts.model_dump(),
        ),
        execution_rate=f"{round(100 * executed / seen) if seen else 0}%",
        skip_reasons=_reasons(total),
        strategies=list(_strategies(answer)),
        recommendations=list(recommend(answer)),
    )


def _breakdown(part: Row) -> Breakdown:
    too_old = _reasons(part).get(_TOO_OLD, 0)
    return Breakdown(
        too_old=too_old,
        already_executed=count_of(part, "executed"),
        eligible=count_of(part, "undecided") + count_of(part, "deferred"),
        skipped=count_of(part, "skipped") - too_old,
    )


def _reasons(part: Row) -> dict[str, int]:
    return {text_of(one, "reason"): count_of(one, "count") for one in rows_of(part, "skipped_by")}


def _strategies(answer: Row) -> Iterator[StrategyAudit]:
    for part in rows_of(answer, "strategies"):
        yield StrategyAudit(
            strategy_id=text_of(part, "strategy_id"),
            mode=text_of(part, "mode"),
            ft_wallet_id=part.get("ft_wallet_id"),
            last_sync_time=part.get("last_sync_time"),
            total_ft_orders=count_of(part, "seen"),
            already_executed=count_of(part, "executed"),
            breakdown=_breakdown(part),
            skip_reasons=_reasons(part),
            sample_skipped=[Sample.model_validate(one) for one in rows_of(part, "sample_skipped")],
            sample_eligible=[Sample.model_validate(one) for one in rows_of(part, "sample_eligible")],
        )
