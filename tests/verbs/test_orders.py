"""Orders in a table, and one of them in its story: a sale bets nothing, so no bet of nothing is shown."""

from typing import Any

import pytest

from worker.orders.terms import Mode
from worker.verbs.explain import Pair
from worker.verbs.orders import OrderList
from worker.verbs.words import laid_out

PLAIN: dict[str, Any] = {
    "created_at": "2026-11-23T00:23:15.276543+00:00",
    "strategy_id": "LT_ONE",
    "ft_order_id": "89320a8b-5c00-4356-beef-36ef8217513b",
    "order_type": "FAK",
    "token_label": "Yes",
    "market_title": "Will it rain in Oslo?",
    "executed_price": "0.53",
    "executed_size_usd": "6.36",
    "signal_price": "0.52",
    "status": "FILLED",
}


@pytest.mark.parametrize(("side", "bet_usd", "told"), [("BUY", "6.00", "bet $6.00"), ("SELL", "0", "sale")])
def test_a_sale_shows_no_bet(side: str, bet_usd: str, told: str) -> None:
    order = PLAIN | {"side": side, "signal_size_usd": bet_usd}
    listed = OrderList.of({"orders": [order], "more": False}, Mode.LIVE)
    table = "\n".join(one.plain for one in laid_out(listed.lines()))
    assert ("$6.00" in table, "$6.36" in table, "$0.00" in table) == (side == "BUY", True, False)
    assert "price or limit" in table.partition("\n")[0]  # of what is filled, and of what still waits
    pair = {
        "strategy_id": "LT_ONE",
        "mode": "live",
        "state": "executed",
        "order": order,
        "history": [],
        "timeline": [],
        "attempts": [],
        "snapshot": {},
    }
    story = " ".join(one.plain for one in laid_out(Pair.of(pair).lines()))
    assert f"FILLED: $6.36 at 0.53, {told} at 0.52" in story
