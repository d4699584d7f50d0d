"""What the pages of one process share, and what one visitor may do on them."""

from dataclasses import dataclass
from time import time
from typing import Self

from fastapi import Request

from worker.database.reports import Reports
from worker.web.dashboard import session
from worker.web.dashboard.look import Look
from worker.web.dashboard.tape import Tape
from worker.web.door import Door
from worker.web.hub import FeedHub


@dataclass(frozen=True, slots=True)
class Visitor:
    """`known_until_s`: he has shown the token, and is known by it until then. `may_sign_in`: there is one to show."""

    known_until_s: int
    reads_need_token: bool
    may_sign_in: bool

    @property
    def may_act(self) -> bool:
        """Asked at every click: a page may stay open for longer than that."""
        return time() < self.known_until_s

    @property
    def may_read(self) -> bool:
        return self.may_act or not self.reads_need_token


@dataclass(frozen=True, slots=True)
class Office:
    """`pace_s`: how often the feed is looked at; pages hear it twice as often, and look at the figures every fourth time."""

    reports: Reports
    look: Look
    tape: Tape
    door: Door
    pace_s: float

    @classmethod
    def of(cls, reports: Reports, feed: FeedHub, door: Door, pace_s: float) -> Self:
        return cls(reports, Look(reports, ttl_s=4 * pace_s), Tape(reports, feed), door, pace_s)

    @property
    def hear_every_s(self) -> float:
        return self.pace_s / 2

    @property
    def look_every_s(self) -> float:
        return 4 * self.pace_s

    def visitor(self, request: Request) -> Visitor:
        door = self.door
        known_until_s = session.until_s(request.cookies.get(session.COOKIE), door.token)
        return Visitor(known_until_s, door.reads_need_token, may_sign_in=door.token is not None)
