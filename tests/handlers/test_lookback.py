"""What `--since` may say, and how a mistake in it is told."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.exchange_floor import WallClock
from worker.errors import ExitCode, UsageError
from worker.handlers.lookback import Lookback, parse_since


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        (" 2W ", timedelta(weeks=2)),
        ("2026-11-20T00:00:00Z", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T01:00:00+01:00", datetime(2026, 11, 20, tzinfo=UTC)),
    ],
)
def test_a_span_or_a_time_is_read(text: str, meant: timedelta | datetime) -> None:
    assert parse_since(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7x", "neither a span nor a time"),
        ("", "neither a span nor a time"),
        ("-7d", "neither a span nor a time"),
        ("99999d", "neither a span nor a time"),
        ("0d", "looks back at nothing"),
        ("2026-11-20T00:00:00", "write 2026-11-20T00:00:00Z"),
    ],
)
def test_a_value_that_cannot_be_meant_is_told_with_the_way_to_say_it(text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_since(text)
    assert str(refused.value).startswith(f"--since {text} ")
    assert said in str(refused.value)
    assert refused.value.exit_code is ExitCode.USAGE


def test_a_time_that_has_not_come_yet_is_refused() -> None:
    clock = WallClock()
    tomorrow = Lookback(clock.now() + timedelta(days=1), said="tomorrow")
    with pytest.raises(UsageError, match="--since tomorrow has not come yet"):
        tomorrow.begins(clock)
    begins = Lookback(timedelta(days=7), said="7d").begins(clock)
    assert begins is not None
    assert timedelta(days=7) <= clock.now() - begins < timedelta(days=7, minutes=5)
    assert Lookback().begins(clock) is None
