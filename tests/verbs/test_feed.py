"""The feed as lines for people: every column under its heading, whatever happened, and in UTC that says so."""

from typing import Any

import pytest

from worker.verbs.feed import Sheet

SKIP: dict[str, Any] = {
    "event": "order.decided", "at": "2026-11-23T00:23:15.276543+00:00", "strategy_id": "LT_ONE",
    "ft_order_id": "89320a8b-5c00-4356-beef-36ef8217513b", "side": "SELL", "token_label": "Yes", "entry_price": "0.520000",
    "market_title": "Will it rain in Oslo?", "state": "skipped", "reason": "below_min_size", "value": "0.5 shares",
    "limit": "1 share",
}  # fmt: skip
EXECUTED = SKIP | {"state": "executed", "reason": "executed"}
FILL = SKIP | {"event": "fill.booked", "shares": "1.00", "price": "0.530000", "state": "provisional"}
CLOSED = SKIP | {"event": "order.closed", "state": "killed", "note": "no_match: " + "word " * 20}


@pytest.mark.parametrize(
    ("event", "what", "detail"),
    [
        (SKIP, "skipped", "below_min_size (0.5 shares, limit 1 share)"),
        (EXECUTED, "executed", ""),
        (FILL, "fill.booked", "1 share at 0.53, provisional"),
        (CLOSED, "killed", "no_match: word word word word word word…"),
    ],
)
def test_each_cell_stands_under_its_heading(event: dict[str, Any], what: str, detail: str) -> None:
    sheet = Sheet(["LT_ONE", "LT_MOMENTUM_WHOLE"])
    heading = sheet.heading().plain
    day, line = (one.plain for one in sheet.lines(event))
    assert day == "2026-11-23, UTC"
    cells = {
        "time (UTC)": "00:23:15.276", "strategy": "LT_ONE", "signal": "89320a8b", "what": what,
        "trade": "SELL Yes @ 0.52", "detail": detail,
    }  # fmt: skip
    for title, cell in cells.items():
        assert line[heading.index(title) :].startswith(f"{cell}  ")
    assert line.endswith("  Will it rain in Oslo?")


def test_a_day_is_said_once_and_where_it_changes() -> None:
    sheet = Sheet([])
    assert sheet.is_empty
    told = [next(one.plain for one in sheet.lines(SKIP | {"at": at})) for at in (
        "2026-11-22T23:59:59+00:00", "2026-11-22T23:59:59.5+00:00", "2026-11-23T01:00:00+01:00", "2026-11-23T00:00:01+00:00",
    )]  # fmt: skip
    assert [one.endswith(", UTC") for one in told] == [True, False, True, False]
    assert not sheet.is_empty
