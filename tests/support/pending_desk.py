"""The look-ups of open orders as a test runs them: quick, and until there is nothing left to learn."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from tests.support.desk import Row
from tests.support.trading_room import TradingRoom
from worker.handlers.pending import Pending, PendingTiming

QUICK = PendingTiming(tick_s=0.02, first_s=0.05, refresh_every_s=0.3, most_s=0.2, books_within_s=600)


def pending(
    room: TradingRoom,
    timing: PendingTiming = QUICK,
    *,
    page: int = 1000,
    on_turn: Callable[[str], None] = lambda _: None,
) -> Pending:
    return Pending(
        resolver=room.resolver,
        under_way=room.sender.in_flight,
        ledger=room.ledger,
        wallets=room.wallets,
        clock=room.clock,
        metrics=room.metrics,
        timing=timing,
        on_turn=on_turn,
        page=page,
    )


@asynccontextmanager
async def running(desk: Pending) -> AsyncIterator[None]:
    """The look-ups run inside; they must not have ended by themselves."""
    task = asyncio.create_task(desk.run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()


@asynccontextmanager
async def looking_up(room: TradingRoom) -> AsyncIterator[Pending]:
    desk = pending(room)
    async with running(desk):
        yield desk


async def booked(room: TradingRoom) -> dict[str, Decimal]:
    """Shares per order by the ledger's trades, reversed ones left out."""
    rows = await room.desk.rows(
        "select exchange_order_id, sum(shares) as shares from public.lt_fills where state <> 'reversed' group by 1"
    )
    return {row["exchange_order_id"]: row["shares"] for row in rows}


def traded(room: TradingRoom) -> dict[str, Decimal]:
    """Shares per order of ours by the exchange's own books."""
    orders = room.floor.venue.engine.orders
    return {
        order_id: Decimal(orders[order_id].filled_shares).scaleb(-6)
        for order_id in room.floor.venue.journal.accepted_ids()
        if orders[order_id].filled_shares
    }


async def order_row(room: TradingRoom) -> Row:
    """The platform's row of the only order."""
    return await room.desk.row("select * from public.lt_orders")


async def locked_usd(room: TradingRoom) -> Decimal:
    """What open orders hold of the strategy's capital."""
    row = await room.desk.row("select coalesce(sum(reserved_usd), 0) as usd from public.lt_attempt_totals")
    return Decimal(row["usd"])


def was_said(log: Sequence[Mapping[str, Any]], event: str) -> bool:
    """What follows from an answer is said a moment after the database has it."""
    return any(entry["event"] == event for entry in log)
