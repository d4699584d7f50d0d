"""What the judge of a chaos run calls missed: skips and deferrals that nothing bears out."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.evidence import Evidence
from tests.chaos.untraded import Staged, wrongly_untraded

D = Decimal
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
STAGED = Staged(bet_usd=D(10), fresh_for_s=120.0)
TOKEN = {"condition_id": "0xc", "token_label": "Yes", "traded_at": NOON}
PAPER = {"paper_shares": D(20), "paper_bought_shares": D(80)}


def pair(reason: str, side: str = "BUY", **changes: Any) -> dict[str, Any]:
    """Decided at one, of a strategy with a hundred dollars."""
    at = NOON + timedelta(hours=1)
    decided = {"state": "skipped", "reason": reason, "decided_at": at, "updated_at": at, "overdue_s": None}
    known = {"strategy_id": "LT", "ft_order_id": "one", "side": side, "capital_usd": D(100), "age_s": 1.0}
    return {**TOKEN, **known, **decided, **PAPER, **changes}


def deferred(reason: str, side: str = "BUY", overdue_s: float = -1.0) -> dict[str, Any]:
    return pair(reason, side, state="deferred", overdue_s=overdue_s)


def bought(usd: str, status: str = "CONFIRMED", side: str = "BUY") -> tuple[dict[str, Any], dict[str, Any]]:
    """An attempt of the strategy that was made and over before one o'clock, and the exchange's order."""
    attempt = {"exchange_order_id": f"{side} {usd}", "strategy_id": "LT", "side": side, "reserve_usd": D(usd)}
    times = {"created_at": NOON, "closed_at": NOON}
    fills = [{"shares": usd, "price": "1", "fee_usd": "0", "status": status}]
    return {**TOKEN, **attempt, **times, "target_shares": D(usd)}, {"fills": fills}


def said(*untraded: dict[str, Any], orders: Any = (), seen: int = 100) -> list[str]:
    evidence = Evidence(
        accepted=frozenset(),
        orders={attempt["exchange_order_id"]: order for attempt, order in orders},
        attempts=[attempt for attempt, _ in orders],
        executed=frozenset(),
        fills=[],
        locked_usd={},
        equation={"seen": seen},
        outcomes=[],
        payouts={},
        untraded=untraded,
        ended_markets=frozenset({"0xended"}),
        faults={"restarting": 1},
    )
    return list(wrongly_untraded(evidence, STAGED))


@pytest.mark.parametrize(
    ("rightly", "wrongly"),
    [
        (pair("market_closed", condition_id="0xended"), pair("market_closed")),
        (pair("signal_stale", age_s=121.0), pair("signal_stale", age_s=119.0)),
        (pair("sell_no_position", "SELL"), pair("sell_no_position", "BUY")),
        (deferred("exchange_restarting"), deferred("exchange_cancel_only")),
        (deferred("position_unsettled", "SELL"), deferred("position_unsettled", "BUY")),
        (deferred("lease_lost"), deferred("lease_lost", overdue_s=60.0)),
        (deferred("wallet_balance_unknown"), deferred("market_not_ready")),
        (pair("market_closed", condition_id="0xended"), pair("price_moved")),
    ],
)
def test_a_no_needs_what_the_run_stages(rightly: dict[str, Any], wrongly: dict[str, Any]) -> None:
    assert said(rightly) == []
    (only,) = said(wrongly)
    assert wrongly["reason"] in only


@pytest.mark.parametrize("reason", ["insufficient_capital", "below_min_size"])
def test_a_strategy_is_short_of_money_when_its_trades_have_spent_it(reason: str) -> None:
    assert said(pair(reason), orders=[bought("90.01")]) == []
    assert len(said(pair(reason), orders=[bought("90")])) == 1


def test_there_is_a_position_when_the_exchange_has_sold_it_one() -> None:
    sale = pair("sell_no_position", "SELL")
    assert len(said(sale, orders=[bought("20")])) == 1
    assert said(sale, orders=[bought("20"), bought("20", side="SELL")]) == []
    assert said(sale, orders=[bought("20", "FAILED")]) == []
    assert said({**sale, "paper_bought_shares": D(0)}, orders=[bought("20")]) == []


def test_a_sale_is_too_small_when_the_traders_part_of_what_was_bought_is() -> None:
    sale = pair("below_min_size", "SELL")
    assert said(sale, orders=[bought("19.9")]) == []
    assert len(said(sale, orders=[bought("20")])) == 1


def test_not_everything_may_wait_however_good_the_reasons() -> None:
    waiting = [deferred("lease_lost")] * 13
    assert len(said(*waiting)) == 13
    assert said(*waiting[:12]) == []
