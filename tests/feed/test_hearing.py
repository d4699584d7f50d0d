"""The worker's hearing, wired as the daemon wires it, on the sandbox's Realtime while that misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.support.desk import Desk
from tests.support.eventually import eventually
from worker import parts
from worker.adapters import open_adapters
from worker.database.realtime import FeedCount, FeedState
from worker.database.realtime_session import SIDE_TABLES
from worker.feed.canary import CANARY_TABLE
from worker.handlers.strategies import Strategies
from worker.observe.health import Level
from worker.observe.notify import ServiceManager
from worker.orders.strategy import Strategy
from worker.orders.terms import FtOrderId, StrategyId
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import UNTIL_CLEARED
from worker.sandbox.gateway.faults import Faults
from worker.sandbox.supabase import SupabaseSandbox
from worker.settings import load_settings

ONE = StrategyId("LT_ONE")
EVERYTHING = {"ft_orders", *SIDE_TABLES}
NEVER_S = "3600"  # what happens in a test does not happen because its time has come
SETTINGS = {
    "POLYCOPY_CANARY__EVERY_S": NEVER_S,
    "POLYCOPY_CANARY__AGAIN_EVERY_S": "0.5",
    "POLYCOPY_CANARY__PATIENCE_S": "8",  # a busy machine is not a deaf feed
    "POLYCOPY_FEED__REPLACE_AGAIN_AFTER_S": NEVER_S,
    "POLYCOPY_FEED__REPLACE_AGAIN_MOST_S": NEVER_S,
}

without_sweeps = pytest.mark.parametrize(
    "ear",
    [{"POLYCOPY_SWEEP__EVERY_S": NEVER_S, "POLYCOPY_SWEEP__CATCH_UP_AFTER_LIVE_S": f"[{NEVER_S}]"}],
    indirect=True,
    ids=["no sweeps"],
)


@dataclass
class Ear:
    ground: parts.Ground
    hearing: parts.Hearing
    strategies: Strategies
    desk: Desk
    faults: Faults

    async def listens(self) -> None:
        """Every channel is live, and a canary was heard."""
        await eventually(lambda: self.hearing.feed.live_tables == EVERYTHING)
        await eventually(lambda: self.is_level(Level.OK, "ms behind"))

    def is_level(self, level: Level, *words: str) -> bool:
        found = {check.name: check for check in self.ground.health.checks}["feed"]
        assert found.level is level, found
        assert all(word in found.detail for word in words), found
        return True

    async def signals_until(self, level: Level, *words: str) -> None:
        """Signals are inserted until the feed is of that level."""

        async def one_more() -> bool:
            await self.desk.signal()
            return self.is_level(level, *words)

        await eventually(one_more, every_s=0.1)

    def count(self, name: str, **labels: str) -> int:
        found = self.ground.metrics.registry.get_sample_value(f"polycopy_feed_{name}_total", labels)
        return int(found or 0)

    def sessions(self) -> int:
        return self.count("events", kind=FeedCount.SESSION)

    def strategy(self) -> Strategy:
        found = self.strategies.get(ONE)
        assert isinstance(found, Strategy), found
        return found

    async def judge(self) -> None:
        while True:
            self.hearing.watch.judge()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def desk_of(supabase: SupabaseSandbox) -> AsyncIterator[Desk]:
    desk = await Desk.open(supabase.dsn)
    try:
        await desk.strategy()
        yield desk
    finally:
        await desk.close()


@pytest.fixture
async def ear(
    supabase: SupabaseSandbox, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Ear]:
    """Its parameter, if there is one, is further settings."""
    for name, value in (SETTINGS | getattr(request, "param", {})).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SUPABASE_URL", supabase.url)
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", supabase.service_role_key)
    settings = load_settings()
    async with (
        desk_of(supabase) as desk,
        open_adapters(settings) as adapters,
        asyncio.TaskGroup() as group,
    ):
        ground = parts.Ground.of(settings, adapters, ServiceManager({}))
        strategies = Strategies(
            adapters.ledger, ground.health, refresh_every_s=float(NEVER_S), on_wallets=lambda _: None
        )
        await strategies.load()
        intake = parts.make_intake(ground, following=strategies.following)
        hearing = parts.make_hearing(ground, intake=intake, strategies=strategies, without=tuple)
        ear = Ear(ground, hearing, strategies, desk, supabase.gateway.faults)
        work = (
            hearing.feed.run(),
            hearing.canary.run(),
            hearing.sweep.run(),
            hearing.notices.run(),
            strategies.run(),
            ear.judge(),
        )
        tasks = [group.create_task(one) for one in work]
        yield ear
        for task in tasks:
            task.cancel()


async def test_a_feed_that_lives_is_measured_by_a_canary_as_soon_as_it_listens(ear: Ear) -> None:
    await ear.listens()
    registry = ear.ground.metrics.registry
    assert (registry.get_sample_value("polycopy_feed_latency_seconds_count") or 0) >= 1
    assert ear.hearing.watch.flows
    assert ear.sessions() == 1


async def test_while_signals_flow_none_stays_away_however_the_sweep_races_the_feed(ear: Ear) -> None:
    await ear.listens()
    heard = ear.count("events", kind=FeedCount.SIGNAL)
    for _ in range(30):
        await ear.desk.signal()
    await eventually(lambda: ear.count("events", kind=FeedCount.SIGNAL) == heard + 30)
    assert ear.count("missed_events") == ear.count("late_events")


async def test_channels_that_died_in_silence_are_replaced_and_hear_again(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.DEAD_CHANNELS, for_s=UNTIL_CLEARED)
    await ear.signals_until(Level.DEGRADED, "deaf")
    assert ear.count("missed_events") >= 1
    await ear.signals_until(Level.OK)
    assert ear.sessions() == 2
    assert ear.hearing.feed.state is FeedState.LIVE


async def test_in_a_quiet_market_dead_channels_are_noticed_by_the_canary(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.DEAD_CHANNELS, for_s=UNTIL_CLEARED)
    ear.hearing.canary.ask()  # its minute has come
    await eventually(lambda: ear.is_level(Level.DEGRADED, "canary"))
    await eventually(lambda: ear.is_level(Level.OK))
    assert ear.sessions() == 2


async def test_a_silence_that_no_fresh_session_ends_is_not_answered_with_a_loop_of_them(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.SILENT_WINDOW, for_s=UNTIL_CLEARED)
    await ear.signals_until(Level.DEGRADED, "deaf")
    assert not ear.hearing.watch.flows
    missed = ear.count("missed_events")
    await eventually(lambda: ear.sessions() == 2)
    await eventually(lambda: ear.hearing.feed.live_tables == EVERYTHING)
    for _ in range(3):
        await ear.desk.signal()
    await eventually(lambda: ear.count("missed_events") >= missed + 3)
    assert ear.is_level(Level.DEGRADED)
    await ear.faults.clear()
    await ear.signals_until(Level.OK)
    assert ear.sessions() == 2
    assert ear.count("missed_events") > ear.count("late_events")


async def test_signals_that_stay_away_are_noticed_though_canaries_are_heard(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.SILENT_WINDOW, for_s=UNTIL_CLEARED, table="ft_orders")
    await ear.signals_until(Level.DEGRADED, "signals in a row")


async def test_a_canary_table_that_is_not_published_makes_nobody_deaf(ear: Ear) -> None:
    await ear.faults.inflict(Fault.TABLE_UNPUBLISHED, for_s=UNTIL_CLEARED, table=CANARY_TABLE)
    await eventually(lambda: ear.hearing.feed.live_tables == EVERYTHING - {CANARY_TABLE})
    sent = await ear.desk.rows("select canary_id from public.lt_canary")
    ear.hearing.canary.ask()
    await ear.desk.execute("update public.lt_strategies set is_paused = true")
    await eventually(lambda: ear.strategy().is_paused)
    assert await ear.desk.rows("select canary_id from public.lt_canary") == sent
    assert ear.is_level(Level.OK)


@without_sweeps
async def test_a_notice_that_is_quicker_than_every_sweep_is_a_witness_too(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.SILENT_WINDOW, for_s=UNTIL_CLEARED, table="ft_orders")

    async def noticed() -> bool:
        ear.hearing.notices.heard(FtOrderId(await ear.desk.signal()))
        return ear.is_level(Level.DEGRADED, "signals in a row")

    await eventually(noticed, every_s=0.1)
    registry = ear.ground.metrics.registry
    assert registry.get_sample_value("polycopy_signals_total", {"source": "notice"})


async def test_rows_that_may_not_be_read_are_counted_and_missed(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.UNAUTHORIZED_ROWS, for_s=UNTIL_CLEARED, table="ft_orders")
    await ear.signals_until(Level.DEGRADED, "signals in a row")
    assert ear.count("events", kind=FeedCount.DROPPED_FRAME) >= 1


@without_sweeps
async def test_a_switch_that_is_thrown_by_plain_sql_is_known_by_the_feed_alone(ear: Ear) -> None:
    await ear.listens()
    await ear.desk.execute("update public.lt_strategies set is_paused = true")
    await eventually(lambda: ear.strategy().is_paused)
    await ear.desk.execute("update public.lt_strategies set is_paused = false, slippage_tolerance_pct = 4.5")
    await eventually(lambda: not ear.strategy().is_paused)
    assert ear.strategy().slippage == Decimal("0.045")
    insert = "insert into public.lt_controls (scope, action, reason, actor) values ('global', 'kill', 'drill', 'me')"
    await ear.desk.execute(insert)
    await eventually(lambda: ear.strategy().is_killed)
    await ear.desk.execute("update public.lt_controls set cleared_at = now(), cleared_by = 'me'")
    await eventually(lambda: not ear.strategy().is_killed)


async def test_a_switch_that_was_thrown_while_nobody_listened_is_known_when_somebody_does(ear: Ear) -> None:
    await ear.listens()
    await ear.faults.inflict(Fault.REALTIME_DOWN, for_s=UNTIL_CLEARED)
    await eventually(lambda: ear.hearing.feed.state is not FeedState.LIVE)
    await ear.desk.execute("update public.lt_strategies set is_paused = true")
    await ear.faults.clear()
    await eventually(lambda: ear.strategy().is_paused)
