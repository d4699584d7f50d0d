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
from datetime import timedelta
from time import monotonic
from typing import Final

import structlog

from worker.database.reports import FeedPage, Reports
from worker.database.values import Row, moment_text
from worker.errors import WorkerError
from worker.orders.terms import StrategyId

log = structlog.get_logger(__name__)

_PAGES_MOST: Final = 64
_REST_MOST_S: Final = 10.0
_QUIET_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Told:
    """`event` None: nothing happened for a while, up to `cursor`."""

    cursor: Row
    event: Row | None


class _Follower:
    """What he has not read yet, the newest last; None: he was let go."""

    def __init__(self, behind_most: int) -> None:
        self._pages: asyncio.Queue[FeedPage | None] = asyncio.Queue(behind_most)
        self.joining = True

    def tell(self, page: FeedPage) -> None:
        try:
            self._pages.put_nowait(page)
        except asyncio.QueueFull:
            log.info("web.follower_let_go", behind=self._pages.qsize())
            self.let_go()

    @property
    def has_read_all(self) -> bool:
        return self._pages.empty()

    def let_go(self) -> None:
        while not self._pages.empty():
            self._pages.get_nowait()
        self._pages.put_nowait(None)

    async def next(self, *, within_s: float | None = None) -> FeedPage | None:
        """Raises TimeoutError."""
        async with asyncio.timeout(within_s):
            return await self._pages.get()


class FeedHub:
    """`run` is a task of its own; `follow` is what each follower reads."""

    def __init__(self, reports: Reports, *, every_s: float, behind_most: int = _PAGES_MOST) -> None:
        """`behind_most`: pages that a follower may lie behind before he is let go."""
        self._reports = reports
        self._every_s = every_s
        self._behind_most = behind_most
        self._followers: set[_Follower] = set()
        self._asked = asyncio.Event()
        self._closed = False
        self._cursor: Row | None = None  # None: nobody follows

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
                (log.warning if rest_s == self._every_s else log.debug)("web.feed_not_read", error=str(error))
                rest_s = min(rest_s * 2, _REST_MOST_S)
            else:
                self._cursor, rest_s = page.cursor, self._every_s
                self._tell(page)
                if page.more:
                    continue
            await self._rest(rest_s)

    def close(self) -> None:
        """Let everybody go: the process ends."""
        self._closed = True
        for follower in self._followers:
            follower.let_go()

    async def follow(
        self, cursor: Row | None, *, back: timedelta = timedelta(0), strategy_id: StrategyId | None = None
    ) -> AsyncGenerator[Told, None]:
        """Every event since the cursor, or since `back` ago, each with the cursor of whoever heard it; then as they happen.

        Ends when he is let go. Raises what `Reports` raises while it catches up.
        """
        with self._joined() as follower:
            first = await self._whole_look(follower)
            if first is None:
                return
            if cursor is not None or back:
                begins = cursor or {"from": moment_text(self._reports.database.clock.now() - back)}
                async for told in self._missed(begins, first, strategy_id):
                    yield told
            yield Told(first.cursor, None)
            async for told in self._heard(follower, first.cursor, strategy_id):
                yield told

    async def until_now(
        self, cursor: Row | None, *, back: timedelta = timedelta(0), strategy_id: StrategyId | None = None
    ) -> AsyncGenerator[Told, None]:
        """As `follow`, and no further than now."""
        more = True
        while more:
            page = await self._reports.feed(cursor, back=back, strategy_id=strategy_id)
            for event in page.events:
                yield Told(page.after_event(event), event)
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

    async def _whole_look(self, follower: _Follower) -> FeedPage | None:
        """The first look that was told to its end: what came before it is asked for, what comes after it is heard."""
        while (page := await follower.next()) is not None:
            if not page.more:
                follower.joining = False
                return page
        return None

    async def _missed(
        self, cursor: Row, until: FeedPage, strategy_id: StrategyId | None
    ) -> AsyncGenerator[Told, None]:
        bound = {name: until.page[name] for name in ("upto", "as_of")}
        while cursor.get("seen") != bound["upto"]:
            page = await self._reports.feed(
                cursor if "upto" in cursor else {**cursor, **bound}, strategy_id=strategy_id
            )
            for event in page.events:
                yield Told(page.after_event(event), event)
            cursor = page.cursor

    async def _heard(
        self, follower: _Follower, cursor: Row, strategy_id: StrategyId | None
    ) -> AsyncGenerator[Told, None]:
        """`cursor`: up to which he was told. What happens to other strategies is silence to who follows one alone."""
        due_s = monotonic() + _QUIET_S
        while True:
            with suppress(TimeoutError):
                page = await follower.next(within_s=max(0.0, due_s - monotonic()))
                if page is None:
                    return
                for event in page.events:
                    if strategy_id is None or event.get("strategy_id") == strategy_id:
                        yield Told(page.after_event(event), event)
                        due_s = monotonic() + _QUIET_S
                cursor = page.cursor
            if monotonic() >= due_s:
                if follower.has_read_all and self._cursor is not None:
                    cursor = self._cursor  # the looks that found nothing were not told him
                yield Told(cursor, None)
                due_s = monotonic() + _QUIET_S

    def _tell(self, page: FeedPage) -> None:
        """A look at which nothing was new wakes nobody but those who wait for one."""
        for follower in self._followers:
            if page.events or follower.joining:
                follower.tell(page)

    async def _rest(self, rest_s: float) -> None:
        """Until the next look is due, or somebody comes and waits for it."""
        try:
            async with asyncio.timeout(rest_s):
                await self._asked.wait()
        except TimeoutError:
            return
