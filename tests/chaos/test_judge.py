"""What the judge of a chaos run calls a duplicate, now that an order may have several attempts."""

from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.evidence import Evidence
from tests.chaos.judge import duplicates

D = Decimal


def attempt(order_id: str, state: str = "matched", **changes: Any) -> dict[str, Any]:
    """Of a FAK for ten dollars."""
    pair = {"strategy_id": "LT", "ft_order_id": "one", "exchange_order_id": order_id, "state": state}
    return {**pair, "amount_usd": D(10), "target_shares": None, **changes}


def order(
    order_id: str, born: int, ended: int | None, shares: str = "0", status: str = "CONFIRMED"
) -> dict[str, Any]:
    """That traded so many shares at 50 cents."""
    fills = [{"shares": shares, "price": "0.5", "status": status}] if shares != "0" else []
    return {"id": order_id, "born_ns": born, "ended_ns": ended, "fills": fills}


def said(attempts: list[dict[str, Any]], *orders: dict[str, Any]) -> list[str]:
    evidence = Evidence(
        accepted=frozenset(one["id"] for one in orders),
        orders={one["id"]: one for one in orders},
        attempts=attempts,
        executed=frozenset({("LT", "one")}),
        fills=[],
        locked_usd={},
        equation={},
        outcomes=[],
        payouts={},
    )
    return list(duplicates(evidence))


def test_attempts_one_after_the_other_that_share_a_target_are_no_duplicates() -> None:
    both = [attempt("a"), attempt("b", amount_usd=D(4))]
    assert said(both, order("a", 1, 2, "12"), order("b", 3, 3, "8")) == []
    assert said(both, order("a", 1, 2, "20", "FAILED"), order("b", 3, None, "20")) == []
    assert said([attempt("a", "rejected"), attempt("b", amount_usd=D(11))], order("b", 1, 1, "22")) == []


@pytest.mark.parametrize(
    ("attempts", "orders", "complaint"),
    [
        ([attempt("a")], [order("a", 1, 1), order("b", 2, 2)], "no attempt knows of it"),
        ([attempt("a"), attempt("b")], [order("a", 1, None), order("b", 2, 2)], "lived at the same time"),
        ([attempt("a"), attempt("b")], [order("a", 1, 3), order("b", 2, 2)], "lived at the same time"),
        (
            [attempt("a"), attempt("b")],
            [order("a", 1, 1, "12"), order("b", 2, 2, "8.1")],
            "traded 10.05 of 10 USD",
        ),
        (
            [attempt("a", amount_usd=None, target_shares=D(5))],
            [order("a", 1, 1, "5.1")],
            "traded 5.1 of 5 shares",
        ),
    ],
)
def test_strangers_overlapping_lives_and_too_much_are(
    attempts: list[dict[str, Any]], orders: list[dict[str, Any]], complaint: str
) -> None:
    (only,) = said(attempts, *orders)
    assert complaint in only
