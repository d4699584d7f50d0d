"""The newest orders and noes, kept up as they happen, for every page that shows them.

It is one follower of the feed (docs/decisions/0017): each event is heard once. An event says that something happened; how
an order stands then is read from the orders themselves, so that a badge here is the status everywhere else. While nobody
looks it follows nothing.
"""

import asyncio
from collections import OrderedDict, deque
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final

import structlog

from worker.database.reports import OrderChoice, Reports
from worker.database.values import Row, rows_of, text_of
from worker.errors import WorkerError
from worker.web.hub import FeedHub

log = structlog.get_logger(__name__)

_ORDERS_BACK: Final = timedelta(hours=24)
_NOES_BACK: Final = timedelta(minutes=30)
_ORDERS: Final = 100
_NOES: Final = 200
_FILLS_KEPT: Final = 200
_NUMBERS_KEPT: Final = 10_000  # many times what is booked in the half hour that is looked back
_FILLED: Final = frozenset({"fill.booked", "fill.settled"})
_UNWATCHED_AFTER_S: Final = 10.0
_AFTER_FAILURE_S: Final = 2.0
_BREATH_S: Final = 0.2  # between two readings of the orders, however much happens


@dataclass(frozen=True, slots=True)
class _Fill:
    number: int
    event: Row


@dataclass(slots=True)
class Tape:
    """One for a process: `run()` it for as long as pages are served."""

    reports: Reports
    hub: FeedHub
    version: int = 0  # changes with `orders`, `noes` and `failure`
    known: bool = False  # the orders were read, if not just now
    failure: str = ""  # why it cannot be read; "": it can
    orders: tuple[Row, ...] = ()  # of lt_order_list, the newest first
    noes: OrderedDict[tuple[str, ...], Row] = field(
        default_factory=OrderedDict
    )  # order.decided, the newest last
    newest: int = 0  # the number of the newest fill
    _fills: deque[_Fill] = field(default_factory=lambda: deque(maxlen=_FILLS_KEPT))
    _heard: OrderedDict[str, None] = field(default_factory=OrderedDict)  # numbers of fills, in the ledger
    _watched_at_s: float = 0.0
    _watched: asyncio.Event = field(default_factory=asyncio.Event)
    _stale: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> int:
        """Whoever looks says so, again and again; returns the version that there is."""
        self._watched_at_s = monotonic()
        self._watched.set()
        return self.version

    def fills_after(self, number: int) -> list[Row]:
        """What was filled since the one of that number: `newest` when the caller began to listen, or asked last."""
        return [fill.event for fill in self._fills if fill.number > number]

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._read())

    async def _follow(self) -> None:
        cursor: Row | None = None
        while True:
            await self._watched.wait()
            self._stale.set()
            news = cursor is not None  # the past that is told first is not worth a toast
            try:
                async with aclosing(self.hub.follow(cursor, back=_NOES_BACK)) as tellings:
                    async for telling in tellings:
                        cursor = telling.cursor
                        for told in telling.events:
                            self._hear(told.event, news=news)
                        news = news or not (telling.events or telling.away_since)
                        if not self._is_watched():
                            break
            except WorkerError as error:
                await self._fail(error)
            if not self._is_watched():
                cursor = None  # whoever opens a page on Monday is not told of the weekend
            await asyncio.sleep(_BREATH_S)  # a feed that is closed for good lets everybody go at once

    async def _read(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                answer = await self.reports.orders(OrderChoice.ALL, _ORDERS_BACK, limit=_ORDERS)
            except WorkerError as error:
                self._stale.set()
                await self._fail(error)
                continue
            self.orders, self.known, self.failure = tuple(rows_of(answer, "orders")), True, ""
            self.version += 1
            await asyncio.sleep(_BREATH_S)

    def _is_watched(self) -> bool:
        if monotonic() - self._watched_at_s > _UNWATCHED_AFTER_S:
            self._watched.clear()
        return self._watched.is_set()

    async def _fail(self, error: WorkerError) -> None:
        if not self.failure:
            log.warning("web.tape_not_read", error=str(error))
        self.failure = str(error)
        self.version += 1
        await asyncio.sleep(_AFTER_FAILURE_S)

    def _hear(self, event: Row, *, news: bool) -> None:
        pair = (text_of(event, "strategy_id"), text_of(event, "mode"), text_of(event, "ft_order_id"))
        kind = text_of(event, "event")
        if kind == "order.decided" and event.get("state") != "executed":
            self.noes[pair] = event
            self.noes.move_to_end(pair)
            while len(self.noes) > _NOES:
                self.noes.popitem(last=False)
        else:
            self.noes.pop(pair, None)
            self._stale.set()
        if kind in _FILLED and self._is_new(event) and news and event.get("state") != "reversed":
            self.newest += 1
            self._fills.append(_Fill(self.newest, event))
        self.version += 1

    def _is_new(self, fill: Row) -> bool:
        """Whether its number was not heard before: it is booked, sometimes with another fee again, and settled.

        What is final when it is first seen, as every trade on paper, is never told as booked.
        """
        number = text_of(fill, "key")[1:]
        if number in self._heard:
            return False
        self._heard[number] = None
        if len(self._heard) > _NUMBERS_KEPT:
            self._heard.popitem(last=False)
        return True
