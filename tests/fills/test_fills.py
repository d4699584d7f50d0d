"""From the exchange's trades to the platform's rows: each case of `cases.py` through the worker's own parts, a real
PostgreSQL and an exchange that trades; what comes of it must be what the table says, to the last unit.
"""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.fills.cases import CASES, Booked, Case, Money, Row
from tests.fills.scene import Scene
from tests.support.eventually import eventually
from tests.support.pending_desk import looking_up
from tests.support.trading_room import TradingRoom, open_room
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

D = Decimal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(cluster: Postgres, migrated_template: str) -> AsyncIterator[TradingRoom]:
    """One for all cases: each has a strategy and a market of its own."""
    async with (
        SupabaseSandbox.start(postgres=cluster, template=migrated_template) as supabase,
        open_room(supabase) as room,
    ):
        yield room


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
async def test_an_order_comes_to_what_was_worked_out_by_hand(room: TradingRoom, number: int) -> None:
    case = CASES[number]
    with capture_logs() as log:
        async with (
            Scene.open(room, f"CASE_{number}", order_type=case.order_type, bet_usd=case.bet_usd) as scene,
            looking_up(room),
        ):
            await case.play(scene)
            await eventually(lambda: _has_come_to(scene, case))
            await eventually(lambda: set(case.alarms) <= {entry["event"] for entry in log})
    loud = {entry["event"] for entry in log if entry["log_level"] in {"error", "critical"}}
    assert loud == set(case.alarms)
    audit = {"strategy_id": scene.strategy_id, "orders": 100}
    assert (await room.desk.call("lt_audit_capital", audit))["differences"] == []


async def _has_come_to(scene: Scene, case: Case) -> bool:
    assert await scene.is_over()
    assert [_booked(fill) for fill in await scene.fills()] == [_exact(fill) for fill in case.fills]
    assert _order(await scene.row()) == _exact(case.order)
    assert _money(await scene.capital(), scene.wallet_usd()) == _exact(case.money)
    return True


def _exact(told: Booked | Row | Money) -> dict[str, Any]:
    """A row of the table with its numbers as numbers: 0.50 is 0.5."""
    fields = {name: getattr(told, name) for name in told.__slots__}
    words = {"role", "state", "status", "outcome"}
    return {name: value if value is None or name in words else D(value) for name, value in fields.items()}


def _booked(fill: dict[str, Any]) -> dict[str, Any]:
    return {name: fill[name] for name in ("role", "shares", "price", "fee_usd", "state")}


def _order(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": row["status"],
        "outcome": row["outcome"],
        "average_price": row["executed_price"],
        "spent_usd": row["executed_size_usd"],
        "shares": row["shares_bought"],
        "fill_rate": row["fill_rate"],
        "slippage_bps": row["slippage_bps"],
        "pnl_usd": row["pnl"],
    }


def _money(capital: dict[str, Any], wallet_usd: Decimal) -> dict[str, Any]:
    told = {name: D(capital[f"{name}_usd"]) for name in ("locked", "available", "realised", "cooldown")}
    return told | {"wallet": wallet_usd}
