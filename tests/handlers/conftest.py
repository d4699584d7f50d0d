"""A trading room of each test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.support.trading_room import TradingRoom, open_room
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase) as room:
        yield room
