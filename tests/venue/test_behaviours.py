"""One production worker beside one exchange that does everything that it is known to do, one thing after the other.

When all is over, every attempt has to be what it was meant to be, and every attempt, fill and balance what the exchange's
own journal and books say (`tests/chaos/judge.py`).
"""

from collections.abc import AsyncIterator
from time import time_ns

import pytest
import pytest_asyncio

from tests.support.eventually import eventually
from tests.venue.scenes import SCENES
from tests.venue.stage import Stage, open_stage
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.postgres import Postgres

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRESH_FOR_S, MAX_AGE_S = 60, 90
BURST = 12
# Resumed within 2 s, says the promise: of a machine that others use as well, much less is asked.
RESUMED_WITHIN_S = 15.0
SETTINGS = {
    "POLYCOPY_SIGNAL__FRESH_FOR_S": str(FRESH_FOR_S),
    "POLYCOPY_SIGNAL__MAX_AGE_S": str(MAX_AGE_S),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(cluster: Postgres, migrated_template: str) -> AsyncIterator[Stage]:
    async with open_stage(cluster, migrated_template, SETTINGS, clock_ahead_s=6) as stage:
        yield stage


@pytest.mark.timeout(240)
async def test_a_restart_during_a_burst_uses_nothing_up_and_loses_nothing(stage: Stage) -> None:
    markets = [await stage.market() for _ in range(3)]
    before = await stage.signals(*markets * (BURST // 3))
    await eventually(lambda: _accepted(stage, 1), within_s=30)
    await stage.exchange.enter(Mode.RESTARTING)  # in the middle of it
    meanwhile = await stage.signals(*markets * (BURST // 3))
    await eventually(lambda: _put_off(stage, meanwhile, "exchange_restarting"), within_s=30)
    await eventually(lambda: "exchange_restarting" in stage.worker.status, within_s=30)

    too_old = await stage.signals(*markets)
    await eventually(lambda: _put_off(stage, too_old, "exchange_restarting"), within_s=30)
    await _grow_too_old(stage, too_old)
    await eventually(lambda: _skipped(stage, too_old), within_s=60)

    await stage.exchange.call("restart", seconds=0.5, post_only_s=2.5)
    await eventually(lambda: "exchange_post_only" in stage.worker.log(), within_s=30)
    await eventually(lambda: _is_open(stage), within_s=30)
    opened_ns = time_ns()
    after = await stage.signals(*markets)
    fresh = [*before, *meanwhile, *after]
    await eventually(lambda: _accepted(stage, len(fresh)), within_s=60)
    for signal in fresh:
        await stage.known(signal, "matched")  # with its first attempt
    await stage.agrees()
    arrivals = await stage.exchange.read("arrivals")
    took_s = [(arrivals[await stage.order_id(signal)] - opened_ns) / 1e9 for signal in after]
    assert max(took_s) < RESUMED_WITHIN_S
    # Knocks alone: one after the other, not one for each order.
    refused = [one for one in await stage.exchange.read("journal") if one["status"] in {425, 503}]
    assert len(refused) < len(fresh) * 4
    await eventually(lambda: "exchange_" not in stage.worker.status, within_s=30)


@pytest.mark.timeout(240)
async def test_what_the_worker_made_of_each_behaviour_is_what_the_exchanges_journal_says(
    stage: Stage, subtests: pytest.Subtests
) -> None:
    for scene in SCENES:
        with subtests.test(scene.__name__):
            await scene(stage)
    await stage.agrees()
    await eventually(lambda: "clock" not in stage.worker.status, within_s=30)
    asked = (await stage.exchange.read("state"))["requests"]
    # 1: its keys were made by somebody else, and are derived. 17: no dead man's switch is ever armed.
    assert asked["GET /auth/derive-api-key"] == len(stage.town.world.wallets)
    assert not any("heartbeat" in request for request in asked)


async def _accepted(stage: Stage, least: int) -> bool:
    return len(await stage.town.accepted()) >= least


async def _is_open(stage: Stage) -> bool:
    return bool((await stage.exchange.read("state"))["mode"] == Mode.OPEN)


async def _put_off(stage: Stage, signals: list[str], reason: str) -> bool:
    """All of them but those that had been claimed before the door was known to be shut, and now stand before it."""
    rows = await stage.town.rows(
        "select state, reason from public.lt_decisions where ft_order_id = any(%s::uuid[])", signals
    )
    deferred = [row for row in rows if row["state"] == "deferred"]
    return len(rows) == len(signals) and bool(deferred) and {row["reason"] for row in deferred} == {reason}


async def _grow_too_old(stage: Stage, signals: list[str]) -> None:
    """The time passes within which they may be executed."""
    await stage.town.database.execute(
        "update public.ft_orders set created_at = created_at - %s * interval '1 second'"
        " where order_id = any(%s::uuid[])",
        (MAX_AGE_S, signals),
    )
    await stage.town.database.execute(
        "update public.lt_decisions set retry_at = now() where ft_order_id = any(%s::uuid[])", (signals,)
    )


async def _skipped(stage: Stage, signals: list[str]) -> bool:
    """For good, and not for their age: for what kept them waiting."""
    rows = await stage.town.rows(
        "select state, reason from public.lt_decisions where ft_order_id = any(%s::uuid[])", signals
    )
    return [(row["state"], row["reason"]) for row in rows] == [("skipped", "exchange_restarting")] * len(
        signals
    )
