"""A market's tick changes while it trades: an order that is refused for it is decided anew, on the tick of now.

What the exchange refused for certain is dead, and nothing of it can trade beside a further attempt of the same order.
Once is enough: whoever is refused again was not late. What nobody got to repeat is found among the remainders.
"""

import structlog

from worker.execution.submit import Executed, NotSent, Received, Submitter
from worker.handlers.judge import Case, Judge
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import AnswerReason
from worker.orders.ports import Before, Clock

log = structlog.get_logger(__name__)


def is_off_tick(result: Executed) -> bool:
    """The exchange says for certain that the order's price is none of the market's."""
    return result.answer is AnswerReason.TICK_SIZE and result.state is AttemptState.REJECTED


async def on_the_new_tick(
    case: Case,
    plan: Plan,
    refused: Executed,
    received: Received,
    *,
    judge: Judge,
    submitter: Submitter,
    clock: Clock,
) -> tuple[Plan, Executed]:
    """What came of the further attempt; or the plan and the refusal as they were, where there is none.

    Raises `DatabaseError`.
    """
    now = clock.now()
    verdict = await judge.verdict(case, now, market_anew=True)
    if not isinstance(verdict, Plan):
        why = str(verdict.reason)
    else:
        result = await submitter.execute(
            verdict,
            received,
            decided_at=now,
            fresh_until=judge.fresh_until(case, now),
            after=Before(refused.granted.lt_order_id, refused.granted.attempt_no),
        )
        if isinstance(result, Executed):
            return verdict, result
        why = result.why if isinstance(result, NotSent) else str(result.reason)
    log.warning("order.not_repeated", order_id=refused.envelope.order_id, why=why)
    return plan, refused
