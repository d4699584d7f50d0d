"""Desks on the test's own database, and a server for feeds that does as it is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import realtime._async.client as realtime_client

from tests.database.phoenix import Phoenix, phoenix
from tests.support.desk import Desk
from tests.support.trader import Trader
from worker.sandbox.postgres import Postgres


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    """A desk in paper mode, nothing on it."""
    desk = await Desk.open(database)
    try:
        yield desk
    finally:
        await desk.close()


@pytest.fixture
async def trading(desk: Desk) -> Desk:
    """A desk with one active strategy of $1,000, its wallet leased and its balance known."""
    await desk.strategy()
    await desk.ready()
    return desk


@pytest.fixture(scope="session")
def shared_database(cluster: Postgres, migrated_template: str) -> str:
    """One database for many tests: each makes a trader of its own and looks at nothing else."""
    return cluster.dsn(asyncio.run(cluster.create_database(template=migrated_template)))


@pytest.fixture
async def trader(shared_database: str) -> AsyncIterator[Trader]:
    """A strategy of its own on paper."""
    trader = await Trader.open(shared_database)
    try:
        yield trader
    finally:
        await trader.desk.close()


@pytest.fixture
async def live_trader(shared_database: str) -> AsyncIterator[Trader]:
    """A strategy of its own with real money."""
    trader = await Trader.open(shared_database, mode="live")
    try:
        yield trader
    finally:
        await trader.desk.close()


@pytest.fixture
def library_as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keepalive patch of these tests is far too impatient for anybody else's."""
    monkeypatch.setattr(realtime_client, "connect", vars(realtime_client)["connect"])


@pytest.fixture
async def server(library_as_installed: None) -> AsyncIterator[Phoenix]:
    """Phoenix, as Supabase Realtime speaks it."""
    async with phoenix() as running:
        yield running
