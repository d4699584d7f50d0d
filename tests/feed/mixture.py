"""Everything at once: faults on top of one another, strategies paused and resumed, the database away now and then."""

import asyncio
import random
from functools import partial
from time import monotonic

from tests.feed.faults import strike
from tests.feed.flow import Line
from tests.feed.outages import Outage, suffer
from tests.feed.scene import Scene
from tests.feed.trials import RECOVERED_WITHIN_S, Trial
from worker.sandbox.gateway.fault_catalogue import CATALOGUE

_FAULT_EVERY_S = (0.5, 3.0)
_PAUSE_EVERY_S = (1.0, 4.0)
_PAUSED_S = (0.2, 1.5)
_OUTAGE_EVERY_S = 12.0
_SET_PAUSED = b"update public.lt_strategies set is_paused = %s where strategy_id = %s"
_CONTROL = (
    b"select public.lt_control(jsonb_build_object('scope', %s::text, 'action', %s::text, 'actor', 'trial'))"
)


def mixture(seconds: float, seed: int, *, outages: bool = True) -> Trial:
    """A trial of it. `outages`: the database's, too, which the PostgreSQL must be ours for."""
    play = partial(_play, seconds=seconds, seed=seed, outages=outages)
    return Trial(f"mixed for {seconds:g} s", play, worst_delay_s=RECOVERED_WITHIN_S)


async def _play(scene: Scene, *, seconds: float, seed: int, outages: bool) -> None:
    source = random.Random(seed)
    until_s = monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(_faults(scene, random.Random(source.random()), until_s))
        group.create_task(_pauses(scene, random.Random(source.random()), until_s))
        if outages:
            group.create_task(_outages(scene, random.Random(source.random()), until_s))
    await scene.world.supabase.gateway.faults.clear()


async def _faults(scene: Scene, source: random.Random, until_s: float) -> None:
    """Every one of the catalogue before any of them again."""
    async with asyncio.TaskGroup() as group:
        while True:
            for fault in source.sample(list(CATALOGUE), len(CATALOGUE)):
                group.create_task(strike(fault, scene))
                await asyncio.sleep(source.uniform(*_FAULT_EVERY_S))
                if monotonic() > until_s:
                    await scene.world.supabase.gateway.faults.clear()
                    return


async def _pauses(scene: Scene, source: random.Random, until_s: float) -> None:
    """By the platform's column, and by our own switch."""
    strategies = [follower.strategy_id for follower in scene.world.followers]
    async with Line.open(scene.world.supabase.dsn) as line:
        while monotonic() < until_s:
            await asyncio.sleep(source.uniform(*_PAUSE_EVERY_S))
            one = source.choice(strategies)
            by_column = source.random() < 0.5
            await _set_paused(line, one, paused=True, by_column=by_column)
            await asyncio.sleep(source.uniform(*_PAUSED_S))
            await _set_paused(line, one, paused=False, by_column=by_column)


async def _set_paused(line: Line, strategy_id: str, *, paused: bool, by_column: bool) -> None:
    if by_column:
        await line.insist(_SET_PAUSED, [paused, strategy_id])
    else:
        await line.insist(_CONTROL, [f"strategy:{strategy_id}", "pause" if paused else "resume"])


async def _outages(scene: Scene, source: random.Random, until_s: float) -> None:
    left: list[Outage] = []
    while True:
        await asyncio.sleep(_OUTAGE_EVERY_S)
        if monotonic() > until_s:
            return
        left = left or source.sample(list(Outage), len(Outage))
        await suffer(left.pop(), scene)
