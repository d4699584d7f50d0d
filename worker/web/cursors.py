"""The id of an event in a stream: the place in the database's own history after it, as text (decision 0017).

It comes back from whoever was told it, or from anybody else: what is read out of it goes to the database, and bounds
what is read there, so nothing but a cursor of the last day is one.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from worker.database.values import Row, moment_text
from worker.orders.numbers import utc_moment

_SNAPSHOT: Final = re.compile(r"(\d{1,19}):(\d{1,19}):((?:\d{1,19}(?:,\d{1,19})*)?)", re.ASCII)
_TRANSACTIONS_END: Final = 2**63
_OLDEST: Final = timedelta(days=1)
_ID_MOST: Final = 4096


def write_cursor(cursor: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor, separators=(",", ":")).encode()).decode()


def read_cursor(text: str, *, now: datetime) -> Row | None:
    """None for anything but a cursor of the last day."""
    if len(text) > _ID_MOST:
        return None
    try:
        cursor = json.loads(base64.urlsafe_b64decode(text.encode()))
        return _checked(cursor, now) if isinstance(cursor, dict) else None
    except (ValueError, RecursionError, OverflowError):
        return None


def _checked(cursor: Mapping[str, Any], now: datetime) -> Row | None:
    if (begins := _of_the_last_day(cursor.get("from"), now)) is None:
        return None
    kept: dict[str, Any] = {"from": moment_text(begins)}
    for name in ("seen", "upto"):
        if (snapshot := cursor.get(name)) is not None:
            if not _is_snapshot(snapshot):
                return None
            kept[name] = snapshot
    if "upto" in kept:
        if (as_of := _of_the_last_day(cursor.get("as_of"), now)) is None:
            return None
        kept["as_of"] = moment_text(as_of)
    if (after := cursor.get("after")) is not None:
        at = utc_moment(after.get("at")) if isinstance(after, dict) else None
        key = after.get("key") if isinstance(after, dict) else None
        if at is None or not _is_text(key):
            return None
        kept["after"] = {"at": moment_text(at), "key": key}
    return kept


def _of_the_last_day(told: object, now: datetime) -> datetime | None:
    moment = utc_moment(told)
    return moment if moment is not None and now - _OLDEST <= moment <= now + _OLDEST else None


def _is_snapshot(told: object) -> bool:
    """Whether PostgreSQL would read it as one: what it refuses is refused at every look, for ever."""
    parts = _SNAPSHOT.fullmatch(told) if isinstance(told, str) else None
    if parts is None:
        return False
    first, end = int(parts[1]), int(parts[2])
    running = [int(one) for one in parts[3].split(",") if one]
    return (
        0 < first <= end < _TRANSACTIONS_END
        and all(first <= one < end for one in running)
        and all(one < other for one, other in pairwise(running))
    )


def _is_text(told: object) -> bool:
    """Whether PostgreSQL stores it: no NUL, and no half of a character."""
    if not isinstance(told, str) or "\x00" in told:
        return False
    try:
        told.encode()
    except UnicodeEncodeError:
        return False
    return True
