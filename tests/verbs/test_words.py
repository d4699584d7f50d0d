"""How figures are said: short, with their unit, and a dash for what is not known."""

import pytest

from worker.verbs.words import clock_time, columns, line, minutes, moment, percent, since, took, usd

AT = "2026-11-23T00:23:15.276543+00:00"


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        ("0.04", "0.0 ms"), ("9.94", "9.9 ms"), ("25.4", "25 ms"), ("2100", "2.1 s"), ("180000", "3.0 min"),
        ("18000000", "5.0 h"), ("259200000", "3.0 d"), ("-188.0", "-188 ms"), (None, "-"), ("x", "-"),
    ],
)  # fmt: skip
def test_a_span_is_said_in_the_unit_that_people_would_take(ms: str | None, words: str) -> None:
    assert took(ms) == words


def test_money_shares_and_times_are_said_as_people_write_them() -> None:
    assert [usd(value) for value in ("1234.5", "-7.8", None)] == ["$1,234.50", "-$7.80", "-"]
    assert [percent(share) for share in ("0.0432", "1", None)] == ["4.3 %", "100.0 %", "-"]
    assert [minutes(value) for value in ("0.25", "-0.01", None)] == ["0.25", "0.00", "-"]
    assert (moment(AT), clock_time(AT)) == ("2026-11-23 00:23:15.276Z", "00:23:15.276")
    assert since(AT, "2026-11-23T00:26:15.276543+00:00") == "3.0 min ago"
    assert (moment(None), clock_time("never"), since(AT, None)) == ("-", "-", "-")


def test_a_long_value_goes_on_under_its_beginning() -> None:
    shown = [one.plain for one in line("why", "word " * 40)]
    assert shown[0].startswith("  why         word")
    assert len(shown) > 1
    assert all(part.startswith(" " * 14 + "word") for part in shown[1:])
    assert max(map(len, shown)) <= 100


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    shown = [one.plain for one in columns([("name", "count"), ("a", "7"), ("longer", "123456")], right=(1,))]
    assert shown == ["  name     count", "  a            7", "  longer  123456"]
