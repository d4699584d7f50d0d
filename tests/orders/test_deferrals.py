"""When a signal is fresh, stale or too old, and for how long it is asked again."""

from datetime import timedelta

import pytest

from tests.orders.builders import (
    NOW,
    a_book,
    a_market,
    a_signal,
    a_strategy,
)
from tests.orders.judging import POLICY, aged, judge, skip
from worker.orders.decide import Plan, defer, is_fresh, screen
from worker.orders.policy import RetryPace
from worker.orders.reasons import SkipReason
from worker.orders.skips import Deferral


def test_ages_are_counted_from_the_insert_and_not_from_the_traders_trade() -> None:
    traded_long_ago = a_signal(order_time=(NOW - timedelta(days=3)).isoformat())
    assert isinstance(judge(traded_long_ago), Plan)


def test_the_edges_of_freshness_and_age_are_inside() -> None:
    assert is_fresh(aged(minutes=2), POLICY, NOW)
    assert not is_fresh(aged(minutes=2, microseconds=1), POLICY, NOW)
    offer = a_book(asks={"0.51": "100"})
    assert isinstance(judge(aged(hours=24), book=offer), Plan)
    assert skip(aged(hours=24, seconds=1), book=offer).reason is SkipReason.SIGNAL_TOO_OLD


def test_a_stale_signal_executes_on_an_offer_inside_its_cap_and_on_nothing_else() -> None:
    stale = aged(hours=2)
    assert isinstance(judge(stale, book=a_book(asks={"0.51": "100"})), Plan)
    assert skip(stale, book=a_book(asks={"0.52": "100"})).reason is SkipReason.SIGNAL_STALE
    assert skip(stale, book=a_book()).reason is SkipReason.SIGNAL_STALE
    assert skip(stale, book=None).reason is SkipReason.SIGNAL_STALE


def test_a_signal_from_a_clock_that_is_ahead_is_fresh() -> None:
    ahead = a_signal(created_at=(NOW + timedelta(seconds=3)).isoformat())
    assert isinstance(judge(ahead), Plan)
    deferred = defer(SkipReason.EXCHANGE_UNREACHABLE, ahead, POLICY, NOW)
    assert deferred.retry_at == NOW + POLICY.quick_retry.first


def test_a_market_that_pauses_is_asked_again_while_the_signal_is_fresh_and_given_up_then() -> None:
    paused = a_market(accepting=False)
    deferred = skip(market=paused)
    assert deferred.reason is SkipReason.MARKET_NOT_READY
    assert deferred.retry_at is not None
    assert NOW < deferred.retry_at <= NOW + timedelta(seconds=15)
    assert deferred.expires_at == a_signal().created_at + POLICY.fresh_for
    assert not skip(aged(minutes=3), market=paused).deferred


def test_an_unreachable_exchange_is_asked_again_until_the_signal_is_too_old_for_anything() -> None:
    signal = aged(hours=2)
    deferred = defer(SkipReason.EXCHANGE_UNREACHABLE, signal, POLICY, NOW, value="timeout")
    assert deferred.deferred
    assert deferred.expires_at == signal.created_at + POLICY.backfill_max_age
    too_old = defer(SkipReason.EXCHANGE_UNREACHABLE, aged(hours=24), POLICY, NOW)
    assert not too_old.deferred


def test_it_is_not_asked_again_before_the_exchange_said_nor_after_the_end() -> None:
    signal = aged(hours=1)
    later, too_late = NOW + timedelta(minutes=7), NOW + timedelta(days=9)
    reason = SkipReason.EXCHANGE_POST_ONLY
    assert defer(reason, signal, POLICY, NOW, not_before=NOW).retry_at == NOW + POLICY.slow_retry.first
    assert defer(reason, signal, POLICY, NOW, not_before=later).retry_at == later
    ended = defer(reason, signal, POLICY, NOW, not_before=too_late)
    assert ended.retry_at == ended.expires_at


@pytest.mark.parametrize(
    ("reason", "pace"),
    [
        (SkipReason.EXCHANGE_UNREACHABLE, POLICY.quick_retry),
        (SkipReason.EXCHANGE_DISABLED, POLICY.slow_retry),
    ],
)
def test_each_try_waits_twice_as_long_as_the_one_before_up_to_a_cap(
    reason: SkipReason, pace: RetryPace
) -> None:
    waits = [
        (deferred.retry_at or NOW) - NOW
        for tries in range(12)
        for deferred in [defer(reason, aged(hours=1), POLICY, NOW, before=Deferral(tries, reason))]
    ]
    assert waits[:3] == [pace.first, 2 * pace.first, 4 * pace.first]
    assert waits[-1] == pace.cap
    assert defer(reason, aged(hours=1), POLICY, NOW).retry_at == NOW + pace.first


def test_a_try_is_never_put_off_beyond_the_expiry() -> None:
    nearly = defer(SkipReason.EXCHANGE_DISABLED, aged(hours=23, minutes=59, seconds=59), POLICY, NOW)
    assert nearly.retry_at == nearly.expires_at == NOW + timedelta(seconds=1)


def test_a_deferral_that_outlived_its_signal_ends_with_the_reason_that_kept_it_waiting() -> None:
    old = aged(hours=25)
    ended = screen(old, a_strategy(), POLICY, NOW, before=Deferral(7, "exchange_disabled"))
    assert ended is not None
    assert (ended.reason, ended.deferred) == (SkipReason.EXCHANGE_DISABLED, False)
    assert (ended.value, ended.limit) == ("90000 s", "86400 s")
    for word in (None, Deferral(7, "a_word_of_another_version")):
        aged_out = screen(old, a_strategy(), POLICY, NOW, before=word)
        assert aged_out is not None
        assert aged_out.reason is SkipReason.SIGNAL_TOO_OLD
