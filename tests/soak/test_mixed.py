"""The mixed soak at its smallest: both books agree at every quiet point, and a discrepancy of one unit is found."""

import pytest

from tests.soak.mixed import Plan, mixed
from tests.soak.plants import Plant
from worker.sandbox.postgres import Postgres

# A quiet point waits for whatever is slow: on a machine that is busy with other things it lasts longer than the storm.
SHORT = Plan(seconds=8, seed=8, quiet_every_s=8, plants=tuple(Plant))


@pytest.mark.timeout(600)
async def test_exchange_and_database_agree_to_the_last_unit_when_all_is_quiet(
    cluster: Postgres, migrated_template: str
) -> None:
    outcome = await mixed(SHORT, {}, postgres=cluster, template=migrated_template)
    assert outcome.quiet_points
    assert [line for lines in outcome.quiet_points for line in lines] == []
    assert outcome.compared > 0
    assert {"orders FAK", "orders FOK", "orders GTC", "orders GTD", "fills final"} <= outcome.seen.keys()
    assert outcome.found == dict.fromkeys(Plant, True)
    assert not outcome.holds  # with a discrepancy left in the books the run fails
