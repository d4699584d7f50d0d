"""A shadow beside a strategy that trades for real: the same trader, the same wallet, one worker, no shared dollar."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import Town
from tests.support.eventually import eventually
from worker.orders.paper import PAPER_MARK, purse_of
from worker.orders.terms import StrategyId
from worker.sandbox.signals import signal_row

pytestmark = pytest.mark.timeout(180)

REAL, SHADOW = "LT_MOMENTUM_FAST", "LT_MOMENTUM_WHOLE"
RESTING = "LT_VALUE_PATIENT"


async def test_a_shadow_decides_the_same_signals_on_paper_and_takes_nothing_from_the_real_one(
    town: Town,
) -> None:
    """Through a capital that runs out, and both ways of the switch: what was inserted before stays where it was."""
    wallet = town.world.wallets[0].address
    await town.database.execute(
        "update public.lt_strategies set shadow_mode = true, wallet_address = %s where strategy_id = %s",
        (wallet, SHADOW),
    )
    async with town.worker() as worker:
        both = [await town.signal() for _ in range(3)]
        for signal in both:
            await _decided(town, signal, live={REAL: "executed"}, paper={SHADOW: "executed"})
        await eventually(lambda: _filled(town, {(REAL, False): 3, (SHADOW, True): 3}))

        await _set(town, SHADOW, "initial_capital = 1")
        poor = await town.signal()
        await _decided(town, poor, live={REAL: "executed"}, paper={SHADOW: "insufficient_capital"})

        await _set(town, SHADOW, "initial_capital = 10000, shadow_mode = false")
        real = await town.signal()
        await _decided(town, real, live=dict.fromkeys((REAL, SHADOW), "executed"), paper={})

        before = await _now(town)
        await _set(town, REAL, "shadow_mode = true")
        late = await town.signal(created_at=before)
        await _decided(town, late, live={REAL: "shadow_mode", SHADOW: "executed"}, paper={})
        after = await town.signal()
        await _decided(town, after, live={SHADOW: "executed"}, paper={REAL: "executed"})

        for signal in both:
            assert await town.decisions(signal) == {REAL: "executed"}
        await eventually(
            lambda: _filled(town, {(REAL, False): 5, (SHADOW, False): 3, (SHADOW, True): 3, (REAL, True): 1})
        )
        assert await worker.stop() == 0
    assert (await town.world.exchange.read("state"))["order_posts"] == len(await town.accepted()) == 8
    assert await _paid_from(town) == {
        ("live", wallet): 8,
        ("paper", purse_of(StrategyId(SHADOW))): 3,
        ("paper", purse_of(StrategyId(REAL))): 1,
    }
    assert await _funnels(town) == {
        (REAL, "live"): (6, 5, 1, 0),
        (SHADOW, "live"): (3, 3, 0, 0),
        (SHADOW, "paper"): (4, 3, 1, 0),
        (REAL, "paper"): (1, 1, 0, 0),
        (RESTING, "live"): (0, 0, 0, 0),
    }


async def test_a_paper_order_that_rests_is_on_the_book_again_after_a_restart(town: Town) -> None:
    """A worker on paper takes every strategy for a shadow: what holds for the one holds for the other."""
    on_paper = {
        "POLYCOPY_MODE": "paper",
        "POLYCOPY_WALLETS": "[]",
        "POLYCOPY_PENDING__REFRESH_EVERY_S": "0.3",
    }
    trade = await town.trade()
    bargain = replace(trade, price=(trade.price / 2).quantize(Decimal("0.01")))
    row = signal_row(bargain, ft_wallet_id="FT_VALUE", size_usd=Decimal(10))
    async with town.worker(on_paper, live=False) as worker:
        await town.insert([row])
        await _decided(town, row["order_id"], live={}, paper={RESTING: "executed"})
        resting = await eventually(lambda: _resting(town))
        assert resting["exchange_order_id"].startswith(PAPER_MARK)
        worker.kill()
    await town.outlives_leases()
    restarted = await _now(town)
    async with town.worker(on_paper, live=False) as worker:
        seen = await eventually(lambda: _looked_up(town, restarted), within_s=60)
        assert (seen["state"], seen["note"], seen["not_found"]) == ("live", "looked up: live", 0)
        log = worker.log()
        assert await worker.stop() == 0
    assert "order.outcome_unknown" not in log
    assert "order.lost" not in log
    assert await _paid_from(town) == {("paper", purse_of(StrategyId(RESTING))): 1}
    assert (await town.world.exchange.read("state"))["order_posts"] == 0


async def _decided(town: Town, signal: str, *, live: dict[str, str], paper: dict[str, str]) -> None:
    async def probe() -> bool:
        assert await town.decisions(signal) == live
        assert await town.decisions(signal, "paper") == paper
        return True

    await eventually(probe, within_s=40)


async def _set(town: Town, strategy_id: str, what: str) -> None:
    await town.database.execute(
        f"update public.lt_strategies set {what} where strategy_id = %s".encode(),  # noqa: S608 - the test's own words
        (strategy_id,),
    )


async def _now(town: Town) -> datetime:
    (row,) = await town.rows("select clock_timestamp() as now")
    return datetime.fromisoformat(str(row["now"]))


async def _filled(town: Town, wanted: dict[tuple[str, bool], int]) -> bool:
    rows = await town.rows(
        "select strategy_id, is_shadow, count(*) as orders from public.lt_orders where status = 'FILLED' group by 1, 2"
    )
    assert {(row["strategy_id"], row["is_shadow"]): row["orders"] for row in rows} == wanted
    return True


async def _paid_from(town: Town) -> dict[tuple[str, str], int]:
    rows = await town.rows(
        "select mode, wallet_address, count(*) as orders from public.lt_order_attempts group by 1, 2"
    )
    return {(row["mode"], row["wallet_address"]): row["orders"] for row in rows}


async def _funnels(town: Town) -> dict[tuple[str, str], tuple[int, int, int, int]]:
    """Strategy and mode -> seen, executed, skipped, undecided; each of them balanced."""
    (row,) = await town.rows('select public.lt_equation(\'{"mode": "live"}\') as said')
    assert row["said"]["total"]["holds"]
    return {
        (one["strategy_id"], one["mode"]): (one["seen"], one["executed"], one["skipped"], one["undecided"])
        for one in row["said"]["strategies"]
    }


async def _resting(town: Town) -> dict[str, Any]:
    (attempt,) = await town.rows("select * from public.lt_order_attempts")
    assert attempt["state"] == "live"
    return attempt


async def _looked_up(town: Town, after: datetime) -> dict[str, Any]:
    (attempt,) = await town.rows("select * from public.lt_order_attempts")
    assert attempt["looked_up_at"] is not None
    assert attempt["looked_up_at"] > after
    return attempt
