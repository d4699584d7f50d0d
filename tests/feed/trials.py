"""One trial: something strikes while signals flow, ends, and the feed has to come back by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from time import time

from tests.feed.books import Books
from tests.feed.flow import Flow
from tests.feed.scene import SWEEP_EVERY_S, Scene

# Once the database is back: PostgREST connects again with a back-off of its own, a call under way gives up after ten
# seconds, and what it was about is taken up again five later.
RECOVERED_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.1
_FEED_BACK_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Trial:
    """`play` returns when it is over.

    `worst_delay_s`: from commit to wire, while there is a database to ask. `degraded_within_s`: so soon health must
    say that the feed is. `noticed_within_s`: the same of a fault that is over soon after, so it is judged only where
    no slack is granted.
    """

    name: str
    play: Callable[[Scene], Awaitable[None]]
    worst_delay_s: float = SWEEP_EVERY_S + 0.5
    degraded_within_s: float | None = None
    noticed_within_s: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """When it struck, when it was over, when the feed brought signals again. Unix seconds."""

    trial: Trial
    struck_at: float
    over_at: float
    back_at: float | None
    ended_at: float
    lost_by_feed: int
    degraded_at: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """A line of the table. `wrong`: why it does not hold."""

    name: str
    signals: int
    lost_by_feed: int
    found_by_sweep: int
    missed: int
    twice: int
    worst_ms: float | None
    degraded_s: float | None
    back_s: float | None
    wrong: Sequence[str]

    @property
    def holds(self) -> bool:
        return not self.wrong


async def undergo(trial: Trial, scene: Scene, flow: Flow) -> Span:
    """Strike, wait until it is over, and until the feed has brought a signal that was written after that."""
    struck_at = time()
    lost_before = scene.lost_to_faults()
    await trial.play(scene)
    over_at = time()
    unheard_before = scene.unheard()
    back_at = await _feed_back(scene, flow, over_at)
    return Span(
        trial=trial,
        struck_at=struck_at,
        over_at=over_at,
        back_at=back_at,
        ended_at=time(),
        lost_by_feed=scene.lost_to_faults() - lost_before + scene.unheard() - unheard_before,
        degraded_at=scene.log.degraded_at(since=struck_at),
    )


async def _feed_back(scene: Scene, flow: Flow, over_at: float) -> float | None:
    while time() - over_at < _FEED_BACK_WITHIN_S:
        if any("feed" in scene.log.sources.get(one, ()) for one in flow.written_since(over_at)):
            return time()
        await asyncio.sleep(_LOOK_EVERY_S)
    return None


def judged(span: Span, books: Books, *, slack_s: float) -> Result:
    """`books` are those of the whole run, after it; of them what was committed in the span counts."""
    part = books.between(span.struck_at, span.ended_at)
    result = Result(
        name=span.trial.name,
        signals=len(part.signals),
        lost_by_feed=span.lost_by_feed,
        found_by_sweep=len(part.swept),
        missed=len(part.missed),
        twice=part.duplicates,
        worst_ms=part.worst_delay_ms(),
        degraded_s=None if span.degraded_at is None else span.degraded_at - span.struck_at,
        back_s=None if span.back_at is None else span.back_at - span.over_at,
        wrong=(),
    )
    return replace(result, wrong=list(_wrong(result, span.trial, part, slack_s)))


def _wrong(result: Result, trial: Trial, part: Books, slack_s: float) -> Iterable[str]:
    if not part.executed:
        yield "nothing was executed"
    if result.missed:
        yield f"missed, such as {part.missed[0]}"
    if result.twice:
        yield "executed twice"
    if result.worst_ms is not None and result.worst_ms > (trial.worst_delay_s + slack_s) * 1000:
        yield _late("on the wire", result.worst_ms / 1000, trial.worst_delay_s + slack_s)
    if result.back_s is None:
        yield "the feed did not come back"
    within_s = trial.degraded_within_s
    if within_s is None and not slack_s:
        within_s = trial.noticed_within_s
    if within_s is not None:
        limit_s = within_s + slack_s
        if result.degraded_s is None:
            yield f"never said to be degraded; the limit is {limit_s:g} s"
        elif result.degraded_s > limit_s:
            yield _late("said to be degraded", result.degraded_s, limit_s)


def _late(what: str, after_s: float, limit_s: float) -> str:
    over_s = after_s - limit_s
    return f"{what} after {after_s:.2f} s, {over_s:.2f} s over the limit of {limit_s:g} s (a busy machine: --slack)"
