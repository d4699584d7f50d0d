"""The sweep: whatever has no decision is found, whoever lost it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.handlers.backfill import Sweep, SweepTiming
from worker.handlers.intake import Bounds, Intake, Item
from worker.observe.health import Health, Level
from worker.orders.ports import WorkBatch
from worker.orders.terms import StrategyId


def ago(**delta: float) -> datetime:
    return datetime.now(UTC) - timedelta(**delta)


class Horizon:
    """A ledger in which nothing is left to do, and how it was asked: so many stretches deep."""

    def __init__(self, *, stretches: int) -> None:
        self.stretches = stretches
        self.asked: list[dict[str, Any]] = []
        self.rounds = 0

    async def work(self, **keys: Any) -> WorkBatch:
        self.asked.append(keys)
        passed = (keys["bookmark"] or {"stretch": 0})["stretch"] + 1
        self.rounds += passed == self.stretches
        return WorkBatch((), False, None if passed == self.stretches else {"stretch": passed}, "v")


class Broom:
    """A sweep and what it has brought in."""

    def __init__(
        self,
        room: TradingRoom,
        *,
        every_s: float,
        batch: int = 50,
        waiting: int = 100,
        ledger: Any = None,
    ) -> None:
        self.every_s = every_s
        self.found: list[Item] = []
        self.without: list[StrategyId] = []
        self.intake = Intake(
            bounds=Bounds.of(waiting=waiting, concurrency=16),
            following=lambda _: (),
            metrics=room.metrics,
            hold_first_s=0.02,
        )
        self.health = Health(room.clock)
        self.sweep = Sweep(
            ledger=ledger or room.ledger,
            intake=self.intake,
            clock=room.clock,
            health=self.health,
            timing=SweepTiming(batch=batch, window_s=900, pairs=5000),
            every_s=lambda: self.every_s,
            without=lambda: self.without,
            on_found=self.found.append,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        running = asyncio.create_task(self.sweep.run())
        try:
            yield
        finally:
            running.cancel()

    def ids(self) -> list[str]:
        return [item.ft_order_id for item in self.found]


@pytest.fixture
def broom(room: TradingRoom) -> Broom:
    return Broom(room, every_s=3600)


async def test_what_nobody_announced_is_found_with_the_strategies_that_owe_a_decision(
    room: TradingRoom, broom: Broom
) -> None:
    await room.desk.strategy("LT_TWO")
    signal = await room.signal()
    assert await broom.sweep.once("start") == 1
    (item,) = broom.found
    assert (item.ft_order_id, item.source) == (signal, "start")
    assert set(item.strategy_ids or ()) == {"LT_ONE", "LT_TWO"}


async def test_what_is_queued_already_is_not_new(room: TradingRoom, broom: Broom) -> None:
    await room.signal()
    assert [await broom.sweep.once("start") for _ in range(3)] == [1, 0, 0]
    assert len(broom.intake) == 1


async def test_what_was_put_back_is_offered_again(room: TradingRoom, broom: Broom) -> None:
    await room.signal()
    await broom.sweep.once("start")
    broom.intake.done(await broom.intake.take())
    assert await broom.sweep.once("sweep") == 1


async def test_what_is_decided_is_not_found(room: TradingRoom, broom: Broom) -> None:
    await room.desk.decide(await room.signal())
    assert await broom.sweep.once("start") == 0


async def test_an_old_signal_waits_behind_a_fresh_one(room: TradingRoom, broom: Broom) -> None:
    old, fresh = await room.signal(), await room.signal()
    await room.desk.execute(
        "update public.ft_orders set created_at = now() - interval '10 minutes' where order_id = %(id)s",
        id=old,
    )
    await broom.sweep.once("start")
    assert [(await broom.intake.take()).item.ft_order_id for _ in range(2)] == [fresh, old]
    late = await room.signal()
    await broom.sweep.once("sweep")
    assert (await broom.intake.take()).item.ft_order_id == late


async def test_it_sweeps_by_itself_at_every_interval(room: TradingRoom, broom: Broom) -> None:
    broom.every_s = 0.02
    async with broom.running():
        for found in (1, 2, 3):
            await room.signal()
            await eventually(lambda wanted=found: len(broom.found) == wanted)  # type: ignore[misc]


async def test_when_asked_it_sweeps_at_once(room: TradingRoom, broom: Broom) -> None:
    async with broom.running():
        await broom.sweep.begun.wait()
        signal = await room.signal()
        broom.sweep.ask()
        await eventually(lambda: signal in broom.ids())


async def test_when_asked_for_later_it_sweeps_later(room: TradingRoom, broom: Broom) -> None:
    async with broom.running():
        await broom.sweep.begun.wait()
        broom.sweep.ask(after_s=0.05)
        assert room.line.calls["lt_work"] == 1
        signal = await room.signal()
        await eventually(lambda: signal in broom.ids())


async def test_a_database_that_is_away_is_told_to_the_operator_and_swept_when_it_is_back(
    room: TradingRoom, broom: Broom
) -> None:
    broom.every_s = 0.02
    room.line.cut = True
    async with broom.running():
        await eventually(lambda: broom.health.level is Level.FAILING)
        assert "sweep: the database does not answer" in broom.health.sentence()
        signal = await room.signal()
        room.line.cut = False
        await eventually(lambda: signal in broom.ids())
        await eventually(lambda: broom.health.level is Level.OK)


async def test_the_first_sweep_comes_at_once_and_again_until_the_database_answers_it(
    room: TradingRoom, broom: Broom
) -> None:
    await room.signal()
    broom.every_s = 0.02
    room.line.cut = True
    async with broom.running():
        await eventually(lambda: broom.health.level is Level.FAILING)
        assert not broom.sweep.begun.is_set()
        room.line.cut = False
        await broom.sweep.begun.wait()
    assert [item.source for item in broom.found] == ["start"]


async def test_work_that_this_worker_cannot_do_never_takes_the_places_of_work_that_it_can(
    room: TradingRoom,
) -> None:
    await room.desk.strategy("LT_FOREIGN", ft_wallet_id="FT_FOREIGN", wallet_address="0x" + "77" * 20)
    own = [await room.signal() for _ in range(5)]
    await room.desk.execute(
        """
        insert into public.ft_orders (order_id, wallet_id, side, condition_id, token_label, source_trade_id,
          trader_address, entry_price, size, order_time)
        select gen_random_uuid(), 'FT_FOREIGN', side, condition_id, token_label, source_trade_id || number,
          trader_address, entry_price, size, order_time
        from public.ft_orders, generate_series(1, 120) number
        """
    )
    broom = Broom(room, every_s=3600, batch=10)
    broom.without = [StrategyId("LT_FOREIGN")]
    assert await broom.sweep.once("start") == 5
    assert set(broom.ids()) == set(own)


async def test_a_backlog_longer_than_a_sweep_is_walked_to_its_end(room: TradingRoom) -> None:
    broom = Broom(room, every_s=3600, batch=4)
    signals = {await room.signal(created_at=ago(hours=1, minutes=number)) for number in range(30)}
    for _ in range(20):
        await broom.sweep.once("sweep")
    assert set(broom.ids()) == signals
    assert len(broom.found) == 30


async def test_a_strategy_with_more_than_a_sweep_of_work_in_hand_hides_none_of_anothers(
    room: TradingRoom,
) -> None:
    await room.desk.strategy("LT_OTHER", ft_wallet_id="FT_OTHER", wallet_address=room.floor.wallet)
    other = await room.signal(wallet_id="FT_OTHER", created_at=ago(minutes=5))
    busy = {await room.signal() for _ in range(10)}
    broom = Broom(room, every_s=3600, batch=5)
    for _ in range(3):
        await broom.sweep.once("sweep")
    assert other in broom.ids()
    assert busy & set(broom.ids())


async def test_a_start_without_backfill_finds_only_what_comes_after_it(
    room: TradingRoom, broom: Broom
) -> None:
    await room.signal()
    await room.signal(created_at=ago(hours=1))
    broom.sweep.leave_what_came_before()
    assert await broom.sweep.once("start") == 0
    after = await room.signal()
    assert await broom.sweep.once("sweep") == 1
    assert broom.ids() == [after]


async def test_a_start_without_backfill_asks_for_as_little_as_any_other_however_long_ago_it_was(
    room: TradingRoom,
) -> None:
    horizon = Horizon(stretches=3)
    broom = Broom(room, every_s=3600, ledger=horizon)
    await broom.sweep.once("start")
    broom.sweep.leave_what_came_before()
    for _ in range(3):
        await broom.sweep.once("sweep")
    before, *after = horizon.asked
    assert before["oldest_s"] is None
    assert all(0 <= one["oldest_s"] < 60 for one in after)
    assert {(one["window_s"], one["pairs"]) for one in horizon.asked} == {(900, 5000)}


async def test_whoever_asks_for_sweeps_all_the_time_keeps_no_round_from_its_end(room: TradingRoom) -> None:
    horizon = Horizon(stretches=20)
    broom = Broom(room, every_s=3600, ledger=horizon)
    async with broom.running():
        for sweeps in range(1, 42):
            broom.sweep.ask()  # as a feed does that flaps
            await eventually(lambda wanted=sweeps: len(horizon.asked) >= wanted)  # type: ignore[misc]
    assert horizon.rounds == 2


async def test_a_stand_by_offers_nothing(room: TradingRoom, broom: Broom) -> None:
    await room.signal()
    broom.without = [StrategyId("LT_ONE")]
    assert await broom.sweep.once("start") == 0
    broom.without = []
    assert await broom.sweep.once("sweep") == 1


async def test_the_interval_is_from_start_to_start_and_a_slow_database_still_gets_a_rest(
    room: TradingRoom,
) -> None:
    broom = Broom(room, every_s=20)
    answer = room.line.hold_answers("lt_work")
    async with broom.running():
        broom.sweep.ask()
        await eventually(lambda: room.line.calls["lt_work"] == 1)
        room.watch.slept_s += broom.every_s  # it takes its time
        answer.set()
        await eventually(lambda: room.line.calls["lt_work"] == 2, within_s=15)
