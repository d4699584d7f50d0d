"""One simulated exchange and one client of it for each test module; a market of its own for each test.

A client takes a quarter of a second to make. Modules that use these fixtures run in one event loop
(`pytestmark = pytest.mark.asyncio(loop_scope="module")`).
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.exchange_floor import Floor, open_floor, polymarket
from worker.exchange.polymarket.exchange import PolymarketExchange


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hall() -> AsyncIterator[tuple[Floor, PolymarketExchange]]:
    async with open_floor(funds_usd=1_000_000) as floor, polymarket(floor) as exchange:
        yield floor, exchange


@pytest.fixture
def floor(hall: tuple[Floor, PolymarketExchange]) -> Floor:
    """A market of this test's own, and no faults."""
    hall[0].venue.faults.clear()
    return hall[0].with_market()


@pytest.fixture
def exchange(hall: tuple[Floor, PolymarketExchange]) -> PolymarketExchange:
    return hall[1]
