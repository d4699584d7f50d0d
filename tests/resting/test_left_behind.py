"""Orders that a moving market left behind: `make reprice` at its smallest."""

import pytest

from tests.resting.drill import left_behind
from tests.support.trading_room import open_room
from worker.sandbox.supabase import SupabaseSandbox

ORDERS = 20


@pytest.mark.timeout(180)
async def test_each_order_that_is_left_behind_is_repriced_or_closed_within_its_limit_and_none_twice(
    supabase: SupabaseSandbox,
) -> None:
    async with open_room(supabase) as room:
        outcome = await left_behind(room, ORDERS, patience_s=90, so_far={})
    assert outcome.complaints == ()
    assert outcome.orders == ORDERS
    # At a dearer price its dollars buy fewer shares than it was for.
    assert outcome.words.keys() <= {"PARTIAL", "CANCELLED"}
    assert outcome.words["PARTIAL"] >= ORDERS // 2
