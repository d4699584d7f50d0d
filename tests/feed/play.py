"""A whole run: trials one after the other while signals flow, the equation counted all the while, the books at the end.

First a worker starts on a feed that is dead already; then a second one meets every fault by itself, and after them
every outage of the database. Or everything at once, mixed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic

from tests.feed.books import Books
from tests.feed.equation import MISSED_AFTER_S, Sample, Sampler
from tests.feed.faults import FEED_TRIALS, dead_feed, dead_from_the_start
from tests.feed.flow import Flow, Line
from tests.feed.mixture import mixture
from tests.feed.outages import OUTAGE_TRIALS
from tests.feed.scene import Away, WorkerLog, open_feed_world, open_scene
from tests.feed.tampering import A_DECISION_DELETED, A_DECISION_INSERTED
from tests.feed.trials import RECOVERED_WITHIN_S, Result, Span, Trial, judged, undergo
from tests.support.tool import SoFar, tell
from worker.sandbox.postgres import Postgres
from worker.sandbox.world import World

DEAD_FROM_THE_START = dead_from_the_start()
IN_TURN = (*FEED_TRIALS, *OUTAGE_TRIALS)
NAMES = frozenset(trial.name for trial in (DEAD_FROM_THE_START, *IN_TURN))
_SETTLE_WITHIN_S = 60.0
_HOPELESS_S = 3.0
_LOOK_EVERY_S = 0.1
_NEVER_S = "3600"
_NO_SWEEP: Mapping[str, str] = {
    "POLYCOPY_SWEEP__EVERY_S": _NEVER_S,
    "POLYCOPY_SWEEP__EVERY_DEGRADED_S": _NEVER_S,
    "POLYCOPY_SWEEP__CATCH_UP_AFTER_LIVE_S": f"[{_NEVER_S}]",
}
_UNSETTLED = b"""
select (public.lt_equation('{"mode": "live"}') -> 'total' ->> 'undecided')::int
  + (select count(*) from public.lt_decisions where mode = 'live' and state = 'deferred')
  + (select count(*) from public.lt_order_attempts where state in ('submitting', 'unknown')) as number
"""


class Control(StrEnum):
    """What must make a run fail, or a run that holds proves nothing."""

    NO_SWEEP = "no-sweep"
    DELETE_A_DECISION = "delete-a-decision"
    INSERT_A_DECISION = "insert-a-decision"


@dataclass(frozen=True, slots=True)
class Plan:
    """`only`: names of trials, all of them if empty. `mixed_s`: not in turn but at once, for so long; `outages`: these
    too. `slack_s`: for a machine that is busy with something else, added to every limit of time.
    """

    seed: int
    rate_per_s: float = 10.0
    only: frozenset[str] = frozenset()
    mixed_s: float | None = None
    outages: bool = True
    control: Control | None = None
    slack_s: float = 0.0

    def acts(self) -> "Sequence[Act]":
        match self.control:
            case Control.NO_SWEEP:
                return [Act((dead_from_the_start(_HOPELESS_S),), feed_dead=True, settings=_NO_SWEEP)]
            case Control.DELETE_A_DECISION:
                return [Act((A_DECISION_DELETED,))]
            case Control.INSERT_A_DECISION:
                return [Act((A_DECISION_INSERTED,))]
        if self.mixed_s is not None:
            return [Act((mixture(self.mixed_s, self.seed, outages=self.outages),))]
        in_turn = tuple(filter(self._chosen, IN_TURN))
        dead = [Act((DEAD_FROM_THE_START,), feed_dead=True)] if self._chosen(DEAD_FROM_THE_START) else []
        return [*dead, Act(in_turn)] if in_turn else dead

    def _chosen(self, trial: Trial) -> bool:
        return not self.only or trial.name in self.only


@dataclass(frozen=True, slots=True)
class Act:
    """One life of the worker, and what it meets. `feed_dead`: before it has started."""

    trials: Sequence[Trial]
    feed_dead: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    results: Sequence[Result]
    books: Books
    samples: int
    unbalanced: Sequence[Sample]
    late: Sequence[Sample]

    @property
    def holds(self) -> bool:
        each = bool(self.results) and all(result.holds for result in self.results)
        counted = self.samples > 0 and not self.unbalanced and not self.late
        return each and counted and not self.books.missed and not self.books.duplicates


async def play(
    plan: Plan,
    so_far: SoFar | None = None,
    *,
    postgres: Postgres | None = None,
    template: str | None = None,
) -> Outcome:
    """The whole run, on a PostgreSQL of its own unless one is lent; outages need one of its own.

    `so_far` is told of the trials that are over.
    """
    done: SoFar = {} if so_far is None else so_far
    log = WorkerLog()
    away: list[Away] = []
    spans: list[Span] = []
    async with open_feed_world(seed=plan.seed, postgres=postgres, template=template) as world:
        sampler = Sampler(world.supabase.dsn, missed_after_s=MISSED_AFTER_S + plan.slack_s)
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(sampler.run())
            for act in plan.acts():
                spans += await _perform(act, plan, world, log, away, done)
            sampling.cancel()
        books = await Books.read(world, log, away)
    return Outcome(
        plan=plan,
        results=[judged(span, books, slack_s=plan.slack_s) for span in spans],
        books=books,
        samples=len(sampler.samples),
        unbalanced=sampler.unbalanced(),
        late=sampler.late([(began_at, ended_at + RECOVERED_WITHIN_S) for began_at, ended_at in away]),
    )


async def _perform(
    act: Act, plan: Plan, world: World, log: WorkerLog, away: list[Away], done: SoFar
) -> list[Span]:
    spans: list[Span] = []
    async with AsyncExitStack() as stack:
        if act.feed_dead:
            await stack.enter_async_context(dead_feed(world))
        scene = await stack.enter_async_context(open_scene(world, log, away, act.settings))
        flow = Flow(world, rate_per_s=plan.rate_per_s, seed=plan.seed)
        async with asyncio.TaskGroup() as group:
            flowing = group.create_task(flow.run())
            try:
                for trial in act.trials:
                    tell(f"{trial.name} ...")
                    spans.append(span := await undergo(trial, scene, flow))
                    done.setdefault("trials", []).append(
                        {
                            "name": trial.name,
                            "lost_by_feed": span.lost_by_feed,
                            "feed_back": span.back_at is not None,
                        }
                    )
            finally:
                done["signals"] = done.get("signals", 0) + len(flow.written)
            flowing.cancel()
        await _settled(world, _HOPELESS_S if plan.control else _SETTLE_WITHIN_S)
    return spans


async def _settled(world: World, within_s: float) -> None:
    """Until nothing is left to do; what is not done by then is missed."""
    deadline_s = monotonic() + within_s
    async with Line.open(world.supabase.dsn) as line:
        while monotonic() < deadline_s:
            if not (await line.insist(_UNSETTLED))[0]["number"]:
                return
            await asyncio.sleep(_LOOK_EVERY_S)
