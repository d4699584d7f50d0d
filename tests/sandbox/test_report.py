"""What counts as a duplicate: an order beside another one, and one of nobody; never the next attempt of what ended."""

import pytest

from worker.sandbox.report import duplicates_among

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
