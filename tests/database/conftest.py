"""Desks on the test's own database."""

from collections.abc import AsyncIterator

import pytest

from tests.support.desk import Desk


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
