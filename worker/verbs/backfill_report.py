"""What a walk through the backlog came to: counted while it goes, shown while it goes, told at its end.

Counts are of pairs of a signal and a strategy. They are this run's own; the database keeps the whole truth.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from worker.handlers.ft_orders import Decided, Outcome
from worker.handlers.intake import PairKey
from worker.orders.reasons import SkipReason
from worker.orders.terms import Mode, StrategyId
from worker.verbs.words import counted

_PLAIN_LINE_EVERY_S = 5.0
_REMEMBERED = 100_000


@dataclass(slots=True)
class Tally:
    """Every pair that was found, once, by what it came to last.

    Which pairs were put off is remembered of the latest: one that comes to its end much later counts as both.
    """

    found: int = 0
    executed: int = 0
    abandoned: int = 0
    skipped: Counter[SkipReason] = field(default_factory=Counter)
    deferred: Counter[SkipReason] = field(default_factory=Counter)
    remembered: int = _REMEMBERED
    _put_off: OrderedDict[PairKey, SkipReason] = field(default_factory=OrderedDict)
    on_change: Callable[["Tally"], None] = lambda _: None

    @property
    def decided(self) -> int:
        return self.executed + self.abandoned + self.skipped.total() + self.deferred.total()

    @property
    def too_old(self) -> int:
        return self.skipped[SkipReason.SIGNAL_TOO_OLD]

    def find(self, pairs: int) -> None:
        self.found += pairs
        self.on_change(self)

    def note(self, decided: Decided) -> None:
        key, reason = decided.pair.key, decided.reason
        if (before := self._put_off.pop(key, None)) is not None:
            self.deferred[before] -= 1
        match decided.outcome:
            case Outcome.EXECUTED:
                self.executed += 1
            case Outcome.ABANDONED:
                self.abandoned += 1
            case Outcome.SKIPPED if reason is not None:
                self.skipped[reason] += 1
            case Outcome.DEFERRED if reason is not None:
                self.deferred[reason] += 1
                self._put_off[key] = reason
                if len(self._put_off) > self.remembered:
                    self._put_off.popitem(last=False)
            case Outcome.SKIPPED | Outcome.DEFERRED:
                raise ValueError(f"Expected a reason with {decided.outcome}, was none")
        self.on_change(self)


@dataclass(frozen=True, slots=True)
class Report:
    """`left`: pairs that are still work, by strategy; `elsewhere`: those of them that another worker decides."""

    tally: Tally
    mode: Mode
    since: datetime | None
    strategy_id: StrategyId | None
    dry_run: bool
    interrupted: bool
    elapsed_s: float
    left: Mapping[StrategyId, int] = field(default_factory=dict)
    elsewhere: frozenset[StrategyId] = frozenset()
    failure: BaseException | None = None  # what ended it early

    @property
    def undone(self) -> int:
        """Pairs that this run should have decided, and did not."""
        return sum(count for strategy_id, count in self.left.items() if strategy_id not in self.elsewhere)

    @property
    def too_old_share(self) -> float:
        return round(self.tally.too_old / self.tally.decided, 4) if self.tally.decided else 0.0

    def as_json(self) -> dict[str, Any]:
        tally = self.tally
        return {
            "mode": self.mode,
            "dry_run": self.dry_run,
            "since": None if self.since is None else self.since.isoformat(),
            "strategy_id": self.strategy_id,
            "interrupted": self.interrupted,
            "failure": "" if self.failure is None else str(self.failure),
            "elapsed_s": f"{self.elapsed_s:.3f}",
            "found": tally.found,
            "decided": tally.decided,
            "executed": tally.executed,
            "abandoned": tally.abandoned,
            "skipped": _by_count(tally.skipped),
            "deferred": _by_count(tally.deferred),
            "too_old": {"count": tally.too_old, "share": f"{self.too_old_share:.4f}"},
            "left": dict(self.left),
            "left_to_other_workers": sorted(self.elsewhere & self.left.keys()),
        }

    def as_table(self) -> Table:
        tally, would = self.tally, "would be " if self.dry_run else ""
        table = Table(title=self._title(), title_justify="left", box=None, pad_edge=False)
        table.add_column("pairs", justify="right")
        table.add_column("outcome")
        table.add_column("reason")
        table.add_row(str(tally.executed), f"{would}executed", "")
        if tally.abandoned:
            table.add_row(str(tally.abandoned), "abandoned", "claimed; never sent, or not processed")
        for outcome, counts in (
            ("skipped", tally.skipped),
            ("deferred", tally.deferred),
        ):
            for reason, count in (+counts).most_common():
                table.add_row(str(count), f"{would}{outcome}", f"{reason}: {reason.sentence}")
        for strategy_id, count in self.left.items():
            whose = (
                "another worker trades its wallet"
                if strategy_id in self.elsewhere
                else "tried, and still work"
            )
            table.add_row(str(count), "left", Text(f"{strategy_id}: {whose}"))
        return table

    def sentences(self) -> Iterator[str]:
        """What a reader should know besides the counts."""
        tally = self.tally
        if tally.too_old:
            yield (
                f"too old: {tally.too_old} of {tally.decided} ({self.too_old_share:.0%}), older than "
                "`signal.max_age_s`: recorded as signal_too_old, never traded."
            )
        if tally.deferred.total():
            yield "deferred: asked again, ever less often, by the next `run`, until they expire."
        if self.dry_run:
            yield "dry run: nothing was written and nothing was sent; each pair was judged on the capital of now."
        if self.interrupted and self.dry_run:
            yield (
                f"interrupted: of the {tally.found} pairs that were found by then {tally.decided} were judged; run it again "
                "for the rest."
            )
        elif self.interrupted:
            yield "interrupted: what is decided is recorded, and the rest is still work for the next start."
        if self.undone:
            yield f"left: {self.undone} could not be decided; run it again, or let `run` do it."

    def _title(self) -> Text:
        whose = self.strategy_id or "all strategies"
        since = "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M:%S}Z"
        return Text(
            f"backlog of {whose}{since} ({self.mode}): {self.tally.decided} of {counted(self.tally.found, 'pair')} decided "
            f"in {self.elapsed_s:.1f} s"
        )


@contextmanager
def shown(tally: Tally, console: Console) -> Iterator[None]:
    """Shows the progress while the block lasts: a bar on a terminal, a plain line now and then elsewhere."""
    if not console.is_terminal:
        last_s = monotonic()

        def say(now: Tally) -> None:
            nonlocal last_s
            if monotonic() - last_s >= _PLAIN_LINE_EVERY_S:
                last_s = monotonic()
                console.print(f"backlog: {now.decided} of {now.found} pairs decided, {now.executed} executed")

        tally.on_change = say
        yield
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("backlog", total=None)
        tally.on_change = lambda now: progress.update(
            bar,
            total=now.found,
            completed=now.decided,
            description=f"{now.executed} executed, {now.skipped.total()} skipped, {now.deferred.total()} deferred",
        )
        yield


def _by_count(counts: Counter[SkipReason]) -> dict[str, int]:
    return {reason.value: count for reason, count in counts.most_common() if count}
