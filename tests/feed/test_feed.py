"""Nothing is missed and nothing is late, whatever becomes of the feed: the short runs of a harness.

`make feed-faults` strikes with every fault in turn and `make feed-faults ARGS="--mixed 60"` with all at once;
`make soak` is the long look at the worker's memory.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.feed.books import Books, Pair
from tests.feed.equation import count
from tests.feed.faults import FEED_TRIALS
from tests.feed.flow import Line
from tests.feed.outages import Outage
from tests.feed.play import Outcome, Plan, play
from tests.feed.scene import WorkerLog
from tests.feed.tampering import DELETE_ONE, INSERT_ONE
from tests.feed.trials import Span, _late, judged
from tests.support.desk import Desk
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE
from worker.sandbox.postgres import Postgres

ROOT = Path(__file__).parents[2]
# Whoever else uses the machine: only what is never found is too late.
BUSY_S = 20.0
RATE_PER_S = 5.0
WORST = frozenset(
    {
        Fault.DEAD_CHANNELS,
        Fault.UNAUTHORIZED_ROWS,
        Fault.LOSS_BEFORE_RESET,
        Fault.CHANNEL_CLOSED,
        Outage.POSTGREST_RESTARTED,
    }
)


@pytest.mark.timeout(400)
async def test_nothing_is_missed_while_the_feed_fails_in_its_worst_ways(
    cluster: Postgres, migrated_template: str
) -> None:
    plan = Plan(seed=11, rate_per_s=RATE_PER_S, only=WORST, slack_s=BUSY_S)
    outcome = await play(plan, postgres=cluster, template=migrated_template)
    assert {result.name for result in outcome.results} == WORST
    _assert_holds(outcome)
    assert sum(result.lost_by_feed for result in outcome.results) > 0
    assert sum(result.found_by_sweep for result in outcome.results) > 0


@pytest.mark.timeout(400)
async def test_the_equation_holds_while_faults_and_pauses_come_at_once(
    cluster: Postgres, migrated_template: str
) -> None:
    plan = Plan(seed=12, rate_per_s=RATE_PER_S, mixed_s=8.0, outages=False, slack_s=BUSY_S)
    outcome = await play(plan, postgres=cluster, template=migrated_template)
    _assert_holds(outcome)
    assert outcome.books.reasons["strategy_paused"] > 0


def _assert_holds(outcome: Outcome) -> None:
    assert [result for result in outcome.results if not result.holds] == []
    assert outcome.unbalanced == []
    assert outcome.holds


@pytest.mark.timeout(400)
def test_a_run_without_a_sweep_on_a_dead_feed_fails() -> None:
    code, said = _run("tests.feed.run", "--control", "no-sweep", "--seed", "13")
    assert code == 1
    assert said["missed"] > 0
    assert said["executed"] == 0 or said["samples_late"] > 0


@pytest.mark.timeout(400)
def test_memory_stands_still_while_thousands_of_signals_pass() -> None:
    code, said = _run("tests.feed.soak", "--signals", "5000", "--strategies", "20")
    assert code == 0, said
    assert (said["decided"], said["missed"], said["duplicates"]) == (5000, 0, 0)
    assert said["executed"] > 0
    assert said["rss_growth_mib"] < 10


def _run(module: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", module, "--json", *arguments],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=False,
        text=True,
    )
    return done.returncode, json.loads(done.stdout or "{}")


def test_a_verdict_of_lateness_names_the_limit_and_what_helps_a_busy_machine() -> None:
    sentence = _late("on the wire", 3.25, 1.5)
    assert sentence == "on the wire after 3.25 s, 1.75 s over the limit of 1.5 s (a busy machine: --slack)"


def test_no_known_fault_is_left_out() -> None:
    assert {trial.name for trial in FEED_TRIALS} == set(Fault) == set(CATALOGUE)


@pytest.mark.parametrize(("slack_s", "holds"), [(0.0, False), (BUSY_S, True)])
def test_a_quiet_fault_that_nobody_notices_fails_a_run_without_slack(slack_s: float, *, holds: bool) -> None:
    (dead,) = [trial for trial in FEED_TRIALS if trial.name == Fault.DEAD_CHANNELS]
    span = Span(dead, struck_at=0, over_at=5, back_at=6, ended_at=7, lost_by_feed=9, degraded_at=None)
    swept = Pair("LT_ONE", "one", 1.0, "executed", "executed", on_wire_at=2.0, reacted_at=2.0, twice=0)
    books = Books([swept], duplicates=0, log=WorkerLog(), away=[])
    assert judged(span, books, slack_s=slack_s).holds is holds


def test_no_slack_is_granted_unless_it_is_asked_for() -> None:
    assert Plan(seed=1).slack_s == 0


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    desk = await Desk.open(database, mode="live")
    yield desk
    await desk.close()


async def test_a_decision_that_vanishes_and_one_that_strays_in_are_both_counted(
    desk: Desk, database: str
) -> None:
    await desk.strategy()
    for _ in range(3):
        signal = await desk.signal(created_at=datetime.now(UTC) - timedelta(minutes=1))
        await desk.decide(signal)
    async with Line.open(database) as line:
        assert (await count(line)).holds
        await line.ask(DELETE_ONE)
        assert (await count(line)).missed == 1
        await line.ask(INSERT_ONE)
        assert not (await count(line)).balances
