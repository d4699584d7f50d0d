"""What a FAK or a FOK has left is taken when the market offers it: at no worse a price, no more of it, and once."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.support.aftercare import BY_CHANNEL, aftercare
from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.pending_desk import booked, locked_usd, order_row, traded
from tests.support.trading_room import TradingRoom, open_room
from worker.orders.lifecycle import AttemptState
from worker.orders.terms import OrderType
from worker.sandbox.supabase import SupabaseSandbox

D = Decimal


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    """A market of its own, on which nobody offers anything yet."""
    async with open_room(supabase) as room:
        room.floor = room.floor.with_market()
        await room.desk.execute("update public.ft_wallets set bet_size = 50, max_bet = 1000")
        yield room


async def test_a_killed_order_is_taken_again_as_soon_as_the_market_channel_shows_its_price(
    room: TradingRoom,
) -> None:
    plan = await room.plan()
    async with aftercare(room, timing=BY_CHANNEL):
        assert (await room.executed(plan)).state is AttemptState.KILLED
        room.floor.offer("0.60", "1000")
        await eventually(lambda: _channel_is_heard(room))
        assert len(await room.attempts()) == 1
        room.floor.offer("0.51", "1000")
        await eventually(lambda: _order_is(room, "FILLED"), within_s=20)
    first, second = await room.attempts()
    assert (first["state"], second["state"]) == ("killed", "matched")
    assert (second["attempt_no"], second["limit_price"]) == (2, first["limit_price"])
    assert second["amount_usd"] == first["amount_usd"]
    assert room.accepted() == [second["exchange_order_id"]]
    assert await booked(room) == traded(room)
    assert await locked_usd(room) == 0
    (decision,) = await room.desk.rows("select state, reason from public.lt_decisions")
    assert decision == {"state": "executed", "reason": "executed"}


async def _channel_is_heard(room: TradingRoom) -> bool:
    return room.floor.venue.streams.count("market") == 1


async def _order_is(room: TradingRoom, status: str) -> Row | None:
    row = await order_row(room)
    return row if row["status"] == status else None


def _numbers(rows: list[Row], *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(row[column] for column in columns) for row in rows]


__all__ = ["OrderType"]
