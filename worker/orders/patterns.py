"""What happens again and again, and would go unseen one by one: most skips for one reason, orders that find nothing in a
row, paper that fills where money does not, a feed that brings nothing while signals arrive.

Pure: what was decided lately goes in, findings come out, each with a sentence for a human and what he may do. A finding
that is known is held to easier thresholds, so that one on the edge does not come and go.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType, TypeAlias

from worker.orders.lifecycle import AttemptState
from worker.orders.reasons import SkipReason
from worker.orders.terms import FtOrderId, Mode, OrderType, StrategyId

# What a human has switched, or did himself, he knows.
BY_HAND = frozenset(
    {
        SkipReason.KILL_SWITCH,
        SkipReason.STRATEGY_PAUSED,
        SkipReason.STRATEGY_INACTIVE,
        SkipReason.SHADOW_MODE,
        SkipReason.ALREADY_EXECUTED,
    }
)
_FILLED = frozenset({AttemptState.MATCHED})
_EMPTY = frozenset({AttemptState.KILLED, AttemptState.REJECTED})


class PatternKind(StrEnum):
    ONE_REASON = "one_reason"
    KILLED_IN_A_ROW = "killed_in_a_row"
    PAPER_AHEAD = "paper_ahead"
    FEED_SILENT = "feed_silent"


Subject = NewType("Subject", str)  # what of its kind: a reason, a strategy and mode
_ONLY = Subject("")  # there is one of its kind


@dataclass(frozen=True, slots=True)
class Event:
    """One final decision. `state` and `order_type` of an execution: what its first answer came to."""

    at_s: float
    ft_order_id: FtOrderId
    strategy_id: StrategyId
    mode: Mode
    is_fresh: bool
    reason: SkipReason | None = None
    state: AttemptState | None = None
    order_type: OrderType | None = None

    @property
    def is_immediate(self) -> bool:
        """An order that fills at once or not at all."""
        return self.order_type is not None and not self.order_type.rests


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`..._least`: below so many nothing is judged. Shares are of one."""

    one_reason_share: float
    one_reason_least: int
    killed_in_a_row: int
    paper_ahead_share: float
    paper_ahead_least: int
    feed_silent_s: float
    feed_silent_least: int

    def eased(self) -> "Thresholds":
        """For what is known already."""
        return replace(
            self,
            one_reason_share=self.one_reason_share * 4 / 5,
            one_reason_least=(self.one_reason_least + 1) // 2,
            killed_in_a_row=1,
            paper_ahead_share=self.paper_ahead_share * 4 / 5,
            paper_ahead_least=(self.paper_ahead_least + 1) // 2,
            feed_silent_least=1,
        )


Key: TypeAlias = tuple[PatternKind, Subject]


@dataclass(frozen=True, slots=True)
class Finding:
    """`count` of `of` were so."""

    kind: PatternKind
    subject: Subject
    count: int
    of: int
    why: str
    fix: str

    @property
    def key(self) -> Key:
        return self.kind, self.subject


def find(
    events: Sequence[Event],
    thresholds: Thresholds,
    *,
    now_s: float,
    feed_silent_since_s: float | None,
    known: Collection[Key] = (),
) -> list[Finding]:
    """`events`: in the order in which they happened. `feed_silent_since_s`: when the feed last brought a signal, or
    began to listen; None: nobody listens to it.
    """
    look = _Look(events, thresholds, known)
    found = [*_one_reason(look), *_killed_in_a_row(look), *_paper_ahead(look)]
    if feed_silent_since_s is not None:
        found += _feed_silent(look, now_s, feed_silent_since_s)
    return found


@dataclass(frozen=True, slots=True)
class _Look:
    events: Sequence[Event]
    thresholds: Thresholds
    known: Collection[Key]

    def bar(self, kind: PatternKind, subject: Subject = _ONLY) -> Thresholds:
        """What this one is held to."""
        return self.thresholds.eased() if (kind, subject) in self.known else self.thresholds


def _one_reason(look: _Look) -> Iterator[Finding]:
    last = {one.reason: one for one in look.events if one.reason is not None and one.reason not in BY_HAND}
    counts = Counter(one.reason for one in look.events if one.reason in last)
    total = counts.total()
    for reason, count in counts.items():
        subject = Subject(reason)
        bar = look.bar(PatternKind.ONE_REASON, subject)
        if count >= bar.one_reason_least and count > bar.one_reason_share * total:
            yield Finding(
                PatternKind.ONE_REASON,
                subject,
                count,
                total,
                f"{count} of the last {total} skips ({_percent(count, total)}) have one reason, {reason}: {reason.sentence}",
                f"polycopy-worker explain {last[reason].ft_order_id} shows the numbers of the last one",
            )


def _killed_in_a_row(look: _Look) -> Iterator[Finding]:
    rows: dict[tuple[StrategyId, Mode], list[Event]] = {}
    for one in look.events:
        if one.is_immediate and one.state in _FILLED:
            rows.pop((one.strategy_id, one.mode), None)
        elif one.is_immediate and one.state is AttemptState.KILLED:
            rows.setdefault((one.strategy_id, one.mode), []).append(one)
    for (strategy_id, mode), row in rows.items():
        subject = Subject(f"{strategy_id} {mode}")
        if len(row) >= look.bar(PatternKind.KILLED_IN_A_ROW, subject).killed_in_a_row:
            types = "/".join(sorted({str(one.order_type) for one in row}))
            yield Finding(
                PatternKind.KILLED_IN_A_ROW,
                subject,
                len(row),
                len(row),
                f"the last {len(row)} {types} orders of {strategy_id} ({mode}) found nothing at their price",
                f"polycopy-worker explain {row[-1].ft_order_id} shows the last one's limit and book: too little "
                "slippage_tolerance_pct, signals that come late, or limits that are wrong",
            )


def _paper_ahead(look: _Look) -> Iterator[Finding]:
    bar = look.bar(PatternKind.PAPER_AHEAD)
    filled: Counter[Mode] = Counter()
    placed: Counter[Mode] = Counter()
    for one in look.events:
        if one.is_immediate and (one.state in _FILLED or one.state in _EMPTY):
            placed[one.mode] += 1
            filled[one.mode] += one.state in _FILLED
    if min(placed[Mode.PAPER], placed[Mode.LIVE]) < bar.paper_ahead_least:
        return
    paper, live = (filled[mode] / placed[mode] for mode in (Mode.PAPER, Mode.LIVE))
    if paper - live > bar.paper_ahead_share:
        yield Finding(
            PatternKind.PAPER_AHEAD,
            _ONLY,
            placed[Mode.LIVE] - filled[Mode.LIVE],
            placed[Mode.LIVE],
            f"paper filled {filled[Mode.PAPER]} of its last {placed[Mode.PAPER]} FAK and FOK orders, live only "
            f"{filled[Mode.LIVE]} of {placed[Mode.LIVE]}",
            "polycopy-worker orders --failed shows what the exchange says of the live ones: the book offers what they do "
            "not get",
        )


def _feed_silent(look: _Look, now_s: float, since_s: float) -> Iterator[Finding]:
    bar = look.bar(PatternKind.FEED_SILENT)
    signals = len({one.ft_order_id for one in look.events if one.is_fresh and one.at_s > since_s})
    if now_s - since_s >= bar.feed_silent_s and signals >= bar.feed_silent_least:
        yield Finding(
            PatternKind.FEED_SILENT,
            _ONLY,
            signals,
            signals,
            f"{signals} fresh signals came in {round((now_s - since_s) / 60)} minutes, and none of them over the feed: "
            "they are found by the sweep, later than they might be",
            "polycopy-worker check says whether Realtime publishes ft_orders; then look at the project's Realtime logs",
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %"
