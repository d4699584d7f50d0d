"""GET /api/lt/feed: decisions and fills as server-sent events, resumable by Last-Event-ID.

An event's id is the place in the database's own history after it (decision 0017), so a browser that comes back, to this
process or to another one, gets what it missed and nothing twice.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from worker.errors import WorkerError
from worker.web.cursors import read_cursor
from worker.web.hub import Crowded, FeedHub
from worker.web.kinds import OnlyStrategy, strategy_of, troubles
from worker.web.telling import Telling

log = structlog.get_logger(__name__)
router = APIRouter()

_STREAM: Final = "text/event-stream"
_COME_BACK_MS: Final = 1000
_NO_SEAT_S: Final = 10
_EXAMPLE: Final = (
    "id: eyJz...\nevent: order.decided\n"
    'data: {"event": "order.decided", "strategy_id": "LT_VALUE", "state": "executed", "reason": "executed"}\n\n'
)


def _hub(request: Request) -> FeedHub:
    hub: FeedHub = request.app.state.feed
    return hub


async def _seated(hub: Annotated[FeedHub, Depends(_hub)]) -> AsyncIterator[None]:
    """A dependency of whatever streams: its end is the end of the stream."""
    with ExitStack() as stack:
        try:
            stack.enter_context(hub.seat())
        except Crowded as error:
            log.warning("web.feed_crowded", error=str(error))
            raise HTTPException(503, str(error), {"Retry-After": str(_NO_SEAT_S)}) from error
        yield


@router.get(
    "/feed",
    response_class=StreamingResponse,
    dependencies=[Depends(_seated)],
    responses={
        200: {"content": {_STREAM: {"schema": {"type": "string"}, "example": _EXAMPLE}}},
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
) -> StreamingResponse:
    """What happens, as it happens: order.decided, fill.booked, fill.settled, order.closed, as `feed --json` prints them.

    A cursor that is older than a day, or none of ours, begins anew with `back_s`, and a comment says so. 503 with
    `Retry-After`: `web.feeds_most` of them are open.
    """
    cursor = None if last_event_id is None else read_cursor(last_event_id, now=datetime.now(UTC))
    read = hub.follow if follow else hub.until_now
    tellings = read(cursor, back=timedelta(seconds=back_s), strategy_id=strategy_of(strategy_id))
    lost = last_event_id is not None and cursor is None
    return StreamingResponse(
        _sent(tellings, lost=lost), media_type=_STREAM, headers={"X-Accel-Buffering": "no"}
    )


async def _sent(tellings: AsyncGenerator[Telling, None], *, lost: bool) -> AsyncIterator[bytes]:
    yield f"retry: {_COME_BACK_MS}\n\n".encode()
    if lost:
        yield b": that Last-Event-ID is too old, or none of ours: this is another beginning\n\n"
    try:
        async with aclosing(tellings):
            async for telling in tellings:
                yield telling.sent
    except WorkerError as error:
        log.warning("web.feed_broken_off", error=str(error))
        yield b": the database does not answer: come back with the id of the last event\n\n"
