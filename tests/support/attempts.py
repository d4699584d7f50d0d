"""Attempts of a desk, brought into whatever state a test wants."""

from typing import Any

from tests.support.desk import Desk, Row
from worker.orders.lifecycle import ALIVE, AttemptState

FINAL = [state for state in AttemptState if state not in ALIVE]
LOST_BY_HAND = {"decided_by": "operator"}  # the look-ups that would prove it are test_sql_doubt's


async def claimed(desk: Desk, **changes: Any) -> Row:
    answer = await desk.claim(await desk.signal(), **changes)
    assert answer["granted"]
    return answer


async def put(desk: Desk, exchange_order_id: str, state: str) -> None:
    """Brings a submitting attempt into `state` by legal steps."""
    first = {"cancelled": "live", "cancelling": "live", "expired": "live", "lost": "unknown"}.get(state)
    if first:
        await desk.record(exchange_order_id, first)
    if state != "submitting":
        await desk.record(exchange_order_id, state, **LOST_BY_HAND if state == "lost" else {})
