"""Followers of the live feed as tests need them: what they heard, and a line to the database that can be cut."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.web.conftest import Site, events_of
from worker.database.client import CallReport, CallTiming, SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.orders.terms import Mode
from worker.web.hub import FeedHub
from worker.web.telling import Telling


async def decided(site: Site, count: int, strategy_id: str = "LT_ONE") -> list[str]:
    """So many new signals of the strategy, skipped one after the other; their ids."""
    wallet = "FT_ONE" if strategy_id == "LT_ONE" else "FT_TWO"
    signals = [await site.desk.signal(wallet_id=wallet) for _ in range(count)]
    for signal in signals:
        await site.desk.decide(signal, strategy_id)
    return signals


def ids(heard: Iterable[Mapping[str, Any]]) -> list[str]:
    return [one["ft_order_id"] for one in heard]


async def past(site: Site, last_event_id: str = "", **params: Any) -> list[dict[str, Any]]:
    """What a stream tells that goes no further than now."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    answer = await site.client.get("/api/lt/feed", params={"follow": "false", **params}, headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return events_of(answer.text)


async def now_of(site: Site) -> str:
    """The id of this moment: of the last thing that happened."""
    await decided(site, 1)
    return str((await past(site, back_s=3600))[-1]["id"])


class Line(httpx.AsyncHTTPTransport):
    """A line to the database that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.at_once_most = 0
        self._at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("the line is cut", request=request)
        self._at_once += 1
        self.at_once_most = max(self.at_once_most, self._at_once)
        try:
            return await super().handle_async_request(request)
        finally:
            self._at_once -= 1


@dataclass
class Watched:
    """Reports of one's own, how often each function was called for them, and their line."""

    reports: Reports
    calls: Counter[str]
    line: Line


@asynccontextmanager
async def watched(site: Site, *, deadline_s: float = 10) -> AsyncIterator[Watched]:
    calls: Counter[str] = Counter()
    line = Line()

    def count(report: CallReport) -> None:
        calls[report.function] += 1

    access = DatabaseAccess(url=site.supabase.url, key=site.supabase.service_role_key)
    timing = CallTiming(deadline_s=deadline_s)
    async with await SupabaseDatabase.open(access, timing=timing, on_call=count, transport=line) as database:
        yield Watched(Reports(database, Mode.PAPER), calls, line)


@asynccontextmanager
async def running(hub: FeedHub) -> AsyncIterator[FeedHub]:
    looking = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        looking.cancel()
        await asyncio.wait([looking])


class Ear:
    """One follower, and what he heard."""

    def __init__(self, hub: FeedHub) -> None:
        self.heard: list[str] = []
        self.tellings: list[Telling] = []
        self.away: list[bytes] = []  # what he was sent while the database was
        self.follows = asyncio.Event()
        self._hub = hub

    async def listen(self) -> None:
        async with aclosing(self._hub.follow(None)) as tellings:
            async for telling in tellings:
                if telling.events:
                    self.tellings.append(telling)
                    self.heard += told_in(telling)
                elif telling.away_since:
                    self.away.append(telling.sent)
                else:
                    self.follows.set()


def told_in(telling: Telling) -> list[str]:
    return ids([one.event for one in telling.events])


async def told_by(tellings: AsyncGenerator[Telling, None]) -> list[str]:
    async with aclosing(tellings):
        return [signal async for telling in tellings for signal in told_in(telling)]
