"""The faults in force and what they have cost so far: asked by every part of the gateway that a fault can touch."""

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar, cast

from worker.sandbox.gateway.effects import Disguise, Effect, KeepsAway
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.rendering import Guise

E = TypeVar("E", bound=Effect)
E_co = TypeVar("E_co", bound=Effect, covariant=True)


@dataclass(slots=True, eq=False)
class Strike(Generic[E_co]):
    """One infliction of a fault. `delay_s` is the effect's own duration, if it has one."""

    fault: Fault
    effect: E_co
    delay_s: float
    table: str | None
    """It strikes only the channels that listen to this table; None for all."""
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    struck: int = 0
    """How many rows, channels, joins, heartbeats, upgrades or sockets it has touched."""
    lost: Counter[str] = field(default_factory=Counter)
    """Rows, by table, that a channel should have heard and never will."""
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def rows_lost(self) -> int:
        return self.lost.total()

    def reaches(self, tables: Collection[str]) -> bool:
        return self.table is None or self.table in tables

    def lose(self, table: str) -> None:
        self.struck += 1
        self.lost[table] += 1

    def end(self) -> None:
        """Asks it to end; `over` tells when it has."""
        self._ending.set()

    async def ending(self) -> None:
        await self._ending.wait()

    async def over(self) -> None:
        """Returns when it has ended, and all that its end brings has happened."""
        await self._over.wait()

    def close(self) -> None:
        """Notes that it has ended."""
        self.ended_at = datetime.now(UTC)
        self._over.set()


class Strikes:
    """What is in force, oldest first, and all there ever was."""

    def __init__(self) -> None:
        self.in_force: list[Strike[Effect]] = []
        self.history: list[Strike[Effect]] = []
        self.published: Counter[str] = Counter()
        """Rows, by table, that have come from the database's log."""
        self.unheard: Counter[str] = Counter()
        """Rows, by table, that no live channel was there to hear."""

    def begin(self, strike: Strike[Effect]) -> None:
        self.in_force.append(strike)
        self.history.append(strike)

    def end(self, strike: Strike[Effect]) -> None:
        self.in_force.remove(strike)
        strike.close()

    def find(self, kind: type[E], tables: Collection[str] = ()) -> Strike[E] | None:
        """The oldest fault in force with such an effect that reaches one of `tables`."""
        for strike in self.in_force:
            if isinstance(strike.effect, kind) and strike.reaches(tables):
                return cast("Strike[E]", strike)
        return None

    def guise_of(self, table: str) -> Guise | None:
        """How the rows of `table` are told."""
        disguise = self.find(Disguise, (table,))
        return None if disguise is None else disguise.effect.guise

    def nobody_heard(self, table: str) -> None:
        """Books a row that no live channel was there to hear: on the last fault that keeps clients away, if any."""
        self.unheard[table] += 1
        for strike in reversed(self.in_force):
            if isinstance(strike.effect, KeepsAway) and strike.reaches((table,)):
                strike.lost[table] += 1
                return
