"""POST /api/lt/execute: have the workers look for work now, wait, and say what came of it.

Nothing is executed here: the request wakes the workers up, over the feed and over LISTEN, to the sweep that they make
every second anyway, and the answer is read from what they decided.
"""

import asyncio
from datetime import datetime
from time import monotonic
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Query
from fastapi.exceptions import HTTPException
from pydantic import Field

from worker.database.platform import PlatformReports, Swept
from worker.database.values import Row, count_of, row_of, text_of
from worker.errors import DatabaseUnreachable
from worker.web import examples
from worker.web.kinds import Answer, Asked, Moment, acting_troubles, shown_as

log = structlog.get_logger(__name__)

router = APIRouter()

_LOOK_FIRST_S: Final = 0.1
_LOOK_MOST_S: Final = 2.0
_SLOWER: Final = 1.5
_LAST_LOOK_S: Final = 1.0
_WAIT_MOST_S: Final = 60


class StrategyResult(Answer):
    """`errors`: orders that the exchange refused, or lost. `reasons`: of what was skipped or put off."""

    executed: int
    skipped: int
    deferred: int
    errors: int
    reasons: Annotated[dict[str, int], Field(examples=[{"price_moved": 2}])]


class Execution(Answer):
    """`success`: everything that had been inserted before the request is decided, and every order answered.

    `cooldown_released` and `daily_reset_count` are 0: capital is computed, so nothing has to be released or reset.
    """

    model_config = shown_as(examples.EXECUTION)

    success: bool
    complete: Annotated[
        bool, Field(description="False: the time was up before all was done; what had been is counted.")
    ]
    executed_at: Moment
    strategies_processed: int
    total_executed: int
    total_sells: int
    total_errors: int
    undecided: Annotated[int, Field(description="Pairs of a signal and a strategy that are left to be done.")]
    cooldown_released: int = 0
    daily_reset_count: int = 0
    results: Annotated[
        dict[str, StrategyResult],
        Field(examples=[{"LT_VALUE": {"executed": 1, "skipped": 2, "deferred": 0, "errors": 0, "reasons": {"price_moved": 2}}}]),
    ]  # fmt: skip


@router.post("/execute", responses=acting_troubles())
async def execute(
    asked: Asked,
    wait_s: Annotated[
        float,
        Query(
            ge=0,
            le=_WAIT_MOST_S,
            description="How long to wait for the workers at most; then what was done so far is told.",
        ),
    ] = 20.0,
) -> Execution:
    """Sweep now: wakes the workers up, waits until what was there is decided, and counts what they did with it.

    After `wait_s` it answers in any case: `complete` is false where something is left, and the workers go on with it.
    503: no worker trades now.
    """
    sweep = await asked.ask_sweep()
    if not sweep.workers:
        raise HTTPException(
            503, "No worker trades now: start `polycopy-worker run`, or look why it has stopped."
        )
    told = await finished(asked, sweep.asked_at, wait_s)
    return Execution(
        success=not told.left,
        complete=not told.left,
        executed_at=sweep.asked_at.isoformat(),
        strategies_processed=len(told.strategies),
        total_executed=sum(count_of(one, "executed") for one in told.strategies),
        total_sells=sum(count_of(one, "sold") for one in told.strategies),
        total_errors=sum(count_of(one, "errors") for one in told.strategies),
        undecided=told.left,
        results={text_of(one, "strategy_id"): _result(one) for one in told.strategies},
    )


async def finished(asked: PlatformReports, asked_at: datetime, wait_s: float) -> Swept:
    """What was done when nothing was left, or when the time was up. Raises what `Reports` does where nothing is known.

    Once something is known, a look that comes late or not at all only leaves it at that.
    """
    look_s = _LOOK_FIRST_S
    deadline_s = monotonic() + wait_s
    told = await asked.swept(asked_at)
    while told.left and (rest_s := deadline_s - monotonic()) > 0:
        await asyncio.sleep(min(look_s, rest_s))
        look_s = min(look_s * _SLOWER, _LOOK_MOST_S)
        try:
            async with asyncio.timeout(max(deadline_s - monotonic(), _LAST_LOOK_S)):
                told = await asked.swept(asked_at)
        except (TimeoutError, DatabaseUnreachable) as error:
            log.warning("web.sweep_unseen", error=str(error) or "no answer in time")
    return told


def _result(one: Row) -> StrategyResult:
    return StrategyResult(
        executed=count_of(one, "executed"),
        skipped=count_of(one, "skipped"),
        deferred=count_of(one, "deferred"),
        errors=count_of(one, "errors"),
        reasons=dict(row_of(one, "reasons")),
    )
