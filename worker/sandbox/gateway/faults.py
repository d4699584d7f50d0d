"""Inflicts the known faults on a running gateway, ends them, and keeps what each has cost.

strike = await gateway.faults.inflict(Fault.SILENT_WINDOW, for_s=2)
await strike.over()
assert strike.rows_lost
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from math import isinf

from worker.sandbox.gateway.effects import ChannelEffect, Effect, JoinEffect, LimitRate, RowEffect, Skip
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE
from worker.sandbox.gateway.impact import Impact
from worker.sandbox.gateway.strikes import Strike, Strikes


class Faults:
    """The gateway's fault switches. `scale` multiplies every duration of the catalogue: 0.01 makes 60 s 0.6 s."""

    def __init__(self, strikes: Strikes, impact: Impact, *, scale: float) -> None:
        self._strikes = strikes
        self._impact = impact
        self._scale = scale
        self._courses: set[asyncio.Task[None]] = set()

    @property
    def in_force(self) -> Sequence[Strike[Effect]]:
        return tuple(self._strikes.in_force)

    @property
    def history(self) -> Sequence[Strike[Effect]]:
        """All that were ever inflicted, oldest first, those in force included."""
        return tuple(self._strikes.history)

    @property
    def unheard(self) -> Counter[str]:
        """Rows, by table, that no live channel was there to hear, since the start: nobody connected, or joined."""
        return Counter(self._strikes.unheard)

    @property
    def published(self) -> Counter[str]:
        """Rows, by table, that the database's log has brought since the start, heard or not."""
        return Counter(self._strikes.published)

    async def inflict(
        self,
        fault: Fault,
        *,
        for_s: float | None = None,
        delay_s: float | None = None,
        rows: int | None = None,
        table: str | None = None,
    ) -> Strike[Effect]:
        """Lets `fault` strike, and returns when it has; it ends by itself, or by `clear`.

        `for_s` is how long it lasts and `delay_s` its inner duration, both in real seconds; without them, those
        of the catalogue, scaled. `rows` is how many are skipped, or how many a rate limit lets through. With
        `table` only the channels that listen to it are struck. Raises ValueError for what the fault has not.
        """
        entry = CATALOGUE[fault]
        effect = entry.effect
        if for_s is not None and not entry.lasts_s:
            raise ValueError(f"Expected a fault that lasts, was {fault}")
        if delay_s is not None and not entry.delay_s:
            raise ValueError(f"Expected a fault with a delay, was {fault}")
        if table is not None and not isinstance(effect, RowEffect | ChannelEffect | JoinEffect):
            raise ValueError(f"Expected a fault of rows, channels or joins, was {fault}")
        if rows is not None:
            if not isinstance(effect, Skip | LimitRate):
                raise ValueError(f"Expected a fault that counts rows, was {fault}")
            effect = replace(effect, rows=rows)
        strike = Strike(fault, effect, entry.delay_s * self._scale if delay_s is None else delay_s, table)
        self._strikes.begin(strike)
        try:
            await self._impact.land(strike)
        except BaseException:
            self._strikes.end(strike)
            raise
        self._follow(strike, entry.lasts_s * self._scale if for_s is None else for_s)
        return strike

    async def clear(self) -> None:
        """Ends what is in force, each fault the way it ends; returns when all is over.

        What has happened stays so: a dead channel hears nothing until it is joined again.
        """
        for strike in self._strikes.in_force:
            strike.end()
        await asyncio.gather(*self._courses)

    def _follow(self, strike: Strike[Effect], lasts_s: float) -> None:
        course = asyncio.create_task(self._run(strike, lasts_s))
        self._courses.add(course)
        course.add_done_callback(self._courses.discard)

    async def _run(self, strike: Strike[Effect], lasts_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if isinf(lasts_s) else lasts_s):
                await strike.ending()
        await self._impact.lift(strike)
        self._strikes.end(strike)
