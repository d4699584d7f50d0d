"""News of an order whose outcome nobody knows, as the worker tells it to the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.desk import WALLET, Desk, Row

START = datetime.now(UTC)


def at(second: float) -> str:
    return (START + timedelta(seconds=second)).isoformat()


def posted(second: float, state: str = "unknown", **keys: Any) -> Row:
    """A POST whose answer came a tenth of a second later, or did not come."""
    return {"state": state, "sent_at": at(second), "answered_at": at(second + 0.1)} | keys


def looked(second: float, finding: str = "not_found", state: str = "unknown", **keys: Any) -> Row:
    return {"state": state, "lookup": finding, "answered_at": at(second)} | keys


async def in_doubt(desk: Desk) -> Row:
    claimed = await desk.claim(await desk.signal())
    assert claimed["granted"]
    await desk.record(claimed["exchange_order_id"], "unknown")
    return claimed


async def tell(desk: Desk, attempt: Row, *records: Row) -> Row:
    """Tells the records in this order and returns the last answer."""
    answer: Row = {}
    for record in records:
        keys = {"state": "unknown"} | record
        answer = await desk.record(attempt["exchange_order_id"], keys.pop("state"), **keys)
    return answer


async def listed(desk: Desk) -> Row:
    (attempt,) = (await desk.call("lt_open_attempts", {"mode": desk.mode, "wallets": [WALLET], "limit": 9}))[
        "attempts"
    ]
    row: Row = attempt
    return row
