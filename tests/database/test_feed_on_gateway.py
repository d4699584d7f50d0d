"""The feed on the sandbox's Realtime: rows that PostgreSQL really committed, over the protocol of the real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.support.desk import Desk
from tests.support.eventually import eventually
from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction, ControlScope
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.database.realtime import FeedState, RealtimeFeed
from worker.database.realtime_session import SIDE_TABLES, FeedTiming
from worker.orders.signal import Signal, parse_signal
from worker.orders.terms import Mode, WorkerId
from worker.sandbox.supabase import SupabaseSandbox


@dataclass
class Heard:
    signals: list[dict[str, Any]] = field(default_factory=list)
    changes: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    states: list[tuple[FeedState, str]] = field(default_factory=list)

    def tables(self) -> set[str]:
        return {table for table, _ in self.changes}


@asynccontextmanager
async def listening(access: DatabaseAccess, heard: Heard, **timing: float) -> AsyncIterator[RealtimeFeed]:
    feed = RealtimeFeed(
        access,
        timing=FeedTiming(backoff_first_s=0.05, **timing),
        on_signal=lambda row: heard.signals.append(dict(row)),
        on_change=lambda table, row: heard.changes.append((table, dict(row))),
        on_state=lambda state, detail: heard.states.append((state, detail)),
    )
    running = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def access_to(supabase: SupabaseSandbox) -> DatabaseAccess:
    return DatabaseAccess.checked(supabase.url, supabase.service_role_key)


async def everything(feed: RealtimeFeed) -> None:
    await eventually(lambda: feed.live_tables == {"ft_orders", *SIDE_TABLES})


async def test_an_inserted_signal_arrives_and_says_the_same_as_the_table(supabase: SupabaseSandbox) -> None:
    heard, access = Heard(), access_to(supabase)
    desk = await Desk.open(supabase.dsn)
    await desk.strategy()
    async with (
        listening(access, heard) as feed,
        await SupabaseDatabase.open(access) as database,
    ):
        await eventually(lambda: feed.state is FeedState.LIVE)
        ids = [await desk.signal(entry_price=f"0.{n:04}", size="12345678.91") for n in range(1, 40)]
        await eventually(lambda: len(heard.signals) == len(ids))
        assert [row["order_id"] for row in heard.signals] == ids
        ledger = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("w"))
        for row in heard.signals[:3]:
            work = await ledger.signal(row["order_id"])
            assert work is not None
            read = parse_signal(work.signal_row)
            assert isinstance(read, Signal)
            assert parse_signal(row) == read
    await desk.close()


async def test_a_change_of_any_side_table_arrives(supabase: SupabaseSandbox) -> None:
    heard, access = Heard(), access_to(supabase)
    desk = await Desk.open(supabase.dsn)
    await desk.strategy()
    async with (
        listening(access, heard) as feed,
        await SupabaseDatabase.open(access) as database,
    ):
        await everything(feed)
        ledger = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("w"))
        await desk.execute("update public.lt_strategies set is_paused = true")
        await desk.execute("update public.ft_wallets set bet_size = 2")
        await ledger.control(ControlAction.KILL, ControlScope.everything(), reason="drill", actor="me")
        canary = await ledger.send_canary()
        await eventually(lambda: heard.tables() == set(SIDE_TABLES))
        assert ("lt_canary", canary) in [(table, row.get("canary_id")) for table, row in heard.changes]
        assert next(row for table, row in heard.changes if table == "lt_controls")["reason"] == "drill"
    await desk.close()


async def test_a_table_that_is_not_published_silences_no_other(supabase: SupabaseSandbox) -> None:
    heard = Heard()
    async with await psycopg.AsyncConnection.connect(supabase.dsn, autocommit=True) as connection:
        await connection.execute("alter publication supabase_realtime drop table public.lt_controls")
        desk = await Desk.open(supabase.dsn)
        async with listening(access_to(supabase), heard, side_retry_s=0.2) as feed:
            await eventually(lambda: feed.live_tables == {"ft_orders", *SIDE_TABLES} - {"lt_controls"})
            await desk.ft_wallet("FT_ONE")
            ft_order_id = await desk.signal()
            await eventually(lambda: [row["order_id"] for row in heard.signals] == [ft_order_id])
            await connection.execute("alter publication supabase_realtime add table public.lt_controls")
            await everything(feed)
        await desk.close()
    assert FeedState.LOST not in [state for state, _ in heard.states]


async def test_a_key_of_another_project_is_refused_and_tried_again_slowly(supabase: SupabaseSandbox) -> None:
    heard = Heard()
    stranger = DatabaseAccess(url=supabase.url, key=supabase.service_role_key[:-4] + "AAAA")
    async with listening(stranger, heard):
        await eventually(lambda: bool(heard.states) and heard.states[-1][0] is FeedState.LOST)
        assert "HTTP 401" in heard.states[-1][1]
        assert "SUPABASE_SERVICE_ROLE_KEY" in heard.states[-1][1]
