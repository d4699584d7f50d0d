"""What counts as a duplicate, and as a latency: an order beside another one, and one of nobody; never the next attempt of what ended."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.sandbox.report import duplicates_among, latency_of

ATTEMPTS = [
    {"exchange_order_id": "0x1", "strategy_id": "LT_ONE", "ft_order_id": "signal"},
    {"exchange_order_id": "0x2", "strategy_id": "LT_ONE", "ft_order_id": "signal"},
]


@pytest.mark.parametrize(
    ("accepted", "first_ended_ns", "duplicates"),
    [
        ("0x1 0x2", 15, 0),
        ("0x1 0x2", 20, 0),
        ("0x1 0x2", 21, 1),
        ("0x1 0x2", None, 1),
        ("0x1", None, 0),
        ("0x1 0x3", 15, 1),
    ],
)
def test_a_further_attempt_is_a_duplicate_if_the_one_before_it_lived(
    accepted: str, first_ended_ns: int | None, duplicates: int
) -> None:
    orders = {
        "0x1": {"id": "0x1", "born_ns": 10, "ended_ns": first_ended_ns},
        "0x2": {"id": "0x2", "born_ns": 20, "ended_ns": None},
    }
    assert duplicates_among(ATTEMPTS, accepted.split(), orders) == duplicates


def test_what_was_put_off_or_tried_again_does_not_count_as_slow() -> None:
    """An order of each kind, all signals committed at the same moment."""
    began = datetime(2026, 11, 23, tzinfo=UTC)
    kinds = {"0x1": (1, False, 40), "0x2": (1, True, 9_000), "0x3": (2, False, 2_000), "0x4": (1, False, 60)}
    attempts = [
        {
            "exchange_order_id": order_id,
            "attempt_no": number,
            "put_off": put_off,
            "committed_at": began,
            "own_ms": "7.5",
        }
        for order_id, (number, put_off, _) in kinds.items()
    ]
    arrivals = {
        order_id: (began + timedelta(milliseconds=after_ms)).timestamp() * 1000
        for order_id, (_, _, after_ms) in kinds.items()
    }
    told = latency_of([*attempts, attempts[0] | {"exchange_order_id": "0x5"}], arrivals)
    assert (told.commit_to_wire.count, told.commit_to_wire.max) == (2, 60)
    assert (told.commit_to_wire_late.count, told.commit_to_wire_late.p50) == (1, 9_000)
    assert told.own_time.count == 5
