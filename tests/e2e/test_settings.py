"""The platform changes the settings of all strategies by plain UPDATE, and the next signal obeys.

The statements are those of the platform's own analysis, word by word.
"""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town
from tests.support.eventually import eventually
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.signals import signal_row

pytestmark = pytest.mark.timeout(180)

FILL_OR_KILL: Final = """
UPDATE lt_strategies
SET 
  order_type = 'FOK',              -- Fill-Or-Kill: execute immediately or cancel
  slippage_tolerance_pct = 3.0     -- Allow 3% slippage for better fill rate
WHERE is_active = true;
"""  # noqa: W291 - as it stands there
IMMEDIATE_OR_CANCEL: Final = """
UPDATE lt_strategies
SET 
  order_type = 'IOC',              -- Immediate-Or-Cancel: best fill rate
  slippage_tolerance_pct = 5.0     -- More aggressive slippage for fills
WHERE is_active = true;
"""  # noqa: W291
SWITCH_TO_IOC: Final = """
UPDATE lt_strategies
SET 
  order_type = 'IOC',
  slippage_tolerance_pct = 5.0,
  min_order_size_usd = 2.0
WHERE is_active = true;
"""  # noqa: W291
LOOK_BACK: Final = """
-- Look back 7 days to catch historical FT orders
UPDATE lt_strategies
SET last_sync_time = NOW() - INTERVAL '7 days'
WHERE is_active = true;
"""
IDLE: Final = "LT_VALUE_PATIENT"
_DAYS_BACK: Final = timedelta(days=7)


async def test_settings_of_all_strategies_are_in_force_one_second_after_the_platforms_update(
    town: Town,
) -> None:
    """With the feed alive; with a feed that brings nothing; and even for a signal that is committed with them."""
    await town.database.execute(b"update public.ft_wallets set bet_size = 1.5")
    await town.database.execute(
        b"update public.lt_strategies set is_active = false where strategy_id = %s", (IDLE,)
    )
    idle = await _settings(town, IDLE)
    before_the_sync = await town.signal(created_at=datetime.now(UTC) - timedelta(hours=20))
    async with town.worker() as worker:
        await eventually(lambda: _orders(town, before_the_sync), within_s=20)

        await town.database.execute(FILL_OR_KILL.encode())
        await asyncio.sleep(1)  # the promise
        await _obeys(town, await town.signal(), "FOK", "0.03", "1.50")

        await town.world.supabase.gateway.faults.inflict(Fault.SILENT_WINDOW, for_s=3600)
        await town.database.execute(IMMEDIATE_OR_CANCEL.encode())
        await asyncio.sleep(1)
        await _obeys(town, await town.signal(), "FAK", "0.05", "1.50")

        await town.database.execute(FILL_OR_KILL.encode())
        row = signal_row(await town.trade(), ft_wallet_id="FT_MOMENTUM", size_usd=Decimal(10))
        async with town.database.transaction():
            await town.database.execute(SWITCH_TO_IOC.encode())
            await town.insert([row])
        await _obeys(town, row["order_id"], "FAK", "0.05", "2.00")  # the least order is above the paper bet

        await _looks_back(town)
        assert await worker.stop() == 0
    assert await _settings(town, IDLE) == idle


async def _looks_back(town: Town) -> None:
    """There is no watermark to set back: what it is to find was found without it, and nothing is executed again."""
    ordered = "select lt_order_id, strategy_id, ft_order_id from public.lt_orders order by 1"
    orders = await town.rows(ordered)
    await town.database.execute(LOOK_BACK.encode())
    later = await town.signal()
    await eventually(lambda: _orders(town, later), within_s=20)
    others = [row for row in await town.rows(ordered) if row["ft_order_id"] != later]
    assert others == orders

    (told,) = await town.rows("""select public.lt_execution_audit('{"mode": "live"}') as audit""")
    synced = {one["strategy_id"]: one["last_sync_time"] for one in told["audit"]["strategies"]}
    assert {strategy for strategy, at in synced.items() if at is not None} == set(BOTH_MOMENTUM)
    for strategy in BOTH_MOMENTUM:
        back = datetime.now(UTC) - datetime.fromisoformat(synced[strategy])
        assert _DAYS_BACK <= back < _DAYS_BACK + timedelta(minutes=5)
    total = told["audit"]["total"]
    assert (total["holds"], total["skipped"]) == (True, 0)
    assert total["seen"] == total["executed"] == len(BOTH_MOMENTUM) * 5
    (types,) = [one for one in told["audit"]["order_types"] if one["order_type"] == "FAK"]
    assert types["seen"] == total["seen"]  # that is what the strategies order with now


async def _settings(town: Town, strategy_id: str) -> dict[str, Any]:
    (row,) = await town.rows("select * from public.lt_strategies where strategy_id = %s", strategy_id)
    return row


async def _obeys(town: Town, signal: str, order_type: str, slippage: str, bet_usd: str) -> None:
    """Both strategies have executed it by these settings."""
    orders = await eventually(lambda: _orders(town, signal), within_s=20)
    for order in orders:
        assert order["order_type"] == order_type
        assert Decimal(order["slippage"]) == Decimal(slippage)
        assert order["signal_price"] < order["limit_price"] <= order["signal_price"] * (1 + Decimal(slippage))
        assert order["signal_size_usd"] == Decimal(bet_usd)


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
