"""The state of the whole, made of what each part reports."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from worker.observe.health import Health, Level


@dataclass
class Wristwatch:
    at: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def watch() -> Wristwatch:
    return Wristwatch()


@pytest.fixture
def health(watch: Wristwatch) -> Health:
    return Health(watch)


@pytest.mark.parametrize(
    ("levels", "whole"),
    [
        ([], Level.OK),
        ([Level.OK, Level.OK], Level.OK),
        ([Level.OK, Level.DEGRADED], Level.DEGRADED),
        ([Level.FAILING, Level.DEGRADED, Level.OK], Level.FAILING),
    ],
)
def test_the_worst_part_is_the_state_of_the_whole(health: Health, levels: list[Level], whole: Level) -> None:
    for number, level in enumerate(levels):
        health.report(f"part {number}", level)
    assert health.level is whole


def test_a_part_that_recovers_no_longer_counts(health: Health) -> None:
    health.report("sweep", Level.FAILING, "the database does not answer")
    health.report("sweep", Level.OK)
    assert (health.level, health.sentence()) == (Level.OK, "trading")


def test_the_sentence_names_what_is_wrong_and_nothing_else(health: Health) -> None:
    health.report("strategies", Level.OK, "3 active")
    health.report("feed", Level.DEGRADED, "not live")
    assert health.sentence() == "trading, degraded (feed: not live)"
    health.report("wallets", Level.FAILING, "0xabc is held by another worker")
    assert health.sentence() == "NOT trading (feed: not live; wallets: 0xabc is held by another worker)"


def test_only_a_change_of_level_is_a_change(health: Health) -> None:
    told = [
        health.report("feed", Level.DEGRADED, "joining"),
        health.report("feed", Level.DEGRADED, "refused"),
        health.report("feed", Level.OK),
        health.report("feed", Level.OK),
    ]
    assert told == [True, False, True, False]


def test_a_state_is_as_old_as_its_last_change_of_level(health: Health, watch: Wristwatch) -> None:
    health.report("feed", Level.DEGRADED, "joining")
    began = watch.at
    watch.at += timedelta(seconds=30)
    health.report("feed", Level.DEGRADED, "refused")
    (check,) = health.checks
    assert (check.detail, check.since) == ("refused", began)
    health.report("feed", Level.OK)
    assert health.checks[0].since == watch.at
