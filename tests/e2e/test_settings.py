"""The platform changes the settings of all strategies by plain UPDATE, and the next signal obeys."""

import asyncio
import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town
from tests.support.eventually import eventually
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.signals import signal_row

pytestmark = pytest.mark.timeout(180)

_UPDATE = """
update public.lt_strategies set order_type = %s, slippage_tolerance_pct = %s, min_order_size_usd = %s where is_active
"""


async def test_settings_of_all_strategies_are_in_force_one_second_after_their_update(town: Town) -> None:
    """With the feed alive; with a feed that brings nothing; and even for a signal that is committed with them."""
    async with town.worker() as worker:
        await _change(town, "GTC", 8, 12)
        await asyncio.sleep(1)  # the promise
        await _obeys(town, await town.signal(), "GTC", "0.08", 12)

        await town.world.supabase.gateway.faults.inflict(Fault.SILENT_WINDOW, for_s=3600)
        await _change(town, "IOC", 6, 15)
        await asyncio.sleep(1)
        await _obeys(town, await town.signal(), "FAK", "0.06", 15)

        row = signal_row(await town.trade(), ft_wallet_id="FT_MOMENTUM", size_usd=Decimal(10))
        async with town.database.transaction():
            await _change(town, "FOK", 7, 18)
            await town.insert([row])
        await _obeys(town, row["order_id"], "FOK", "0.07", 18)
        assert await worker.stop() == 0


async def _change(town: Town, order_type: str, slippage_pct: int, min_order_usd: int) -> None:
    await town.database.execute(_UPDATE.encode(), (order_type, slippage_pct, min_order_usd))


async def _obeys(town: Town, signal: str, order_type: str, slippage: str, bet_usd: int) -> None:
    """Both strategies have executed it by these settings; their paper wallet's bet of 10 is below the minimum."""
    orders = await eventually(lambda: _orders(town, signal))
    for order in orders:
        assert order["order_type"] == order_type
        assert Decimal(order["slippage"]) == Decimal(slippage)
        assert order["signal_price"] < order["limit_price"] <= order["signal_price"] * (1 + Decimal(slippage))
        assert order["signal_size_usd"] == bet_usd


async def _orders(town: Town, signal: str) -> list[dict[str, Any]]:
    rows = await town.rows(
        """
        select a.strategy_id, a.order_type, a.limit_price, o.signal_price, o.signal_size_usd, d.snapshot ->> 'slippage' as slippage
        from public.lt_order_attempts a
        join public.lt_orders o using (lt_order_id)
        join public.lt_decisions d on d.strategy_id = a.strategy_id and d.ft_order_id = a.ft_order_id and d.mode = a.mode
        where a.ft_order_id = %s
        """,
        uuid.UUID(signal),
    )
    assert {row["strategy_id"] for row in rows} == set(BOTH_MOMENTUM)
    return rows
