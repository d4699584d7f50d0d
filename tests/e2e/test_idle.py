"""A worker with nothing to do asks little of the database. `make idle` measures it for a minute.

Calls are judged here and the database's time is not: how many calls a worker makes is its own doing, and how long the
database takes for them is also that of whoever else uses the machine. `make idle` judges both.
"""

import pytest

from benchmarks.idle import CALLS_PER_S_MOST, measure
from worker.sandbox.errors import SandboxError
from worker.sandbox.postgres import Postgres

_ONCE_A_MINUTE = 4  # connections are kept warm in one go, which may fall into the few seconds


async def test_an_idle_worker_of_twenty_wallets_and_purses_makes_two_calls_a_second_at_most(
    cluster: Postgres, migrated_template: str
) -> None:
    try:
        idle = await measure(strategies=20, seconds=10, postgres=cluster, template=migrated_template)
    except SandboxError as error:
        pytest.skip(str(error))
    assert idle.functions["lt_work"]["calls"] > 0
    assert (
        sum(cost["calls"] for cost in idle.functions.values())
        <= CALLS_PER_S_MOST * idle.seconds + _ONCE_A_MINUTE
    )
