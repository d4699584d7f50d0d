"""Every reason that the worker can give is met in the real daemon, beside whatever number failed.

The day on which they come about is staged once (`conftest.py`).
"""

import itertools
import operator
import re
from collections.abc import Sequence
from dataclasses import asdict

import pytest

from tests.day.situations import SITUATIONS, Told
from tests.day.stage import BESIDE_INVALID, Day, Seen
from worker.orders.numbers import exact_decimal
from worker.orders.passing import Sense, passing
from worker.orders.reasons import SkipReason
from worker.orders.states import STATES
from worker.verbs.explain import Pair
from worker.verbs.words import laid_out

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("day")]

_FAILS = {
    Sense.AT_MOST: operator.gt,
    Sense.BELOW: operator.ge,
    Sense.AT_LEAST: operator.lt,
    Sense.ABOVE: operator.le,
}
BY_REASON = {one.reason: one for one in SITUATIONS}


@pytest.fixture
def seen(day: Day) -> Sequence[Seen]:
    return day.seen


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_is_met_in_the_daemon_with_the_number_that_failed(
    seen: Sequence[Seen], reason: SkipReason
) -> None:
    situation = BY_REASON.get(reason)
    assert situation is not None, f"no row of tests/day/situations.py leads to {reason}"
    of_strategy = [one for one in seen if one.strategy_id == situation.strategy_id]
    met = [one for one in of_strategy if one.reason == reason]
    assert met, f"{reason} was not met, but {of_strategy}"
    assert {one.state for one in met} <= _states(reason)
    if situation.told is not Told.NOTHING:
        assert all(one.value for one in met), met
    if situation.told is Told.NUMBERS:
        assert all(one.limit for one in met), met
    assert all(_failed(one) for one in met), met


@pytest.mark.parametrize("reason", list(SkipReason))
def test_explain_prints_the_number_that_failed_in_the_daemon_and_the_one_that_would_have_passed(
    seen: Sequence[Seen], reason: SkipReason
) -> None:
    """What is no number is listed in STATES, with the state that would have passed."""
    situation = BY_REASON[reason]
    (one, *_) = [each for each in seen if each.strategy_id == situation.strategy_id and each.reason == reason]
    pair = Pair.of({**asdict(one), "mode": "live", "history": [], "timeline": [], "attempts": []})
    printed = [line.plain for line in laid_out(pair.lines())]
    rows = {label: _row(printed, label) for label in ("failed", "would pass")}
    assert all(rows.values()), printed
    assert pair.passing is not None
    assert _one_line(pair.passing.number) in rows["failed"]
    assert rows["would pass"] == _one_line(pair.passing.would_pass)
    if reason in STATES:
        assert rows["would pass"] == STATES[reason].passes or situation.told is Told.NUMBERS
    else:
        assert re.search(r"\d", rows["failed"])
        assert re.search(r"\d", rows["would pass"])


def _row(printed: Sequence[str], label: str) -> str:
    """What stands beside the label, and under it where that is more than a line."""
    begins = next((n for n, text in enumerate(printed) if text.startswith(f"  {label:<12}")), len(printed))
    beside = [text for n, text in enumerate(printed) if n == begins]
    under = itertools.takewhile(lambda text: text.startswith(" " * 14), printed[begins + 1 :])
    return " ".join(text[14:] for text in (*beside, *under))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def test_an_invalid_strategy_beside_a_good_one_stops_itself_alone(seen: Sequence[Seen]) -> None:
    invalid = BY_REASON[SkipReason.STRATEGY_INVALID].strategy_id
    (blocked,) = [one for one in seen if one.strategy_id == invalid]
    beside = [one for one in seen if one.strategy_id == BESIDE_INVALID]
    assert "order_type" in blocked.value
    assert "'MARKET'" in blocked.value
    assert [one.state for one in beside] == ["executed"]


def _failed(one: Seen) -> bool:
    """Whether the number is not one that would have passed, where both are numbers."""
    would = passing(SkipReason(one.reason), one.value or "", one.limit or "", {})
    sense = next((sense for sense in Sense if would.would_pass.startswith(f"{sense} ")), None)
    if sense is None:
        return True
    number = exact_decimal(would.number.partition(" ")[0])
    bound = exact_decimal(would.would_pass.removeprefix(f"{sense} ").partition(" ")[0])
    return number is None or bound is None or _FAILS[sense](number, bound)


def _states(reason: SkipReason) -> set[str]:
    if reason is SkipReason.ALREADY_EXECUTED:
        return {"executed"}
    return {"skipped"} if reason.final else {"deferred", "skipped"}
