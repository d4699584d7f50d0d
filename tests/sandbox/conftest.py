"""The gateway that its fault tests share: one for a module, every fault ended after each test."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.raw_realtime import COMPRESSED, FaultyGateway, faulty_gateway
from worker.sandbox.postgres import Postgres


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(cluster: Postgres, project_template: str) -> AsyncIterator[FaultyGateway]:
    async with faulty_gateway(cluster, project_template, COMPRESSED) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(started: FaultyGateway) -> AsyncIterator[FaultyGateway]:
    yield started
    await started.faults.clear()
