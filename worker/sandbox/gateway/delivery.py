"""The last step of a row: to the socket, or whatever the faults in force make of it.

Every loss is booked on the fault that caused it. A fault's own words about rows (`Guise`) are `Renderer`'s.
"""

import asyncio
from collections import deque
from typing import Final

from worker.sandbox.gateway.changes import Transaction
from worker.sandbox.gateway.channels import Channel
from worker.sandbox.gateway.effects import (
    Batch,
    Disguise,
    Effect,
    Inflate,
    LimitRate,
    Reorder,
    Repeat,
    Skip,
    Withhold,
)
from worker.sandbox.gateway.rendering import Guise
from worker.sandbox.gateway.sessions import Session
from worker.sandbox.gateway.strikes import Strike, Strikes

_PADDING: Final = " " * (1024 * 1024)  # what websockets' clients take, and the library offers no setting for


class Delivery:
    """Hands rows to sessions, in the order they are given unless a fault says otherwise."""

    def __init__(self, strikes: Strikes) -> None:
        self._strikes = strikes
        self._meters: dict[Strike[Effect], _Meter] = {}
        self._held: list[tuple[Session, str, str]] = []

    def weigh(self, transaction: Transaction) -> None:
        """Tells of the rows that come next, before the first of them is handed over."""
        strike = self._strikes.find(LimitRate, {change.relation.table for change in transaction.changes})
        if strike is not None:
            meter = self._meters.setdefault(strike, _Meter(strike.effect.rows, strike.delay_s))
            meter.weigh(len(transaction.changes))

    def hand(self, session: Session, channel: Channel, table: str, frame: str) -> None:
        strike = channel.deafened_by or self._losing(table)
        if strike is not None:
            strike.lose(table)
            return
        if self._strikes.in_force:
            self._hand_changed(session, table, frame)
        else:
            session.send(frame, row_of=table)

    def _losing(self, table: str) -> Strike[Effect] | None:
        """The fault for which a row of `table` is lost."""
        for strike in self._strikes.in_force:
            if not strike.reaches((table,)):
                continue
            match strike.effect:
                case Withhold():
                    return strike
                case Skip(rows) if strike.struck < rows:
                    if strike.struck == rows - 1:
                        strike.end()
                    return strike
                case LimitRate() if strike in self._meters and self._meters[strike].over:
                    return strike
                case _:
                    pass
        return None

    def _hand_changed(self, session: Session, table: str, frame: str) -> None:
        disguise = self._strikes.find(Disguise, (table,))
        if disguise is not None:
            disguise.struck += 1
            if disguise.effect.guise is not Guise.TRUNCATED:
                disguise.lost[table] += 1
        inflate = self._strikes.find(Inflate, (table,))
        if inflate is not None and not inflate.struck:
            inflate.lose(table)
            inflate.end()
            frame += _PADDING
        batch = self._strikes.find(Batch, (table,))
        if batch is not None:
            batch.struck += 1
        repeat = self._strikes.find(Repeat, (table,))
        if repeat is not None:
            repeat.struck += 1
            session.send(frame, row_of=table)
        reorder = self._strikes.find(Reorder, (table,))
        if reorder is not None:
            reorder.struck += 1
            self._hold(session, table, frame, reorder.delay_s)
        else:
            session.send(frame, row_of=table)

    def _hold(self, session: Session, table: str, frame: str, for_s: float) -> None:
        self._held.append((session, table, frame))
        if len(self._held) == 1:
            asyncio.get_running_loop().call_later(for_s, self._release)

    def _release(self) -> None:
        held, self._held = self._held, []
        for session, table, frame in reversed(held):
            session.send(frame, row_of=table)


class _Meter:
    """The server's rate limit: an average over a window, of what was let through."""

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._let_through: deque[tuple[float, int]] = deque()
        self.over = False

    def weigh(self, rows: int) -> None:
        """Decides on the next `rows` rows together, as the server does with a transaction."""
        now = asyncio.get_running_loop().time()
        while self._let_through and self._let_through[0][0] <= now - self._window_s:
            self._let_through.popleft()
        self.over = sum(count for _, count in self._let_through) > self._limit
        if not self.over:
            self._let_through.append((now, rows))
