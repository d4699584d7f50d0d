"""A stop of `run --backfill-only` cuts the walk and nothing else: what was begun is brought to its end, and told."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.exchange_floor import KEY
from tests.support.trading_room import TradingRoom, open_room
from worker import parts
from worker.adapters import Adapters
from worker.database.ledger import SupabaseLedger
from worker.errors import DatabaseUnreachable, ExchangeUnreachable, ExitCode
from worker.exchange.paper import PaperExchange
from worker.exchange.split import SplitExchange
from worker.handlers.lookback import Lookback
from worker.observe.notify import ServiceManager
from worker.orders.ports import WorkBatch
from worker.orders.reasons import SkipReason
from worker.orders.terms import Mode, WorkerId
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.supabase import SupabaseSandbox
from worker.settings import load_settings
from worker.supervision import Stopping
from worker.verbs.backfill import Bookmark, Errand, carry_out, pages
from worker.verbs.backfill_report import Report, Tally

# Whatever this machine is busy with, nothing but a stop or a failure ends the errand.
PATIENT = {"POLYCOPY_LEASE__TTL_S": "120", "POLYCOPY_STOP_DRAIN_S": "60"}


@dataclass
class Backlog:
    """`run --backfill-only` beside the test, over a line to the database that can be held and cut."""

    room: TradingRoom
    ground: parts.Ground
    stopping: Stopping = field(default_factory=Stopping)

    def begin(self, *, dry_run: bool = False) -> "asyncio.Task[Report]":
        errand = Errand(Lookback(), dry_run=dry_run)
        return asyncio.create_task(carry_out(self.ground, errand, Tally(), self.stopping))

    async def is_called(self, function: str) -> None:
        """A call of this function is on the line that was not there before."""
        before = self.room.line.calls[function]
        await eventually(lambda: self.room.line.calls[function] > before, within_s=30)

    async def holds_the_wallet(self) -> bool:
        lease = await self.room.desk.row("select worker, expires_at > now() as held from public.lt_leases")
        return lease == {"worker": "backlog", "held": True}


@pytest.fixture
async def backlog(supabase: SupabaseSandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backlog]:
    async with open_room(supabase) as room:
        wallet = {"address": room.floor.wallet, "type": "eoa", "key": "env:WALLET_KEY"}
        for name, value in {
            **PATIENT,
            "SUPABASE_URL": supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
            "POLYCOPY_MODE": "live",
            "POLYCOPY_WALLETS": json.dumps([wallet]),
            "WALLET_KEY": KEY.get_secret_value(),
        }.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        ledger = SupabaseLedger(room.database, mode=Mode.LIVE, worker=WorkerId("backlog"))
        paper_ledger = SupabaseLedger(room.database, mode=Mode.PAPER, worker=WorkerId("backlog"))
        paper = PaperExchange(
            room.floor.settings,
            room.clock,
            bankroll_usd=Decimal(1000),
            market_data=room.exchange.market_data,
            recall=paper_ledger.remembered,
        )
        adapters = Adapters(
            clock=room.clock,
            database=room.database,
            ledger=ledger,
            paper_ledger=paper_ledger,
            exchange=SplitExchange(room.exchange, paper),
            lanes=room.lanes,
            access=room.access,
            settings=settings,
        )
        await room.wallets.release()
        yield Backlog(room, parts.Ground.of(settings, adapters, ServiceManager({})))


async def test_the_first_stop_cuts_no_drain_and_hides_no_failure(backlog: Backlog) -> None:
    line = backlog.room.line
    await backlog.room.signal()
    recording = line.hold("lt_record")
    with capture_logs() as logs:
        working = backlog.begin()
        await backlog.is_called("lt_record")  # the order is out, its answer is not in the books
        line.cut = True  # and the walk fails
        await eventually(lambda: "daemon.draining" in [one["event"] for one in logs], within_s=30)
    backlog.stopping.ask()
    await asyncio.wait({working}, timeout=0.3)
    assert not working.done()
    line.cut = False
    recording.set()
    report = await working
    assert isinstance(report.failure, DatabaseUnreachable)
    (attempt,) = await backlog.room.attempts()
    assert attempt["state"] == "matched"
    assert not await backlog.holds_the_wallet()


async def test_a_dry_run_ends_with_an_exchange_that_is_silent_and_bears_with_a_single_market(
    backlog: Backlog,
) -> None:
    faults = backlog.room.floor.venue.faults
    for _ in range(3):
        await backlog.room.signal()
    silent = Fault(action=Action.DROP_BEFORE, method="GET", path="/clob-markets", times=None)
    faults.add(silent)
    told = await backlog.begin(dry_run=True)
    assert (told.failure, told.tally.deferred) == (None, {SkipReason.EXCHANGE_UNREACHABLE: 3})
    for path in ("/version", "/time"):
        faults.add(replace(silent, path=path))
    told = await backlog.begin(dry_run=True)
    assert isinstance(told.failure, ExchangeUnreachable)
    assert "check the setting `exchange.clob_url`" in str(told.failure)
    assert told.failure.exit_code is ExitCode.UPSTREAM_UNREACHABLE
    assert told.as_json()["failure"] == str(told.failure)
    assert await backlog.room.attempts() == []


async def test_a_stop_during_the_start_ends_it_and_hands_back_what_it_took(backlog: Backlog) -> None:
    backlog.room.line.hold("lt_open_attempts")
    working = backlog.begin()
    await backlog.is_called("lt_open_attempts")
    assert await backlog.holds_the_wallet()
    backlog.stopping.ask()
    report = await working
    assert (report.interrupted, report.failure) == (True, None)
    assert not await backlog.holds_the_wallet()


async def test_a_walk_ends_though_its_bookmark_does_not_move() -> None:
    asked: list[Bookmark | None] = []

    async def ask(bookmark: Bookmark | None) -> WorkBatch:
        asked.append(bookmark)
        return WorkBatch((), more=True, bookmark={}, strategies_version="v")

    async with asyncio.timeout(20):
        assert [page async for page in pages(ask)] == [(), ()]
    assert asked == [None, {}]
