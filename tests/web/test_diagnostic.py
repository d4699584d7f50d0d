"""What the diagnostic says, it says as `status` does, and of one thing in the singular."""

from typing import Any

import pytest

from worker.verbs.standing import Standing
from worker.verbs.words import laid_out
from worker.web.diagnostic import diagnosis_of

NOW = "2026-11-23T03:04:05+00:00"
FUNNEL: dict[str, Any] = {
    "since": NOW,
    "unknown_insert_time": 0,
    "total": {
        "seen": 0,
        "undecided": 0,
        "missed": 0,
        "deferred": 0,
        "holds": True,
        "orders": {"placed": 1, "by_status": {}},
    },
}


def status(**attempts: Any) -> dict[str, Any]:
    """Of one strategy that trades, and these orders."""
    return {
        "now": NOW, "mode": "live", "standing": "ok", "leases": [], "controls": [], "wallets": [], "feed": {},
        "last_hour": dict.fromkeys(("seen", "executed", "skipped", "deferred", "undecided", "missed"), 0),
        "deferred": 0, "elsewhere": [], "needs_human": [],
        "strategies": [
            {"strategy_id": "LT_ONE", "mode": "live", "standing": "trading", "open_orders": 1, "capital": {}},
        ],
        "attempts": {"open": 0, "unbooked": 0, "unknown": 0, "by_state": {}} | attempts,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attempts", "told"),
    [
        ({}, "no order is open"),
        ({"open": 1, "oldest_open_s": "3"}, "1 order is open, 0 of unknown outcome, the oldest for 3.0 s"),
        (
            {"open": 2, "unknown": 1, "oldest_open_s": "150", "unbooked": 1, "oldest_unbooked_s": "7300"},
            (
                "2 orders are open, 1 of unknown outcome, the oldest for 2.5 min; "
                "1 that is over has trades to be read, the oldest for 2.0 h"
            ),
        ),
        (
            {"unbooked": 3, "oldest_unbooked_s": "5"},
            "no order is open; 3 that are over have trades to be read, the oldest for 5.0 s",
        ),
    ],
)
def test_open_orders_are_told_in_one_sentence_by_status_and_by_the_diagnostic(
    attempts: dict[str, Any], told: str
) -> None:
    answer = status(**attempts)
    printed = " ".join(" ".join(line.plain for line in laid_out(Standing.of(answer).lines())).split())
    assert f"orders {told} feed" in printed
    (message,) = [
        one.message for one in diagnosis_of(answer, FUNNEL, 60).results if one.category == "Order Events"
    ]
    assert message == f"{told[0].upper()}{told[1:]}."


def test_one_of_a_thing_is_told_in_the_singular() -> None:
    told = {one.category: one.message for one in diagnosis_of(status(), FUNNEL, 60).results}
    assert told["LT Strategies"] == "1 strategy is active or switched off."
    assert told["Active Strategies"] == "1 of 1 trading."
    assert told["LT Orders"] == "1 order was placed in this time."
