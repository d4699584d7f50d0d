"""A backlog with rows that fail whenever they are tried: it is worked off, and what comes in meanwhile goes first."""

import pytest

from tests.backlog.drill import FOLLOWERS, Plan, drill
from worker.sandbox.postgres import Postgres
from worker.sandbox.world import open_world

PLAN = Plan(
    rows=400,
    poison=20,
    fresh=2,
    fresh_every_s=0.5,
    patience_s=120,
    settings={"POLYCOPY_EXCHANGE__READ_TIMEOUT_S": "1", "POLYCOPY_SWEEP__BATCH": "100"},
)


@pytest.mark.timeout(180)
async def test_signals_of_now_go_before_a_backlog_that_is_worked_off_to_its_end(
    cluster: Postgres, migrated_template: str
) -> None:
    async with open_world(
        markets=2, followers=FOLLOWERS, postgres=cluster, template=migrated_template
    ) as world:
        outcome = await drill(world, PLAN)
    assert outcome.fresh_before_the_end
    assert len(outcome.wire_s) == PLAN.fresh
    assert outcome.poisoned_deferred == PLAN.poison
    assert sum(outcome.decided.values()) == PLAN.rows + PLAN.fresh
    assert (outcome.undecided, outcome.missed) == (0, 0)
    assert outcome.orders == outcome.decided["executed:executed"]
