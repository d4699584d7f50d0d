"""Every fault of the gateway's catalogue as a trial, and the feed that is dead before the worker starts.

None is left out: the trials are made from the catalogue. Times are compressed as in `scene.SETTINGS`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from math import isinf
from typing import Any

from tests.feed.scene import Scene
from tests.feed.trials import RECOVERED_WITHIN_S, Trial
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE
from worker.sandbox.world import World

_UNTIL_CLEARED_S = 5.0
_SHORT_S = 1.0
_DEAD_S = 15.0
_DEGRADED_WITHIN_S = 10.0
# At ten signals a second a limit of thousands would not be met.
_HOW: Mapping[Fault, Mapping[str, Any]] = {Fault.RATE_LIMITED_ROWS: {"rows": 20}}
# The quietest of all: rows stay away and nothing else is wrong. Two signals must be missed, each for 1.5 s after the
# sweep has found it, and be judged.
_NOTICED_WITHIN_S: Mapping[Fault, float] = {Fault.DEAD_CHANNELS: 5.0}
# These take PostgREST away as well.
_WITHOUT_DATABASE = frozenset({Fault.SERVER_DOWN})


async def strike(fault: Fault, scene: Scene) -> None:
    """From its beginning to its end."""
    if fault in _WITHOUT_DATABASE:
        with scene.without_database():
            await _strike(fault, scene.world)
    else:
        await _strike(fault, scene.world)


async def _strike(fault: Fault, world: World) -> None:
    faults = world.supabase.gateway.faults
    how = {**_HOW.get(fault, {}), **_length(fault)}
    struck = await faults.inflict(fault, **how)
    await struck.over()


def _length(fault: Fault) -> Mapping[str, float]:
    """The catalogue's own, scaled; but what is short already is not made shorter, and what never ends has to."""
    lasts_s = CATALOGUE[fault].lasts_s
    if isinf(lasts_s):
        return {"for_s": _UNTIL_CLEARED_S}
    return {"for_s": lasts_s} if 0 < lasts_s < _SHORT_S else {}


@asynccontextmanager
async def dead_feed(world: World) -> AsyncIterator[None]:
    """Channels can be joined, heartbeats are answered, and no row comes."""
    faults = world.supabase.gateway.faults
    await faults.inflict(Fault.SILENT_WINDOW, for_s=float("inf"))
    try:
        yield
    finally:
        await faults.clear()


def dead_from_the_start(for_s: float = _DEAD_S) -> Trial:
    """To be undergone within `dead_feed`: so long it lasts once the worker has started."""

    async def stay_dead(scene: Scene) -> None:
        await asyncio.sleep(for_s)
        await scene.world.supabase.gateway.faults.clear()

    return Trial("dead_from_the_start", stay_dead, degraded_within_s=_DEGRADED_WITHIN_S)


FEED_TRIALS = tuple(
    Trial(fault, partial(strike, fault), worst_delay_s=RECOVERED_WITHIN_S)
    if fault in _WITHOUT_DATABASE
    else Trial(fault, partial(strike, fault), noticed_within_s=_NOTICED_WITHIN_S.get(fault))
    for fault in CATALOGUE
)
