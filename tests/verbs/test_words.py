"""How figures are said: short, with their unit, and a dash for what is not known."""

import pytest

from worker.verbs.words import (
    Part,
    clock_time,
    columns,
    counted,
    day_and_time,
    laid_out,
    line,
    minutes,
    moment,
    percent,
    price,
    shares,
    since,
    took,
    usd,
)

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
    assert [minutes(value) for value in ("0.25", "1.5", None)] == ["0.25", "1.50", "-"]
    assert (moment(AT), clock_time(AT)) == ("2026-11-23 00:23:15.276Z", "00:23:15.276")
    assert since(AT, "2026-11-23T00:26:15.276543+00:00") == "3.0 min ago"
    assert (moment(None), clock_time("never"), since(AT, None)) == ("-", "-", "-")


def test_one_is_singular_and_a_price_has_no_needless_zeros() -> None:
    assert [counted(n, "order") for n in (0, 1, "2")] == ["0 orders", "1 order", "2 orders"]
    assert [counted(n, "try", "tries") for n in (1, 3)] == ["1 try", "3 tries"]
    assert [shares(value) for value in ("0.00", "1", "12.50", None)] == [
        "0 shares",
        "1 share",
        "12.5 shares",
        "- shares",
    ]
    assert [price(value) for value in ("0.744000", "10", None)] == ["0.744", "10", "-"]
    assert day_and_time(AT) == "2026-11-23 00:23:15"


def plain(part: Part, width: int | None = None) -> list[str]:
    return [one.plain for one in laid_out([part], width)]


@pytest.mark.parametrize(("width", "most"), [(None, 100), (200, 100), (80, 80)])
def test_a_long_value_goes_on_under_its_beginning(width: int | None, most: int) -> None:
    shown = plain(line("why", "word " * 40), width)
    assert shown[0].startswith("  why         word")
    assert len(shown) > 1
    assert all(part.startswith(" " * 14 + "word") for part in shown[1:])
    assert most - len("word ") < max(map(len, shown)) <= most


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    shown = plain(columns([("name", "count"), ("a", "7"), ("longer", "123456")], right=(1,)))
    assert shown == ["  name     count", "  a            7", "  longer  123456"]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_a_table_that_is_wider_than_the_terminal_is_folded_and_cuts_no_cell(width: int) -> None:
    rows = [
        ("strategy", "mode", "stands", "available", "locked", "realised", "why"),
        ("LT_MOMENTUM_FAST", "live", "trading", "$123,456.78", "$9,876.54", "-$1,234.56", "word " * 30),
        ("LT_TWO", "live", "killed", "$1.00", "$0.00", "$0.00", ""),
    ]
    shown = plain(columns(rows, right=(3, 4, 5)), width)
    assert max(map(len, shown)) <= width
    assert sorted(" ".join(shown).split()) == sorted(" ".join(" ".join(row) for row in rows).split())
    for begins in ("strategy", "LT_MOMENTUM_FAST", "LT_TWO"):
        assert sum(one.startswith(f"  {begins}") for one in shown) == 1
    assert plain(columns(rows, right=(3, 4, 5))) == plain(columns(rows, right=(3, 4, 5)), 400)
