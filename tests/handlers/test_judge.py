"""What a decision gathers, where the world has moved on since it was last looked at."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.trading_room import POLICY, TradingRoom, open_room
from worker.handlers.judge import Case, Judge
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal, parse_signal
from worker.orders.skips import Skip
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase) as room:
        room.floor.offer("0.5", "1000")
        yield room


async def test_a_market_that_has_lost_its_books_is_read_again_and_found_closed_instead_of_unknown(
    room: TradingRoom,
) -> None:
    signal = parse_signal(await room.row(await room.signal(order_time=datetime.now(UTC))))
    assert isinstance(signal, Signal), signal
    case = Case(signal, await room.strategy(), None)
    judge = Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)
    not_fresh = room.clock.now() + POLICY.fresh_for + timedelta(seconds=1)
    assert not isinstance(await judge.verdict(case, not_fresh), Skip)  # the market is remembered, and open
    room.floor.venue.backoffice.close(room.floor.condition_id)
    verdict = await judge.verdict(case, not_fresh)
    assert isinstance(verdict, Skip)
    assert (verdict.reason, verdict.value) == (SkipReason.MARKET_CLOSED, room.floor.condition_id)
