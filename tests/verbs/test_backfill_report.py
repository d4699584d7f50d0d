"""What a walk through the backlog says of itself, while it goes and at its end."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from tests.support.contract import undocumented
from worker.execution.submit import Received
from worker.handlers.ft_orders import Decided, Outcome
from worker.handlers.intake import Item, LaneName, Pair
from worker.orders.reasons import SkipReason
from worker.orders.terms import FtOrderId, Mode, StrategyId
from worker.verbs.backfill_report import Report, Tally, shown

ONE, TWO = StrategyId("LT_ONE"), StrategyId("LT_TWO")


def decided(name: str, outcome: Outcome, reason: SkipReason | None = None) -> Decided:
    received = Received(datetime(2026, 11, 22, tzinfo=UTC), 0.0)
    item = Item(FtOrderId(name), {}, (ONE,), "backfill", received)
    return Decided(Pair(item, ONE, LaneName.BACKLOG), outcome, reason)


def a_tally() -> Tally:
    tally = Tally()
    tally.find(5)
    for name, outcome, reason in (
        ("a", Outcome.EXECUTED, None),
        ("b", Outcome.SKIPPED, SkipReason.SIGNAL_TOO_OLD),
        ("c", Outcome.DEFERRED, SkipReason.EXCHANGE_UNREACHABLE),
        ("d", Outcome.DEFERRED, SkipReason.MARKET_NOT_READY),
        ("d", Outcome.SKIPPED, SkipReason.PRICE_MOVED),
    ):
        tally.note(decided(name, outcome, reason))
    return tally


def a_report(**changes: Any) -> Report:
    plain: dict[str, Any] = {
        "mode": Mode.LIVE,
        "since": datetime(2026, 11, 15, tzinfo=UTC),
        "strategy_id": None,
        "dry_run": False,
        "interrupted": False,
        "elapsed_s": 3.21,
    }
    return Report(a_tally(), **(plain | changes))


def test_each_pair_counts_once_as_what_it_came_to_last() -> None:
    said = a_report().as_json()
    assert undocumented(said, "run --backfill-only") == set()
    assert (said["found"], said["decided"], said["executed"]) == (5, 4, 1)
    assert said["skipped"] == {"signal_too_old": 1, "price_moved": 1}
    assert said["deferred"] == {"exchange_unreachable": 1}
    assert said["too_old"] == {"count": 1, "share": "0.2500"}


def test_deferrals_are_counted_however_many_and_remembered_as_far_as_there_is_room() -> None:
    tally = Tally(remembered=10)
    for number in range(100):
        tally.note(decided(str(number), Outcome.DEFERRED, SkipReason.MARKET_NOT_READY))
    tally.note(decided("99", Outcome.DEFERRED, SkipReason.EXCHANGE_UNREACHABLE))
    tally.note(decided("98", Outcome.EXECUTED))
    assert tally.deferred == {SkipReason.MARKET_NOT_READY: 98, SkipReason.EXCHANGE_UNREACHABLE: 1}
    assert (tally.decided, tally.executed) == (100, 1)


def test_what_another_worker_decides_is_not_left_undone() -> None:
    report = a_report(left={ONE: 2, TWO: 3}, elsewhere=frozenset({TWO}))
    assert report.undone == 2
    assert report.as_json()["left_to_other_workers"] == ["LT_TWO"]


def test_the_table_and_its_sentences_tell_outcomes_reasons_and_the_share_of_the_too_old() -> None:
    out = Console(file=io.StringIO(), width=160)
    report = a_report(interrupted=True, left={ONE: 2})
    out.print(report.as_table())
    told = f"{out.file.getvalue()}{' '.join(report.sentences())}"  # type: ignore[attr-defined]  # a StringIO
    for words in (
        "executed",
        "signal_too_old: The signal is older than any signal may be.",
        "too old: 1 of 4 (25%)",
        "interrupted: what is decided is recorded",
        "left: 2 could not be decided",
    ):
        assert words in told


def test_a_dry_run_that_was_cut_short_speaks_of_what_it_judged_and_of_nothing_recorded() -> None:
    (_, _, _, cut) = a_report(dry_run=True, interrupted=True).sentences()
    assert (
        cut == "interrupted: of the 5 pairs that were found by then 4 were judged; run it again for the rest."
    )


@pytest.mark.parametrize(
    ("terminal", "shape"), [(True, "1/3"), (False, "backlog: 1 of 3 pairs decided, 1 executed")]
)
def test_progress_is_a_bar_on_a_terminal_and_plain_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, shape: str
) -> None:
    monkeypatch.setattr("worker.verbs.backfill_report._PLAIN_LINE_EVERY_S", 0.0)
    out = io.StringIO()
    tally = Tally()
    with shown(tally, Console(file=out, force_terminal=terminal, width=120)):
        tally.find(3)
        tally.note(decided("a", Outcome.EXECUTED))
    assert shape in out.getvalue()
    assert ("\x1b[" in out.getvalue()) is terminal
