"""Where the next worker dies: every point as often as every other one, and so often as was asked for."""

import multiprocessing
import signal
from collections import Counter
from collections.abc import Mapping

import pytest

from tests.chaos.appointments import Appointments
from tests.chaos.judge import Verdict
from tests.chaos.plan import read_plan
from tests.chaos.run import Outcome
from tests.chaos.schedule import POINTS, Blow, Misfortune, Point, Schedule, least_struck, short_of
from worker.execution.steps import Moment

CLAIM, ANSWER, RELEASE = POINTS[1], POINTS[5], POINTS[-1]
HELD = Verdict(
    accepted_orders=3,
    expected_orders=3,
    duplicates=0,
    missed=0,
    fill_mismatch=0,
    unknown_left=0,
    capital_mismatch=0,
    complaints=(),
    excused={},
)


def test_every_kill_point_is_dealt_as_often_as_every_other() -> None:
    schedule = Schedule(3)
    dealt = [schedule.next_life() for _ in range(12 * len(POINTS))]
    kills = [misfortune.point for misfortune in dealt if misfortune.blow is Blow.KILL]
    assert {kills.count(point) for point in POINTS} == {11}


def test_the_points_that_were_struck_least_are_dealt_next() -> None:
    struck = dict.fromkeys(POINTS, 3) | {CLAIM: 1, RELEASE: 2}
    assert least_struck(struck, {}, each=0) == [CLAIM]
    assert least_struck(struck, {CLAIM: 1}, each=0) == [CLAIM, RELEASE]


def test_a_point_that_is_short_is_dealt_to_all_rather_than_one_that_is_not() -> None:
    struck = dict.fromkeys(POINTS, 5) | {RELEASE: 4}
    assert short_of(struck, 5) == [RELEASE]
    assert least_struck(struck, {RELEASE: 3}, each=5) == [RELEASE]
    assert least_struck(struck, {RELEASE: 2}, each=4) == [point for point in POINTS if point != RELEASE]


def test_a_run_ends_with_every_point_struck_so_often_wherever_workers_die() -> None:
    """Each of them at the first point that is short, wherever it was to die itself."""
    schedule = Schedule(7, each=5)
    hits: Counter[Point] = Counter()
    while schedule.short:
        misfortune = schedule.next_life()
        if misfortune.blow is Blow.KILL:
            assert misfortune.point in schedule.short
        met = next(iter(schedule.short))
        schedule.life_ended(misfortune, met=met)
        hits[met] += 1
    assert hits == dict.fromkeys(POINTS, 5)


def test_a_point_where_nobody_died_is_short_still() -> None:
    schedule = Schedule(7, each=1)
    schedule.life_ended(schedule.next_life(), met=None)
    assert schedule.short == dict.fromkeys(POINTS, 1)


@pytest.mark.parametrize(
    ("misfortune", "widened", "met"),
    [
        (Misfortune(CLAIM, 2), [], CLAIM),
        (Misfortune(CLAIM, 3), [], None),
        (Misfortune(CLAIM, 3), [ANSWER, RELEASE], ANSWER),
        (Misfortune(CLAIM, 3), [CLAIM], CLAIM),
        (None, [], None),
    ],
)
def test_a_life_ends_where_it_was_appointed_to_and_tells_of_no_other_place(
    misfortune: Misfortune | None, widened: list[Point], met: Point | None
) -> None:
    context = multiprocessing.get_context("fork")
    appointments = Appointments(context.RawArray, misfortune)
    if widened:
        appointments.widen(widened)
    life = context.Process(target=_pass_by, args=(appointments, [CLAIM, CLAIM, ANSWER]))
    life.start()
    life.join(20)
    assert appointments.met == met
    assert life.exitcode == (0 if met is None else -signal.SIGKILL)


def _pass_by(appointments: Appointments, points: list[Point]) -> None:
    for point in points:
        appointments.observe(point.step, point.moment)
    appointments.observe("ledger.unheard_of", Moment.AFTER)


@pytest.mark.parametrize(
    ("kills", "short", "holds"),
    [
        ({str(CLAIM): 5, str(RELEASE): 5}, {}, True),
        ({str(CLAIM): 6, str(RELEASE): 4}, {RELEASE: 1}, False),
        ({str(CLAIM): 3}, {}, False),
    ],
)
def test_a_run_in_which_too_few_died_fails_and_says_where(
    kills: Mapping[str, int], short: Mapping[Point, int], *, holds: bool
) -> None:
    plan, _ = read_plan(["--signals", "3", "--kills", "10", "--each", "5", "--seed", "1"])
    outcome = Outcome(plan, signals=3, kills=kills, short=short, faults={}, verdict=HELD)
    assert outcome.holds is holds
    assert all(any(str(point) in line for line in outcome.unmet) for point in short)
