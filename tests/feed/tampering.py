"""Negative controls of the equation: a decision that vanishes, and one that belongs to no signal."""

import asyncio
from functools import partial

from tests.feed.flow import Line
from tests.feed.scene import Scene
from tests.feed.trials import Trial

_CALM_S = 8.0  # until there are decisions that are old enough
_WATCHED_S = 1.0
# Older than what counts as missed, younger than what the worker forgets that it has settled: it will not be mended.
DELETE_ONE = b"""
delete from public.lt_decisions where ctid = (
  select ctid from public.lt_decisions
  where mode = 'live' and signal_at < now() - interval '6 seconds' order by signal_at desc limit 1)
"""
INSERT_ONE = b"""
insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at, decided_at)
select strategy_id, gen_random_uuid(), 'live', 'skipped', 'price_moved', now(), now()
from public.lt_strategies limit 1
"""


async def _tamper(statement: bytes, scene: Scene) -> None:
    await asyncio.sleep(_CALM_S)
    async with Line.open(scene.world.supabase.dsn) as line:
        await line.ask(statement)
    await asyncio.sleep(_WATCHED_S)


A_DECISION_DELETED = Trial("a decision deleted", partial(_tamper, DELETE_ONE))
A_DECISION_INSERTED = Trial("a decision inserted", partial(_tamper, INSERT_ONE))
