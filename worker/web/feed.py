"""GET /api/lt/feed: decisions and fills as server-sent events, resumable by Last-Event-ID.

An event's id is the place in the database's own history after it (decision 0017), so a browser that comes back, to this
process or to another one, gets what it missed and nothing twice.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from worker.errors import DatabaseUnreachable, WorkerError
from worker.orders.terms import StrategyId
from worker.web.cursors import read_cursor
from worker.web.hub import FeedHub
from worker.web.kinds import Asked, OnlyStrategy, known, strategy_of, troubles
from worker.web.telling import Telling

log = structlog.get_logger(__name__)
router = APIRouter()

_STREAM: Final = "text/event-stream"
_TAKEN_WITHIN_S: Final = 30.0
_COME_BACK_MS: Final = 1000
_NO_SEAT_MS: Final = 10_000
_CROWDED: Final = (
    f"retry: {_NO_SEAT_MS}\n: as many feeds are open as there may be: come back when one has ended\n\n"
).encode()
_EXAMPLE: Final = (
    "id: eyJz...\nevent: order.decided\n"
    'data: {"event": "order.decided", "strategy_id": "LT_VALUE", "state": "executed", "reason": "executed"}\n\n'
)


class Stream(StreamingResponse):
    """Pieces as they come. Whoever does not take one in time is let go, and comes back with the id of his last event."""

    def __init__(self, pieces: AsyncGenerator[bytes, None]) -> None:
        super().__init__(pieces, media_type=_STREAM, headers={"X-Accel-Buffering": "no"})
        self._pieces = pieces

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(_TAKEN_WITHIN_S):
                await send(message)

        async with aclosing(self._pieces):
            try:
                await super().stream_response(in_time)
            except TimeoutError:  # what he left lies in the buffers of his connection, which ends here
                log.info("web.follower_stuck", within_s=_TAKEN_WITHIN_S)


def _hub(request: Request) -> FeedHub:
    hub: FeedHub = request.app.state.feed
    return hub


async def _seated(hub: Annotated[FeedHub, Depends(_hub)]) -> AsyncIterator[bool]:
    """A dependency of whatever streams: its end is the end of the stream."""
    with hub.seat() as is_free:
        yield is_free


async def _only(asked: Asked, strategy_id: str | None) -> StrategyId | None:
    """Raises HTTPException 404. A database that is away judges no name, and is waited for: see the hub."""
    try:
        return await known(asked, strategy_id)
    except DatabaseUnreachable:
        return strategy_of(strategy_id)


@router.get(
    "/feed",
    response_class=StreamingResponse,
    responses={
        200: {"content": {_STREAM: {"schema": {"type": "string"}, "example": _EXAMPLE}}},
        **troubles(404),
    },
)
async def feed(
    hub: Annotated[FeedHub, Depends(_hub)],
    asked: Asked,
    is_seated: Annotated[bool, Depends(_seated)],
    strategy_id: OnlyStrategy = None,
    back_s: Annotated[
        int, Query(ge=0, le=86400, description="Begin with what happened since so long ago.")
    ] = 0,
    follow: Annotated[bool, Query(description="False: no further than now.")] = True,  # noqa: FBT002 - of a query
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that was received.")
    ] = None,
) -> Stream:
    """What happens, as it happens: order.decided, fill.booked, fill.settled, order.closed, as `feed --json` prints them.

    A cursor that is older than a day, or none of ours, begins anew with `back_s`, and a comment says so. Where
    `web.feeds_most` of them are open, a stream ends at once with `retry: 10000`: a browser comes back by itself then, and
    never after another status than 200. The same while the database is away: a comment says since when.
    """
    if not is_seated:
        return Stream(_once(_CROWDED))
    cursor = None if last_event_id is None else read_cursor(last_event_id, now=datetime.now(UTC))
    read = hub.follow if follow else hub.until_now
    tellings = read(cursor, back=timedelta(seconds=back_s), strategy_id=await _only(asked, strategy_id))
    lost = last_event_id is not None and cursor is None
    return Stream(_sent(tellings, lost=lost))


async def _once(piece: bytes) -> AsyncGenerator[bytes, None]:
    yield piece


async def _sent(tellings: AsyncGenerator[Telling, None], *, lost: bool) -> AsyncGenerator[bytes, None]:
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
