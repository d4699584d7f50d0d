"""Many orders that rest: asked after in one reading for as long as nothing happens to them, and by themselves when it does."""

from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from tests.support.pending_desk import booked, looking_up
from tests.support.trading_room import TradingRoom
from worker.orders.terms import OrderId
from worker.sandbox.exchange.faults import Action, Fault

ORDERS = 6


@pytest.fixture
async def resting(room: TradingRoom) -> list[OrderId]:
    """Orders on the book that nobody meets."""
    room.floor.offer("0.50", "0")
    await room.desk.execute("update public.ft_wallets set bet_size = 50")
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    plans = [await room.plan() for _ in range(ORDERS)]
    return [(await room.executed(plan)).envelope.order_id for plan in plans]


async def test_orders_that_rest_untouched_are_read_together_and_one_that_moved_by_itself(
    room: TradingRoom, resting: list[OrderId]
) -> None:
    async with looking_up(room):
        await eventually(lambda: asked(room, "/data/orders") >= 3)
        assert asked(room, "/data/order/") == 0
        room.floor.offer("0.50", "10")
        await eventually(lambda: is_booked(room, resting[0], "10"))
        assert await room.exchange.cancel(room.floor.wallet, resting[1])
        await eventually(lambda: is_closed(room, resting[1]))
        await eventually(lambda: nobody_is_asked_after_alone(room))  # it is read with the others again
    states = [(row["exchange_order_id"], row["state"]) for row in await room.attempts()]
    ended = ["cancelled" if order_id == resting[1] else "live" for order_id in resting]
    assert states == list(zip(resting, ended, strict=True))


async def test_where_no_list_is_to_be_had_each_is_looked_up_by_itself(
    room: TradingRoom, resting: list[OrderId]
) -> None:
    silent = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/data/orders", status=503, times=None)
    room.floor.venue.faults.add(silent)
    async with looking_up(room):
        await eventually(lambda: all_found(room))
    assert len(resting) == ORDERS


def asked(room: TradingRoom, path: str) -> int:
    return room.floor.venue.journal.counts["GET", path]


async def nobody_is_asked_after_alone(room: TradingRoom) -> bool:
    """While the others are, four times."""
    listed, alone = asked(room, "/data/orders"), asked(room, "/data/order/")
    await eventually(lambda: asked(room, "/data/orders") >= listed + 4)
    return asked(room, "/data/order/") == alone


async def is_booked(room: TradingRoom, order_id: OrderId, shares: str) -> bool:
    """And its trade is final."""
    open_fills = await room.desk.rows("select from public.lt_fills where state = 'provisional'")
    return await booked(room) == {order_id: Decimal(shares)} and not open_fills


async def is_closed(room: TradingRoom, order_id: OrderId) -> bool:
    return order_id in {row["exchange_order_id"] for row in await room.attempts() if row["closed_at"]}


async def all_found(room: TradingRoom) -> bool:
    return all(row["found_at"] is not None for row in await room.attempts())
