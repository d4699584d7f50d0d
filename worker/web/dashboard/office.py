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
    """`may_act`: he has shown the token. `may_sign_in`: there is one to show."""

    may_read: bool
    may_act: bool
    may_sign_in: bool


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
        known = session.holds(request.cookies.get(session.COOKIE), self.door.token, int(time()))
        return Visitor(
            may_read=known or not self.door.reads_need_token,
            may_act=known,
            may_sign_in=self.door.token is not None,
        )
