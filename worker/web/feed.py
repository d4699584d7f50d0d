"""GET /api/lt/feed: decisions and fills as server-sent events, resumable by Last-Event-ID.

An event's id is the place in the database's own history after it (decision 0017), so a browser that comes back, to this
process or to another one, gets what it missed and nothing twice.
"""

import base64
import binascii
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import StreamingResponse

from worker.database.values import Row, moment_text
from worker.errors import WorkerError
from worker.observe.log import redact
from worker.orders.numbers import utc_moment
from worker.web.hub import FeedHub, Told
from worker.web.kinds import OnlyStrategy, strategy_of, troubles

log = structlog.get_logger(__name__)
router = APIRouter()

_SNAPSHOT: Final = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?")
_OLDEST: Final = timedelta(days=1)
_COME_BACK_MS: Final = 1000
_ID_MOST: Final = 4096
_EXAMPLE: Final = (
    "id: eyJz...\nevent: order.decided\n"
    'data: {"event": "order.decided", "strategy_id": "LT_VALUE", "state": "executed", "reason": "executed"}\n\n'
)


class EventStream(StreamingResponse):
    media_type = "text/event-stream"


def _hub(request: Request) -> FeedHub:
    hub: FeedHub = request.app.state.feed
    return hub


@router.get(
    "/feed",
    response_class=EventStream,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **troubles(),
    },
)
async def feed(
    hub: Annotated[FeedHub, Depends(_hub)],
    strategy_id: OnlyStrategy = None,
    back_s: Annotated[
        int, Query(ge=0, le=86400, description="Begin with what happened since so long ago.")
    ] = 0,
    follow: Annotated[bool, Query(description="False: no further than now.")] = True,  # noqa: FBT002 - of a query
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that was received.")
    ] = None,
) -> EventStream:
    """What happens, as it happens: order.decided, fill.booked, fill.settled, order.closed, as `feed --json` prints them.

    A cursor that is older than a day, or none of ours, begins anew with `back_s`, and a comment says so.
    """
    cursor = None if last_event_id is None else read_cursor(last_event_id, now=datetime.now(UTC))
    read = hub.follow if follow else hub.until_now
    told = read(cursor, back=timedelta(seconds=back_s), strategy_id=strategy_of(strategy_id))
    lost = last_event_id is not None and cursor is None
    return EventStream(
        _sent(told, lost=lost), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


async def _sent(told: AsyncGenerator[Told, None], *, lost: bool) -> AsyncIterator[str]:
    yield f"retry: {_COME_BACK_MS}\n\n"
    if lost:
        yield ": that Last-Event-ID is too old, or none of ours: this is another beginning\n\n"
    try:
        async with aclosing(told):
            async for one in told:
                yield as_sent(one)
    except WorkerError as error:
        log.warning("web.feed_broken_off", error=str(error))
        yield ": the database does not answer: come back with the id of the last event\n\n"


def as_sent(told: Told) -> str:
    """An event of the stream. One that only moves the id on is not dispatched by a browser, and keeps the line open."""
    place = f"id: {write_cursor(told.cursor)}\n"
    if told.event is None:
        return f": nothing new\n{place}\n"
    return f"{place}event: {told.event.get('event')}\ndata: {redact(json.dumps(told.event, default=str))}\n\n"


def write_cursor(cursor: Row) -> str:
    return base64.urlsafe_b64encode(json.dumps(cursor, separators=(",", ":")).encode()).decode()


def read_cursor(text: str, *, now: datetime) -> Row | None:
    """None for anything but a cursor of the last day: it goes to the database, and bounds what is read there."""
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
