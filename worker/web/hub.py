"""The live feed, shared: one look at the database for all who follow, and to each of them every event once.

While anybody follows, the database is asked every `every_s`; while nobody does, never. Whoever comes waits for the next
look, is told from the database what happened between his cursor and that look, and hears of every look after it: neither
a gap nor an event twice. One who does not keep up is let go, comes back with the cursor of the last event that he got,
and misses nothing either.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import structlog

from worker.database.reports import FeedPage, Reports
from worker.database.values import Row, moment_text
from worker.errors import WorkerError
from worker.orders.terms import StrategyId
from worker.web.telling import Telling

log = structlog.get_logger(__name__)

_LOOKS_MOST: Final = 64
_STREAMS_MOST: Final = 200
_PASTS_AT_ONCE: Final = 4  # of all who catch up: the database is the traders' first
_REST_MOST_S: Final = 10.0
_QUIET_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What the database told, and what all who follow are told of it."""

    page: FeedPage
    telling: Telling


class _Follower:
    """What he has not read yet, the newest last; None: he was let go."""

    def __init__(self, behind_most: int) -> None:
        self._looks: asyncio.Queue[_Look | None] = asyncio.Queue(behind_most)
        self.joining = True
        self.is_gone = False

    def tell(self, look: _Look) -> None:
        try:
            self._looks.put_nowait(look)
        except asyncio.QueueFull:
            log.info("web.follower_let_go", behind=self._looks.qsize())
            self.let_go()

    @property
    def has_read_all(self) -> bool:
        return self._looks.empty()

    def let_go(self) -> None:
        self.is_gone = True
        while not self._looks.empty():
            self._looks.get_nowait()
        self._looks.put_nowait(None)

    async def next(self, *, within_s: float | None = None) -> _Look | None:
        """Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            return await self._looks.get()


class FeedHub:
    """`run` is a task of its own; `follow` is what each follower reads."""

    def __init__(
        self,
        reports: Reports,
        *,
        every_s: float,
        behind_most: int = _LOOKS_MOST,
        open_most: int = _STREAMS_MOST,
    ) -> None:
        """`behind_most`: looks that a follower may lie behind before he is let go. `open_most`: seats that there are."""
        self._reports = reports
        self._every_s = every_s
        self._behind_most = behind_most
        self._followers: set[_Follower] = set()
        self._asked = asyncio.Event()
        self._pasts = asyncio.Semaphore(_PASTS_AT_ONCE)
        self._open_most = open_most
        self._open = 0
        self._is_crowded = False
        self._closed = False
        self._cursor: Row | None = None  # None: nobody follows
        self._away_since = ""  # the database does not answer

    async def run(self) -> None:
        """Look and tell, until cancelled. A database that does not answer is asked again, ever more seldom."""
        rest_s = self._every_s
        while True:
            if not self._followers:
                self._cursor = (
                    None  # what happens meanwhile is nobody's: whoever comes asks for what he missed
                )
                await self._asked.wait()
            self._asked.clear()
            try:
                page = await self._reports.feed(self._cursor)
            except WorkerError as error:
                (log.debug if self._away_since else log.warning)("web.feed_not_read", error=str(error))
                self._away_since = self._away_since or self._now().isoformat(timespec="seconds")
                rest_s = min(rest_s * 2, _REST_MOST_S)
            else:
                self._cursor, rest_s, self._away_since = page.cursor, self._every_s, ""
                self._tell(page)
                if page.more:
                    continue
            await self._rest(rest_s)

    def close(self) -> None:
        """Let everybody go: the process ends."""
        self._closed = True
        for follower in self._followers:
            follower.let_go()

    @contextmanager
    def seat(self) -> Iterator[bool]:
        """For as long as a stream is open. False: there is none left."""
        if self._open >= self._open_most:
            if not self._is_crowded:
                log.warning("web.feed_crowded", open=self._open)
            self._is_crowded = True
            yield False
            return
        self._open += 1
        try:
            yield True
        finally:
            self._open -= 1
            self._is_crowded = False

    async def follow(
        self, cursor: Row | None, *, back: timedelta = timedelta(0), strategy_id: StrategyId | None = None
    ) -> AsyncGenerator[Telling, None]:
        """Every event since the cursor, or since `back` ago, a page at a time; then as they happen.

        Ends when he is let go. Raises what `Reports` raises while it catches up. A database that is away is waited for.
        """
        with self._joined() as follower:
            while (first := await self._whole_look(follower, within_s=_QUIET_S)) is None:
                if follower.is_gone:
                    return
                if self._away_since:
                    yield Telling(cursor, away_since=self._away_since)
            if cursor is not None or back:
                begins = cursor or {"from": moment_text(self._now() - back)}
                async for telling in self._missed(begins, first, strategy_id):
                    yield telling
            yield Telling(first.cursor)
            async for telling in self._heard(follower, first.cursor, strategy_id):
                yield telling

    async def until_now(
        self, cursor: Row | None, *, back: timedelta = timedelta(0), strategy_id: StrategyId | None = None
    ) -> AsyncGenerator[Telling, None]:
        """As `follow`, and no further than now."""
        more = True
        while more:
            async with self._pasts:
                page = await self._reports.feed(cursor, back=back, strategy_id=strategy_id)
            if page.events:
                yield Telling.of(page)
            # A cursor from within a page leads to the end of that page's look first.
            more = page.more or (cursor is not None and "upto" in cursor)
            cursor = page.cursor

    @contextmanager
    def _joined(self) -> Iterator[_Follower]:
        follower = _Follower(self._behind_most)
        self._followers.add(follower)
        if self._closed:
            follower.let_go()
        self._asked.set()
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def _whole_look(self, follower: _Follower, *, within_s: float) -> FeedPage | None:
        """The first look that was told to its end: what came before it is asked for, what comes after it is heard.

        None: there was none in that time, or he was let go.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (look := await follower.next()) is not None:
                    if not look.page.more:
                        follower.joining = False
                        return look.page
        return None

    async def _missed(
        self, cursor: Row, until: FeedPage, strategy_id: StrategyId | None
    ) -> AsyncGenerator[Telling, None]:
        bound = {name: until.page[name] for name in ("upto", "as_of")}
        while cursor.get("seen") != bound["upto"]:
            async with self._pasts:
                page = await self._reports.feed(
                    cursor if "upto" in cursor else {**cursor, **bound}, strategy_id=strategy_id
                )
            if page.events:
                yield Telling.of(page)
            cursor = page.cursor

    async def _heard(
        self, follower: _Follower, cursor: Row, strategy_id: StrategyId | None
    ) -> AsyncGenerator[Telling, None]:
        """`cursor`: up to which he was told. What happens to other strategies is silence to who follows one alone."""
        due_s = monotonic() + _QUIET_S
        while True:
            with suppress(TimeoutError):
                look = await follower.next(within_s=max(0.0, due_s - monotonic()))
                if look is None:
                    return
                telling = look.telling.about(strategy_id)
                if telling.events:
                    yield telling
                    due_s = monotonic() + _QUIET_S
                cursor = look.page.cursor
            if monotonic() >= due_s:
                if follower.has_read_all and self._cursor is not None:
                    cursor = self._cursor  # the looks that found nothing were not told him
                yield Telling(cursor, away_since=self._away_since)
                due_s = monotonic() + _QUIET_S

    def _now(self) -> datetime:
        return self._reports.database.clock.now()

    def _tell(self, page: FeedPage) -> None:
        """A look at which nothing was new wakes nobody but those who wait for one."""
        look = _Look(page, Telling.of(page))
        for follower in self._followers:
            if page.events or follower.joining:
                follower.tell(look)

    async def _rest(self, rest_s: float) -> None:
        """Until the next look is due. Whoever comes and waits for it is not made to wait for a long one, and hastens none."""
        await asyncio.sleep(self._every_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s - self._every_s):
                await self._asked.wait()
