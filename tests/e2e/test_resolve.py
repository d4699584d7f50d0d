"""`polycopy-worker resolve`: a human looks at an order in doubt, and decides."""

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import Town
from tests.support.eventually import eventually
from worker.sandbox.exchange.fault_catalogue import FaultName

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time


async def test_an_order_in_doubt_is_shown_with_its_evidence_and_decided_by_a_human(town: Town) -> None:
    await town.world.exchange.inflict(FaultName.DROPPED_AND_SLOW, times=1, seconds=3600)
    await town.database.execute(
        b"update public.lt_strategies set is_active = (strategy_id = 'LT_MOMENTUM_FAST')"
    )
    async with town.worker({"POLYCOPY_PENDING__SENDS_MOST": "1"}):
        await town.signal()
        (doubtful,) = await eventually(lambda: _unknown(town))

    order_id = doubtful["exchange_order_id"]
    shown = json.loads((await _resolve(town, order_id[:12], "--json")).stdout)["attempts"][0]
    assert (shown["order_id"], shown["state"]) == (order_id, "unknown")
    assert shown["exchange_says"].startswith("not found")
    assert "lost" in shown["may_be_decided"]
    assert "signed_body" not in json.dumps(shown)

    refused = await _resolve(town, order_id, "--as", "live", "--reason", "guess", "--yes")
    assert refused.returncode == 2
    assert "cannot be decided as live" in refused.stderr

    decided = await _resolve(
        town, order_id, "--as", "lost", "--reason", "not on the website", "--yes", "--json"
    )
    assert json.loads(decided.stdout) == {"attempt": order_id, "state": "lost"}
    (after,) = await town.rows("select state, note, closed_at from public.lt_order_attempts")
    assert after["state"] == "lost"
    assert "not on the website" in after["note"]
    assert after["closed_at"] is not None


async def _unknown(town: Town) -> list[dict[str, Any]]:
    return await town.rows(
        "select exchange_order_id from public.lt_order_attempts where state = 'unknown' and not_found > 0"
    )


async def _resolve(town: Town, *arguments: str) -> "subprocess.CompletedProcess[str]":
    # In a thread: the gateway that the command talks to lives in this process.
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "worker", "resolve", *arguments],
        env={**os.environ, **town.world.worker_environment()},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
