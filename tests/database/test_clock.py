import time
from datetime import UTC, datetime, timedelta

import pytest

from worker.database.clock import DatabaseClock

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Machine:
    """A machine whose wall clock and monotonic clock are moved by hand."""

    def __init__(self) -> None:
        self.wall = START.timestamp()
        self.monotonic = 100.0

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> DatabaseClock:
    return DatabaseClock(wall_s=lambda: machine.wall, monotonic_s=lambda: machine.monotonic)


def answer(clock: DatabaseClock, machine: Machine, *, ahead_s: float, round_trip_s: float) -> None:
    """The database, `ahead_s` before this machine, answers in the middle of a round trip."""
    sent = clock.monotonic()
    database_now = datetime.fromtimestamp(machine.wall + round_trip_s / 2 + ahead_s, tz=UTC)
    machine.pass_by(round_trip_s)
    clock.learn(database_now, sent_s=sent, received_s=clock.monotonic())


def test_before_the_first_answer_it_tells_the_machines_time(clock: DatabaseClock, machine: Machine) -> None:
    machine.pass_by(2.5)
    assert clock.now() == START + timedelta(seconds=2.5)
    assert not clock.synchronised


def test_one_answer_is_enough_to_tell_the_databases_time(clock: DatabaseClock, machine: Machine) -> None:
    answer(clock, machine, ahead_s=7.25, round_trip_s=0.04)
    assert clock.synchronised
    assert clock.offset_s == pytest.approx(7.25, abs=1e-6)
    assert (clock.now() - START).total_seconds() == pytest.approx(7.29, abs=1e-5)


def test_a_slow_answer_moves_it_by_no_more_than_it_proves(clock: DatabaseClock, machine: Machine) -> None:
    answer(clock, machine, ahead_s=1.0, round_trip_s=0.01)
    sent = clock.monotonic()
    made_at = machine.wall + 1.0  # the answer is made at once and travels for 4 s: its midpoint is 2 s off
    machine.pass_by(4.0)
    clock.learn(datetime.fromtimestamp(made_at, tz=UTC), sent_s=sent, received_s=clock.monotonic())
    assert 0.5 < clock.offset_s <= 1.0


def test_a_step_of_the_database_is_followed_at_once(clock: DatabaseClock, machine: Machine) -> None:
    answer(clock, machine, ahead_s=0.0, round_trip_s=0.01)
    answer(clock, machine, ahead_s=-30.0, round_trip_s=0.01)
    assert clock.offset_s == pytest.approx(-30.0, abs=0.006)


def test_a_step_of_the_machines_wall_clock_does_not_move_it(clock: DatabaseClock, machine: Machine) -> None:
    answer(clock, machine, ahead_s=0.0, round_trip_s=0.01)
    before = clock.now()
    machine.wall += 3600.0
    assert clock.now() == before


def test_jitter_of_the_network_is_smoothed(clock: DatabaseClock, machine: Machine) -> None:
    answer(clock, machine, ahead_s=0.0, round_trip_s=0.01)
    for skew in (0.05, -0.05) * 10:
        sent = clock.monotonic()
        made_at = machine.wall + 0.05 + skew
        machine.pass_by(0.1)
        clock.learn(datetime.fromtimestamp(made_at, tz=UTC), sent_s=sent, received_s=clock.monotonic())
        assert abs(clock.offset_s) < 0.02


def test_the_time_for_which_the_machine_was_suspended_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    since_boot_s = 100.0
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda which: since_boot_s if which == 7 else -1.0)
    clock = DatabaseClock(wall_s=START.timestamp)
    before, began_s = clock.now(), clock.monotonic()
    since_boot_s += 3600.0
    assert clock.monotonic() - began_s == 3600.0
    assert clock.now() - before == timedelta(hours=1)


@pytest.mark.parametrize("missing", [True, False])
def test_where_no_clock_counts_a_suspension_the_ordinary_one_serves(
    monkeypatch: pytest.MonkeyPatch, *, missing: bool
) -> None:
    def refuse(_: int) -> float:
        raise OSError("no such clock")

    monkeypatch.setattr(time, "clock_gettime", refuse)
    if missing:
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    earliest_s = time.monotonic()
    assert earliest_s <= DatabaseClock().monotonic() <= time.monotonic()
