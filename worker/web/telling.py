"""What those who follow the feed are told at once: some events, each with the cursor of whoever heard it.

One telling is handed to all who follow, and is written for the wire once: fifty streams cost the writing of one.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from worker.database.reports import FeedPage
from worker.database.values import Row
from worker.observe.log import redact
from worker.orders.terms import StrategyId
from worker.web.cursors import write_cursor


@dataclass(frozen=True)
class Told:
    """An event, and the cursor of whoever heard it and none after it."""

    cursor: Row
    event: Row

    @cached_property
    def sent(self) -> bytes:
        """As an event of a stream."""
        data = redact(json.dumps(self.event, default=str))
        return f"{_place(self.cursor)}event: {self.event.get('event')}\ndata: {data}\n\n".encode()


@dataclass(frozen=True)
class Telling:
    """`cursor`: of whoever heard all of it; None: he has none yet. No event: nothing happened for a while, up to there.

    `away_since`: the database has told nothing since then, and what happens is told when it is back.
    """

    cursor: Row | None
    events: tuple[Told, ...] = ()
    away_since: str = ""

    @classmethod
    def of(cls, page: FeedPage) -> Self:
        return cls(page.cursor, tuple(Told(page.after_event(event), event) for event in page.events))

    def about(self, strategy_id: StrategyId | None) -> Self:
        """What of it is about that strategy; None: all of it."""
        if strategy_id is None:
            return self
        kept = tuple(one for one in self.events if one.event.get("strategy_id") == strategy_id)
        return type(self)(self.cursor, kept)

    @cached_property
    def sent(self) -> bytes:
        """As events of a stream. One that only moves the id on is not dispatched by a browser, and keeps the line open."""
        if not self.events:
            why = (
                f"the database does not answer since {self.away_since}" if self.away_since else "nothing new"
            )
            return f": {why}\n{_place(self.cursor) if self.cursor else ''}\n".encode()
        return b"".join(one.sent for one in self.events)


def _place(cursor: Row) -> str:
    return f"id: {write_cursor(cursor)}\n"
