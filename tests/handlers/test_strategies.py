"""The strategies as last read: at once after a change, and again and again in case nobody told of one."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.pending_desk import looking_up
from tests.support.trading_room import POLICY, TradingRoom
from worker.errors import DatabaseUnreachable
from worker.handlers.judge import Case, Judge
from worker.handlers.strategies import Strategies
from worker.observe.health import Health, Level
from worker.orders.capital import Capital
from worker.orders.decide import Plan
from worker.orders.ports import Refused
from worker.orders.signal import Signal, parse_signal
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import FtWalletId, Mode, StrategyId, WalletAddress

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


def capital_of(cabinet: Cabinet) -> Capital | None:
    strategy = cabinet.strategies.get(ONE)
    assert isinstance(strategy, Strategy)
    return strategy.capital


async def pause(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set is_paused = true")


async def test_a_breaker_that_trips_and_one_that_is_armed_are_each_said_once(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    desk = room.desk
    with capture_logs() as logs:
        await desk.execute(
            "insert into public.lt_controls (scope, action, mode, reason, actor)"
            " values ('strategy:LT_ONE', 'breaker', %(mode)s, 'lost', 'claim')",
            mode=desk.mode,
        )
        for _ in range(2):
            await cabinet.strategies.load()
        await desk.call("lt_arm", {"mode": desk.mode, "strategy_id": ONE, "actor": "operator"})
        for _ in range(2):
            await cabinet.strategies.load()
    told = [(entry["event"], entry["strategy_id"]) for entry in logs if "strategy_id" in entry]
    assert told == [("strategy.breaker_tripped", ONE), ("strategy.armed", ONE)]


async def test_a_setting_that_nobody_obeys_is_said_once_and_again_when_it_changes(room: TradingRoom) -> None:
    cabinet, desk = Cabinet(room), room.desk
    with capture_logs() as logs:
        for value in (None, 5, 5, 7, None, 7):
            await desk.execute("update public.lt_strategies set stop_loss_pct = %(value)s", value=value)
            await cabinet.strategies.load()
    told = [
        entry["problem"].split(" has ")[0] for entry in logs if entry["event"] == "strategy.setting_inert"
    ]
    assert told == ["stop_loss_pct = 5.00", "stop_loss_pct = 7.00", "stop_loss_pct = 7.00"]
    (note,) = [check for check in cabinet.health.checks if check.name == "settings"]
    assert note.level is Level.OK
    assert note.detail.startswith("LT_ONE stop_loss_pct = 7.00 has no effect")


async def test_capital_that_was_overtaken_on_its_way_changes_nothing(room: TradingRoom) -> None:
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    read = capital_of(cabinet)
    assert read is not None
    assert read.as_of is not None
    younger, older = (
        replace(read, available_usd=Decimal(usd), as_of=read.as_of + timedelta(seconds=seconds))
        for usd, seconds in ((100, 2), (900, 1))
    )
    for told in (younger, older):
        cabinet.strategies.heard(ONE, Mode.LIVE, told)
    assert capital_of(cabinet) == younger
    await cabinet.strategies.load()
    before = capital_of(cabinet)
    cabinet.strategies.heard(ONE, Mode.LIVE, replace(older, as_of=read.as_of))
    assert capital_of(cabinet) == before


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


async def test_what_claims_and_records_say_of_the_capital_is_known_without_a_reading(
    room: TradingRoom,
) -> None:
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    room.ledger.tell_capital(cabinet.strategies.heard)
    executed = await room.executed()
    assert capital_of(cabinet) == await room.ledger.capital(ONE)  # of the record of its answer
    async with looking_up(room):
        await eventually(lambda: _is_closed(room, executed.envelope.order_id))
        await eventually(lambda: _knows_the_capital(cabinet, room))
    told = capital_of(cabinet)
    assert told is not None
    assert told.available_usd < told.initial_usd

    plan = await room.plan()
    await room.desk.execute("update public.lt_strategies set initial_capital = 1.50")
    assert isinstance(await room.execute(plan), Refused)
    assert capital_of(cabinet) == await room.ledger.capital(ONE)
    assert room.line.calls["lt_strategies_load"] == 3  # the room's own plans, and the first


async def test_a_bet_by_kelly_is_sized_by_what_the_last_claim_left(room: TradingRoom) -> None:
    await room.desk.execute("update public.ft_wallets set allocation_method = 'KELLY', max_bet = 1000")
    await room.desk.execute("update public.lt_strategies set max_order_size_usd = 1000, order_type = 'FAK'")
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    room.ledger.tell_capital(cabinet.strategies.heard)
    judge = Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)
    bets = []
    for _ in range(2):
        signal = parse_signal(await room.row(await room.signal(trader_win_rate="0.7")))
        strategy = cabinet.strategies.get(ONE)
        assert isinstance(signal, Signal)
        assert isinstance(strategy, Strategy)
        plan = await judge.verdict(Case(signal, strategy, None), room.clock.now())
        assert isinstance(plan, Plan), plan
        bets.append(plan.bet_usd)
        await room.executed(plan)
    # A part of what is left each time: 1000 · k, then (1000 - spent) · k. A cent for the rounding of each bet.
    assert 0 < bets[1] < bets[0]
    spent = (await room.attempts())[0]["reserve_usd"]
    assert abs(bets[1] - bets[0] * (1000 - spent) / 1000) <= Decimal("0.05")
    assert room.line.calls["lt_capital"] == 0


async def test_a_reading_that_was_under_way_does_not_take_back_what_was_told_meanwhile(
    room: TradingRoom,
) -> None:
    cabinet = Cabinet(room)
    await cabinet.strategies.load()
    plan = await room.plan()
    room.ledger.tell_capital(cabinet.strategies.heard)
    gate = room.line.hold_answers("lt_strategies_load")
    reading = asyncio.create_task(cabinet.strategies.load())
    read = room.line.calls["lt_strategies_load"]
    await eventually(lambda: room.line.calls["lt_strategies_load"] == read + 1)
    await room.executed(plan)
    told = capital_of(cabinet)
    gate.set()
    await reading
    assert capital_of(cabinet) == told


async def _is_closed(room: TradingRoom, order_id: str) -> bool:
    return bool(
        await room.desk.rows(
            "select from public.lt_order_attempts where exchange_order_id = %(id)s and closed_at is not null",
            id=order_id,
        )
    )


async def test_a_purse_that_another_worker_holds_takes_no_live_signal_along(room: TradingRoom) -> None:
    await room.desk.execute("update public.lt_strategies set shadow_mode = true")
    strategies = Cabinet(room).strategies
    await strategies.load()
    (purse,) = strategies.purses
    assert strategies.on({purse}) == [(ONE, Mode.PAPER)]
    assert strategies.on({room.floor.wallet}) == [(ONE, Mode.LIVE)]


async def _knows_the_capital(cabinet: Cabinet, room: TradingRoom) -> bool:
    return capital_of(cabinet) == await room.ledger.capital(ONE)
