"""The id of an event in a stream: the place in the database's own history after it, as text (decision 0017).

It comes back from whoever was told it, or from anybody else: what is read out of it goes to the database, and bounds
what is read there, so nothing but a cursor of the last day is one.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from worker.database.values import Row, moment_text
from worker.orders.numbers import utc_moment

_SNAPSHOT: Final = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?")
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
    except (ValueError, binascii.Error):
        return None
    return _checked(cursor, now) if isinstance(cursor, dict) else None


def _checked(cursor: Mapping[str, Any], now: datetime) -> Row | None:
    begins = utc_moment(cursor.get("from"))
    if begins is None or not now - _OLDEST <= begins <= now + _OLDEST:
        return None
    kept: dict[str, Any] = {"from": moment_text(begins)}
    for name in ("seen", "upto"):
        if (snapshot := cursor.get(name)) is not None:
            if not isinstance(snapshot, str) or not _SNAPSHOT.fullmatch(snapshot):
                return None
            kept[name] = snapshot
    if "upto" in kept:
        if (as_of := utc_moment(cursor.get("as_of"))) is None:
            return None
        kept["as_of"] = moment_text(as_of)
    if (after := cursor.get("after")) is not None:
        at = utc_moment(after.get("at")) if isinstance(after, dict) else None
        key = after.get("key") if isinstance(after, dict) else None
        if at is None or not isinstance(key, str) or "\x00" in key:
            return None
        kept["after"] = {"at": moment_text(at), "key": key}
    return kept
