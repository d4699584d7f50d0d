"""A feed at work beside a test, and what it told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection

from tests.database.phoenix import Phoenix
from tests.support.eventually import eventually
from worker.database.realtime import FeedCount, FeedState, RealtimeFeed
from worker.database.realtime_session import FeedTiming

# Quick wherever time passes for its own sake; patient wherever an answer is awaited that a busy machine only delays.
FAST = FeedTiming(
    join_s=20.0,
    live_s=20.0,
    close_s=0.5,
    backoff_first_s=0.02,
    backoff_max_s=0.05,
    healthy_after_s=10.0,
    rate_limited_s=0.4,
    refused_s=0.6,
    side_retry_s=0.2,
    ping_interval_s=0.2,
    ping_timeout_s=20.0,
    close_handshake_s=0.2,
)


@dataclass
class Heard:
    """What a listener was told."""

    signals: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    states: list[tuple[FeedState, str]] = field(default_factory=list)
    counts: list[FeedCount] = field(default_factory=list)
    told_s: list[float] = field(default_factory=list)

    def state(self, state: FeedState, detail: str) -> None:
        self.states.append((state, detail))
        self.told_s.append(asyncio.get_running_loop().time())

    tables: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[FeedState]:
        return [state for state, _ in self.states]

    def times(self, state: FeedState) -> int:
        return self.words.count(state)


@asynccontextmanager
async def feed_of(
    server: Phoenix, heard: Heard, timing: FeedTiming = FAST, **handlers: Any
) -> AsyncIterator[RealtimeFeed]:
    feed = RealtimeFeed(
        server.access,
        timing=timing,
        on_signal=handlers.get("on_signal", heard.signals.append),
        on_change=handlers.get("on_change", lambda table, row: heard.changes.append((table, row))),
        on_state=handlers.get("on_state", heard.state),
        on_table_live=heard.tables.append,
        on_count=heard.counts.append,
    )
    before = asyncio.all_tasks()
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await eventually(lambda: not _leftover(before))


def _leftover(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Tasks of the feed that are still there; a task that was cancelled ends a turn of the loop later."""
    return {task for task in asyncio.all_tasks() - before if not is_of_a_server(task)}


def is_of_a_server(task: asyncio.Task[Any]) -> bool:
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is None or isinstance(frame.f_locals.get("self"), Server | ServerConnection)


async def live(heard: Heard, times: int = 1) -> None:
    await eventually(lambda: heard.times(FeedState.LIVE) >= times)
