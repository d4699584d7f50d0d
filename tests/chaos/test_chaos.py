"""Crashes, lost answers and stand-ins never lose an order or place a second one: the short runs of a chaos harness.

`make chaos` is the long run, `make chaos-controls` plants every bug in turn.
"""

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.chaos.controls import short_run
from tests.chaos.plants import Plant
from tests.chaos.run import SETTINGS, insert
from tests.chaos.schedule import Blow, Misfortune, Point
from tests.chaos.troop import Life, Troop
from tests.chaos.victim import PLANT
from tests.support.eventually import eventually
from worker.execution.steps import Moment
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.world import Follower, World, open_world

SHORT_STORM = ("--signals", "40", "--kills", "8", "--workers", "2", "--seed", "11")
ROOT = Path(__file__).parents[2]
FOLLOWER = Follower("CHAOS_FAK", "FT_ONE", 0, "FAK", Decimal("5.0"))
ASLEEP_BEFORE_THE_POST = Misfortune(Point("ledger.claim", Moment.AFTER), 1, Blow.PAUSE)


@pytest.mark.timeout(150)
def test_nothing_is_lost_or_doubled_while_workers_die_and_the_exchange_fails() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.run", "--json", *SHORT_STORM],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    said = json.loads(done.stdout)
    assert (said["signals"], said["kills"], said["seed"]) == (40, 8, 11)
    assert said["accepted_orders"] == said["expected_orders"] > 0
    assert sum(said["kill_points"].values()) == 8
    assert said["faults"]


@pytest.mark.timeout(150)
async def test_a_run_with_a_planted_bug_fails() -> None:
    code, said = await short_run(Plant.DROP_A_SIGNAL, "--patience", "6")
    assert code == 1
    assert said["missed"] > 0


@pytest.fixture
async def world(cluster: Postgres, migrated_template: str) -> AsyncIterator[World]:
    async with open_world(
        markets=2, followers=[FOLLOWER], postgres=cluster, template=migrated_template
    ) as opened:
        yield opened


async def test_a_worker_paused_beyond_its_lease_does_not_send_when_it_goes_on(
    world: World, tmp_path: Path
) -> None:
    async with _overtaken(world, tmp_path) as sleeper:
        posts = await _posts(world)
        sleeper.signal(signal.SIGCONT)
        await eventually(lambda: "order.left" in sleeper.log_file.read_text(), within_s=10)
        assert await _posts(world) == posts
        assert await _rows(world, "select state from public.lt_order_attempts") == [{"state": "matched"}]


async def test_a_worker_that_never_doubts_its_lease_does_send_then(world: World, tmp_path: Path) -> None:
    """What makes the test above worth something."""
    async with _overtaken(world, tmp_path, {PLANT: Plant.LEASE_FOR_EVER}) as sleeper:
        posts = await _posts(world)
        sleeper.signal(signal.SIGCONT)
        await eventually(lambda: _more_posts_than(world, posts), within_s=10)


@asynccontextmanager
async def _overtaken(
    world: World, logs: Path, planted: Mapping[str, str] | None = None
) -> AsyncIterator[Life]:
    """A worker asleep between its claim and its POST, whose order another one has found and sent meanwhile."""
    troop = Troop({**world.worker_environment(), **SETTINGS, **(planted or {})}, logs, say=lambda _: None)
    try:
        sleeper = troop.start(ASLEEP_BEFORE_THE_POST)
        await eventually(lambda: _rows(world, "select * from public.lt_leases"), within_s=30)
        await _insert_signal(world)
        await eventually(lambda: sleeper.paused, within_s=10)
        assert await world.exchange.read("accepted") == []
        troop.start()
        await eventually(
            lambda: _rows(world, "select * from public.lt_order_attempts where state = 'matched'"),
            within_s=20,
        )
        assert sleeper.paused
        yield sleeper
    finally:
        troop.kill()


async def _insert_signal(world: World) -> None:
    market = (await world.exchange.read("markets"))[0]
    book = await world.exchange.book(market["tokens"][0])
    price = min(Decimal(level["price"]) for level in book["asks"])
    trade = Trade(market["condition"], market["outcomes"][0], "BUY", price, market["question"])
    await insert(world, signal_row(trade, ft_wallet_id=FOLLOWER.ft_wallet_id, size_usd=Decimal(10)))


async def _posts(world: World) -> int:
    return len(await world.exchange.read("journal"))


async def _more_posts_than(world: World, posts: int) -> bool:
    return await _posts(world) > posts


async def _rows(world: World, query: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(
        world.supabase.dsn, autocommit=True, row_factory=dict_row
    ) as database:
        return await (await database.execute(query.encode())).fetchall()
