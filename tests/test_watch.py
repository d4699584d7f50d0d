"""Trading, or loudly not: what the operator reads, and what systemd hears of a loop that stands still."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom, open_room
from worker import watch as watching
from worker.configuration.feed import CanarySettings, FeedSettings
from worker.database.realtime import FeedState
from worker.feed.canary import Canary
from worker.feed.watch import FeedWatch
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.observe.notify import ServiceManager
from worker.orders.terms import WalletAddress
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.supabase import SupabaseSandbox
from worker.supervision import Pulse
from worker.watch import Watch, Watched

STRANGER = WalletAddress("0x" + "5e" * 20)
STILL_AFTER_S = 30.0


@dataclass
class Tower:
    """A watch over a trading room, and the socket on which systemd would listen."""

    room: TradingRoom
    health: Health
    pulse: Pulse
    watch: Watch
    systemd: socket.socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.watch.run()), asyncio.create_task(self.watch.run_exchange())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()

    def heard(self) -> list[str]:
        """Every notice since the last call."""
        notices = []
        while True:
            try:
                notices.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return notices

    def says(self, level: Level, *words: str) -> bool:
        sentence = self.health.sentence()
        assert self.health.level is level, sentence
        assert all(word in sentence for word in words), sentence
        return True


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase) as room:
        yield room


def live_feed(room: TradingRoom, health: Health) -> FeedWatch:
    metrics = Metrics()
    canary = Canary(
        CanarySettings(),
        send=room.ledger.send_canary,
        audible=lambda: False,
        clock=room.clock,
        metrics=metrics,
    )
    feed = FeedWatch(
        FeedSettings(),
        canary=canary,
        renew=lambda _: None,
        clock=room.clock,
        health=health,
        metrics=metrics,
    )
    feed.changed(FeedState.LIVE)
    return feed


@pytest.fixture
def tower(room: TradingRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tower]:
    monkeypatch.setattr(watching, "_JUDGE_EVERY_S", 0.02)
    monkeypatch.setattr(watching, "_EXCHANGE_EVERY_S", 0.05)
    health, pulse = Health(room.clock), Pulse(room.clock.monotonic, still_after_s=STILL_AFTER_S)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        feed = live_feed(room, health)
        watch = Watch(
            Watched(room.wallets, room.sender, room.exchange, pulse, feed),
            health=health,
            service=ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")}),
            metrics=room.metrics,
        )
        yield Tower(room, health, pulse, watch, systemd)


def test_an_exchange_that_answers_again_is_noticed_within_a_quarter_of_a_minute() -> None:
    assert watching._EXCHANGE_EVERY_S + watching._JUDGE_EVERY_S <= 15


async def test_an_exchange_out_of_reach_is_not_trading_until_it_answers_again(tower: Tower) -> None:
    faults = tower.room.floor.venue.faults
    async with tower.running():
        await eventually(lambda: tower.says(Level.OK))
        faults.add(Fault(action=Action.DROP_BEFORE, method="GET", path="/", times=None))
        await eventually(lambda: tower.says(Level.FAILING, "NOT trading", "exchange"))
        faults.clear()
        await eventually(lambda: tower.says(Level.OK))
        await eventually(lambda: "STATUS=trading" in tower.heard())


async def test_when_every_wallet_is_halted_it_is_not_trading(tower: Tower) -> None:
    tower.room.floor.venue.faults.add(scripted(FaultName.UNAUTHORIZED))
    async with tower.running():
        await eventually(lambda: tower.says(Level.OK))
        await tower.room.executed()
        await eventually(lambda: tower.says(Level.FAILING, "NOT trading", tower.room.floor.wallet, "refuses"))
        await eventually(lambda: any("NOT trading" in notice for notice in tower.heard()))


async def test_a_shut_door_of_the_exchange_is_said_until_it_opens(tower: Tower) -> None:
    modes = tower.room.floor.venue.engine.modes
    modes.enter(Mode.POST_ONLY, seconds=4)
    async with tower.running():
        trade = asyncio.create_task(tower.room.executed())
        await eventually(lambda: tower.says(Level.FAILING, "exchange_post_only", tower.room.floor.wallet))
        assert _shut_doors(tower.room) == {"exchange_post_only": 1}
        await trade
        await eventually(lambda: tower.says(Level.OK))
        assert _shut_doors(tower.room) == {}


def _shut_doors(room: TradingRoom) -> dict[str, int]:
    """What the metrics say of the exchange's doors, without those modes that no wallet meets."""
    samples = [one for family in room.metrics.doors_shut.collect() for one in family.samples]
    return {one.labels["mode"]: int(one.value) for one in samples if one.value}


async def test_a_sentence_that_found_the_queue_of_notices_full_is_told_when_there_is_a_place(
    tower: Tower,
) -> None:
    crowd = ServiceManager({"NOTIFY_SOCKET": tower.systemd.getsockname()})
    while crowd.status("somebody else's"):
        pass
    async with tower.running():
        await eventually(lambda: tower.says(Level.OK))
        await eventually(lambda: "STATUS=trading" in tower.heard())


async def test_a_balance_that_is_not_read_is_said_and_degrades_what_else_can_trade(tower: Tower) -> None:
    tower.room.wallets.watch([STRANGER])  # leased, but the exchange has no account of ours for it
    await tower.room.wallets.refresh()
    async with tower.running():
        await eventually(lambda: tower.says(Level.DEGRADED, STRANGER, "its balance is not read"))


async def test_a_wallet_that_another_worker_holds_is_not_traded_here_and_that_is_said(tower: Tower) -> None:
    heir = tower.room.successor()
    await heir.takes_over()
    await tower.room.wallets.refresh()
    async with tower.running():
        await eventually(lambda: tower.says(Level.FAILING, "worker-b trades it"))


async def test_a_loop_that_stands_still_ends_the_signs_of_life(tower: Tower) -> None:
    tower.pulse.beat("sweep")
    tower.pulse.beat("leases")
    async with tower.running():
        await eventually(lambda: "WATCHDOG=1" in tower.heard())
        tower.room.watch.slept_s = STILL_AFTER_S + 1
        tower.pulse.beat("leases")
        await eventually(lambda: tower.health.level is Level.FAILING)
        assert "stands still: sweep" in tower.health.sentence()
        tower.heard()
        await asyncio.sleep(0.1)  # several judgements, in which it would have been fed
        assert "WATCHDOG=1" not in tower.heard()
        tower.pulse.beat("sweep")
        await eventually(lambda: "WATCHDOG=1" in tower.heard())
