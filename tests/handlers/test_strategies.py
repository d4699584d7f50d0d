"""The strategies as last read: at once after a change, and again and again in case nobody told of one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.errors import DatabaseUnreachable
from worker.handlers.strategies import Strategies
from worker.observe.health import Health, Level
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import FtWalletId, StrategyId, WalletAddress

ONE = StrategyId("LT_ONE")
FOLLOWED = FtWalletId("FT_ONE")


class Cabinet:
    def __init__(self, room: TradingRoom, *, refresh_every_s: float = 3600) -> None:
        self.health = Health(room.clock)
        self.wallets: set[WalletAddress] = set()
        self.strategies = Strategies(
            room.ledger, self.health, refresh_every_s=refresh_every_s, on_wallets=self._told
        )

    def _told(self, wallets: Iterable[WalletAddress]) -> None:
        self.wallets |= set(wallets)

    def is_paused(self) -> bool:
        strategy = self.strategies.get(ONE)
        assert isinstance(strategy, Strategy)
        return strategy.is_paused

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.strategies.load()
        task = asyncio.create_task(self.strategies.run())
        try:
            yield
        finally:
            task.cancel()


async def pause(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set is_paused = true")


async def test_the_strategies_of_a_paper_wallet_are_known_by_it(room: TradingRoom) -> None:
    await room.desk.strategy("LT_TWO")
    await room.desk.strategy("LT_OTHER", ft_wallet_id="FT_OTHER")
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    assert set(cabinet.strategies.following(FOLLOWED)) == {"LT_ONE", "LT_TWO"}
    assert cabinet.strategies.following(FtWalletId("FT_NOBODY")) == ()
    assert len(cabinet.strategies) == 3
    assert room.floor.wallet in cabinet.wallets


async def test_a_strategy_that_contradicts_itself_is_kept_as_such_and_breaks_no_other(
    room: TradingRoom,
) -> None:
    await room.desk.strategy("LT_ODD", wallet_address="not an address")
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    assert isinstance(cabinet.strategies.get(StrategyId("LT_ODD")), InvalidStrategy)
    assert isinstance(cabinet.strategies.get(ONE), Strategy)


async def test_a_change_that_is_told_of_is_read_at_once(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    async with cabinet.running():
        await pause(room)
        cabinet.strategies.changed()
        await eventually(cabinet.is_paused)


async def test_a_change_that_only_a_sweep_saw_is_read_at_once(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    cabinet.strategies.seen((await room.ledger.work(limit=1)).strategies_version)
    async with cabinet.running():
        await pause(room)
        cabinet.strategies.seen((await room.ledger.work(limit=1)).strategies_version)
        await eventually(cabinet.is_paused)


async def test_the_same_version_again_is_no_reason_to_read(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    version = (await room.ledger.work(limit=1)).strategies_version
    async with cabinet.running():
        cabinet.strategies.seen(version)
        await eventually(lambda: room.line.calls["lt_strategies_load"] == 2)
        cabinet.strategies.seen(version)
        assert not cabinet.strategies._stale.is_set()


async def test_a_change_that_nobody_told_of_is_read_at_the_next_refresh(room: TradingRoom) -> None:
    cabinet = Cabinet(room, refresh_every_s=0.05)
    async with cabinet.running():
        await pause(room)
        await eventually(cabinet.is_paused)


async def test_a_change_that_is_told_of_during_a_reading_is_not_forgotten(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    async with cabinet.running():
        gate = room.line.hold("lt_strategies_load")
        read = room.line.calls["lt_strategies_load"]
        cabinet.strategies.changed()
        await eventually(lambda: room.line.calls["lt_strategies_load"] == read + 1)
        cabinet.strategies.changed()
        gate.set()
        await eventually(lambda: room.line.calls["lt_strategies_load"] == read + 2)


async def test_while_the_database_is_away_the_last_reading_stays_and_is_called_old(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    async with cabinet.running():
        room.line.cut = True
        cabinet.strategies.changed()
        await eventually(lambda: cabinet.health.level is Level.DEGRADED)
        assert cabinet.strategies.following(FOLLOWED) == [ONE]
        await pause(room)
        room.line.cut = False
        await eventually(cabinet.is_paused)  # without waiting for the next refresh
        await eventually(lambda: cabinet.health.level is Level.OK)


async def test_no_answer_at_the_start_is_not_the_same_as_no_strategies(room: TradingRoom) -> None:
    room.line.cut = True
    with pytest.raises(DatabaseUnreachable):
        await Cabinet(room).strategies.load()
