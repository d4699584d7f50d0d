"""A market ends: the worker settles its orders, those of the account and those of a paper purse beside it."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town, open_town
from tests.support.eventually import eventually
from worker.sandbox.postgres import Postgres

pytestmark = pytest.mark.timeout(180)

SHADOW = BOTH_MOMENTUM[1]
SETTLES_AT_ONCE = {
    "POLYCOPY_SETTLEMENT__ROUND_EVERY_S": "0.3",
    "POLYCOPY_SETTLEMENT__LEAST_S": "0.2",
    "POLYCOPY_SETTLEMENT__MOST_S": "0.2",
}


@pytest.fixture
async def town(cluster: Postgres, migrated_template: str) -> AsyncIterator[Town]:
    """Trades are final at once."""
    async with open_town(cluster, migrated_template, mined_after_s=0.1, confirmed_after_s=0.1) as town:
        yield town


async def test_orders_of_a_market_that_ended_are_won_in_both_modes(town: Town) -> None:
    await town.database.execute(
        "update public.lt_strategies set shadow_mode = true where strategy_id = %s", (SHADOW,)
    )
    market = (await town.world.exchange.read("markets"))[0]
    async with town.worker(SETTLES_AT_ONCE):
        await town.signal()
        await eventually(lambda: _settled_fills(town, 2), within_s=60)
        assert {row["outcome"] for row in await _orders(town)} == {"OPEN"}
        await town.world.exchange.call("resolve", condition=market["condition"], winner=market["tokens"][0])
        orders = await eventually(lambda: _all_won(town), within_s=60)
    assert [(row["strategy_id"], row["is_shadow"]) for row in orders] == [
        (BOTH_MOMENTUM[0], False),
        (SHADOW, True),
    ]
    for row in orders:
        assert row["winning_label"] == market["outcomes"][0]
        assert row["pnl"] == round(row["shares"] - row["usd"], 2) > 0
        # The payout cools down; what it cost is not locked any more.
        assert (row["locked_usd"], row["cooldown_usd"]) == (Decimal(0), row["shares"])


async def _settled_fills(town: Town, of_orders: int) -> bool:
    rows = await town.rows("select distinct exchange_order_id from public.lt_fills where state = 'final'")
    still = await town.rows("select from public.lt_order_attempts where closed_at is null")
    return len(rows) == of_orders and not still


async def _orders(town: Town) -> list[dict[str, Any]]:
    return await town.rows(
        "select o.*, t.shares, t.usd, c.locked_usd, c.cooldown_usd"
        " from public.lt_orders o join public.lt_attempt_totals t using (lt_order_id)"
        " join public.lt_capital_now c on c.strategy_id = o.strategy_id"
        " and c.mode = case when o.is_shadow then 'paper' else 'live' end"
        " order by o.strategy_id"
    )


async def _all_won(town: Town) -> list[dict[str, Any]]:
    orders = await _orders(town)
    assert {row["outcome"] for row in orders} == {"WON"}
    return orders
