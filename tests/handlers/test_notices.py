"""Notices hurry a signal; what they cannot bring is the sweep's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.handlers.backfill import Sweep, SweepTiming
from worker.handlers.intake import Bounds, Intake, Item
from worker.handlers.notices import SWEEP_ASKED, Notices
from worker.observe.health import Health
from worker.orders.terms import FtOrderId


class Ear:
    """Notices, the queue they fill, and the sweep that stands behind them but turns only when asked."""

    def __init__(self, room: TradingRoom) -> None:
        self.brought: list[Item] = []
        self.swept: list[Item] = []
        self.intake = Intake(
            bounds=Bounds.of(waiting=1000, concurrency=16), following=lambda _: (), metrics=room.metrics
        )
        self.sweep = Sweep(
            ledger=room.ledger,
            intake=self.intake,
            clock=room.clock,
            health=Health(room.clock),
            timing=SweepTiming(batch=1000, window_s=900, pairs=5000),
            every_s=lambda: 3600,
            without=lambda: (),
            on_found=self.swept.append,
        )
        self.notices = Notices(room.ledger, self.intake, self.sweep, room.clock, on_found=self.brought.append)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """The first sweep has passed: what it could find is not queued by it in the middle of a test."""
        tasks = [asyncio.create_task(self.sweep.run())]
        await self.sweep.begun.wait()
        tasks.append(asyncio.create_task(self.notices.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


@pytest.fixture
def ear(room: TradingRoom) -> Ear:
    return Ear(room)


async def test_a_signal_is_queued_with_the_strategies_that_owe_it_a_decision(
    room: TradingRoom, ear: Ear
) -> None:
    await room.desk.strategy("LT_TWO")
    async with ear.at_work():
        signal = FtOrderId(await room.signal())
        ear.notices.heard(signal)
        await eventually(lambda: len(ear.intake) == 2)
    (item,) = ear.brought
    assert (item.ft_order_id, item.source, set(item.strategy_ids or ())) == (
        signal,
        "notice",
        {"LT_ONE", "LT_TWO"},
    )


async def test_whoever_asks_for_a_sweep_gets_one(room: TradingRoom, ear: Ear) -> None:
    async with ear.at_work():
        signal = FtOrderId(await room.signal())
        ear.notices.heard(FtOrderId(SWEEP_ASKED))
        await eventually(lambda: [item.ft_order_id for item in ear.swept] == [signal])
    assert ear.brought == []


async def test_what_is_decided_or_no_signal_at_all_is_passed_over(room: TradingRoom, ear: Ear) -> None:
    async with ear.at_work():
        decided, open_ = FtOrderId(await room.signal()), FtOrderId(await room.signal())
        await room.desk.decide(decided)
        for heard in (decided, FtOrderId("a probe of somebody else"), open_):
            ear.notices.heard(heard)
        await eventually(lambda: len(ear.intake) == 1)
    assert [item.ft_order_id for item in ear.brought] == [open_]


async def test_more_notices_than_can_be_read_one_by_one_are_left_to_one_sweep(
    room: TradingRoom, ear: Ear
) -> None:
    async with ear.at_work():
        signal = await room.signal()
        for number in range(300):
            ear.notices.heard(FtOrderId(f"{number}"))
        await eventually(lambda: [item.ft_order_id for item in ear.swept] == [signal])


async def test_a_listener_that_begins_to_hear_makes_the_sweep_look_at_what_it_did_not(
    room: TradingRoom, ear: Ear
) -> None:
    async with ear.at_work():
        signal = await room.signal()
        ear.notices.listening()
        await eventually(lambda: [item.ft_order_id for item in ear.swept] == [signal])
