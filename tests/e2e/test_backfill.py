"""The backlog: what was there before the worker is decided once, as far back as was asked for, and told in figures."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import QUICK, Town, new_id
from tests.support.eventually import eventually
from worker.sandbox.signals import signal_row
from worker.sandbox.worker_process import WorkerProcess

_WEEK_ROWS = 100
_OF_THE_LAST_DAY = 15
_INTERRUPTED = 130

pytestmark = pytest.mark.timeout(180)


@asynccontextmanager
async def command(town: Town, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "run", "--live", *arguments),
        env={**os.environ, **town.world.worker_environment(), **QUICK},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def report(town: Town, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `run --backfill-only` says of itself, in JSON, when it has ended."""
    async with command(town, "--backfill-only", "--json", *arguments) as process:
        stdout, stderr = await process.communicate()
    assert process.returncode == code, stderr.decode()
    (line,) = stdout.decode().splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


async def activate_over_a_week_of_signals(town: Town) -> None:
    """The platform's own case: a strategy switched on over a paper wallet that has traded for a week."""
    await town.database.execute(
        'insert into public.ft_wallets select (jsonb_populate_record(w, \'{"wallet_id": "FT_WEEK",'
        ' "config_id": "ft_week", "display_name": "Week"}\')).*'
        " from public.ft_wallets w where wallet_id = 'FT_VALUE'"
    )
    template = signal_row(await town.trade(), ft_wallet_id="FT_WEEK", size_usd=Decimal(10))
    now = datetime.now(UTC)
    await town.insert(
        [
            template
            | {
                "order_id": new_id(),
                "source_trade_id": new_id(),
                "created_at": now - timedelta(minutes=10 + 100 * number),
            }
            for number in range(_WEEK_ROWS)
        ]
    )
    user = uuid.uuid4()
    await town.database.execute("insert into auth.users (id) values (%s)", (user,))
    await town.database.execute(
        """
        insert into public.lt_strategies (strategy_id, ft_wallet_id, user_id, wallet_address, display_name, is_active,
          initial_capital, order_type, slippage_tolerance_pct)
        values ('LT_WEEK', 'FT_WEEK', %s, %s, 'Week', true, 5000, 'FAK', 5)
        """,
        (user, town.world.wallets[1].address),
    )


async def decided(town: Town) -> dict[str, int]:
    """Reasons of the week's pairs, each counted; every pair was tried once."""
    rows = await town.rows(
        "select reason, count(*) as pairs, max(tries) as tries from public.lt_decisions "
        "where strategy_id = 'LT_WEEK' and mode = 'live' and state <> 'deferred' group by reason"
    )
    assert all(row["tries"] == 1 for row in rows)
    return {row["reason"]: row["pairs"] for row in rows}


async def scopes(town: Town) -> int:
    (row,) = await town.rows("select count(*) as scopes from public.lt_scopes")
    return int(row["scopes"])


async def executed_once_each(town: Town) -> bool:
    (row,) = await town.rows(
        "select count(*) as orders, count(distinct ft_order_id) as signals from public.lt_orders "
        "where strategy_id = 'LT_WEEK'"
    )
    assert row["orders"] == row["signals"] == len(await town.accepted())
    return True


async def test_a_week_of_signals_is_decided_as_far_back_as_was_asked_for_and_never_twice(town: Town) -> None:
    await activate_over_a_week_of_signals(town)
    async with town.worker() as worker:
        await eventually(lambda: _all_decided(town, _OF_THE_LAST_DAY), within_s=60)
        assert await worker.stop() == 0
    lately = await decided(town)
    assert "signal_too_old" not in lately
    assert lately["executed"] > 0

    scopes_before = await scopes(town)
    looked = await report(town, "--since", "7d", "--strategy", "LT_WEEK", "--dry-run")
    assert (looked["dry_run"], looked["found"], looked["decided"]) == (True, 85, 85)
    assert looked["too_old"] == {"count": 85, "share": "1.0000"}
    assert await decided(town) == lately
    assert await scopes(town) == scopes_before

    told = await report(town, "--since", "7d", "--strategy", "LT_WEEK")
    assert (told["found"], told["decided"], told["left"], told["interrupted"]) == (85, 85, {}, False)
    assert told["too_old"] == {"count": 85, "share": "1.0000"}
    assert told["skipped"] == {"signal_too_old": 85}
    assert await decided(town) == lately | {"signal_too_old": 85}
    assert (await town.equation())["undecided"] == 0

    again = await report(town, "--since", "7d")
    assert (again["found"], again["decided"]) == (0, 0)
    await executed_once_each(town)


async def test_a_backfill_that_is_interrupted_tells_what_it_did_and_the_next_one_does_the_rest(
    town: Town,
) -> None:
    await activate_over_a_week_of_signals(town)
    async with command(town, "--backfill-only", "--json", "--since", "7d") as process:
        await eventually(lambda: _some_decided(town), within_s=60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()
    told = json.loads(stdout)
    recorded = sum((await decided(town)).values())
    if process.returncode != _INTERRUPTED:  # it was quicker than the signal
        assert (process.returncode, told["decided"]) == (0, _WEEK_ROWS), stderr.decode()
    # What was committed in its last moment is known to the ledger alone.
    assert told["decided"] <= recorded
    rest = await report(town)
    assert rest["interrupted"] is False
    assert sum((await decided(town)).values()) == _WEEK_ROWS
    await executed_once_each(town)


async def test_a_start_without_backfill_leaves_what_came_before_it_to_a_later_one(town: Town) -> None:
    before = await town.signal()
    environment = {**town.world.worker_environment(), **QUICK}
    async with WorkerProcess.start(environment, "--live", "--no-backfill"):
        after = await town.signal()
        await eventually(lambda: town.decisions(after), within_s=30)
        assert await town.decisions(before) == {}
    async with town.worker():
        await eventually(lambda: town.decisions(before), within_s=30)


async def _all_decided(town: Town, count: int) -> bool:
    assert sum((await decided(town)).values()) == count
    return True


async def _some_decided(town: Town) -> bool:
    return sum((await decided(town)).values()) > 0
