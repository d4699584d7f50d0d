"""Decisions as they cross the edge: the work that has none, and the skips and deferrals that become one."""

from collections.abc import Sequence
from typing import Any

from worker.database.values import (
    Row,
    count_of,
    flag_of,
    moment_text,
    plain_text,
    plain_words,
    row_of,
    rows_of,
    text_of,
    texts_of,
)
from worker.orders.ports import Decision, Work, WorkBatch
from worker.orders.reasons import SkipReason, Stage
from worker.orders.skips import Deferral
from worker.orders.terms import Mode, StrategyId


def decision_params(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    return [_decision(decision) for decision in decisions]


def _decision(decision: Decision) -> dict[str, Any]:
    skip = decision.skip
    return {
        "strategy_id": decision.strategy_id,
        "ft_order_id": decision.ft_order_id,
        "mode": decision.mode,
        "state": "deferred" if skip.deferred else "skipped",
        "reason": skip.reason,
        "value": plain_text(skip.value),
        "limit": plain_text(skip.limit),
        "retry_at": moment_text(skip.retry_at),
        "expires_at": moment_text(skip.expires_at),
        "snapshot": plain_words(skip.snapshot),
        "received_at": moment_text(decision.stages.received_at),
        "decided_at": moment_text(decision.stages.decided_at),
    }


def due_params(
    pairs: Sequence[tuple[StrategyId, Mode]], *, most: int | None, younger_than_s: float | None
) -> dict[str, Any]:
    """What was put off because the exchange's door was shut."""
    return {
        "pairs": [{"strategy_id": strategy_id, "mode": mode} for strategy_id, mode in pairs],
        "reasons": [reason for reason in SkipReason if reason.stage is Stage.VENUE],
        "most": most,
        "younger_than_s": younger_than_s,
    }


def parse_work(answer: Row) -> WorkBatch:
    return WorkBatch(
        work=tuple(_work(item) for item in rows_of(answer, "work")),
        more=flag_of(answer, "more"),
        bookmark=None if answer.get("bookmark") is None else row_of(answer, "bookmark"),
        strategies_version=text_of(answer, "strategies_version"),
    )


def parse_signal_work(answer: Row) -> Work | None:
    """None: the row is gone, or no strategy has it left to decide."""
    work = None if answer.get("signal") is None else _work(answer)
    return work if work is not None and work.strategy_ids else None


def _work(item: Row) -> Work:
    deferrals = row_of(item, "deferrals") if "deferrals" in item else {}
    return Work(
        signal_row=row_of(item, "signal"),
        strategy_ids=tuple(StrategyId(strategy_id) for strategy_id in texts_of(item, "strategy_ids")),
        deferrals={
            StrategyId(strategy_id): Deferral(count_of(row, "tries"), text_of(row, "reason"))
            for strategy_id in deferrals
            for row in [row_of(deferrals, strategy_id)]
        },
    )
