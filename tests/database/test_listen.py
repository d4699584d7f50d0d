"""The second wake-up: notices of inserted signals on a direct connection, which survives what a server does."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
import pytest

from tests.support.desk import Desk
from tests.support.eventually import eventually
from worker.database.listen import ListenTiming, SignalListener, secrets_of
from worker.errors import ConfigError, DatabaseUnreachable
from worker.orders.terms import FtOrderId
from worker.sandbox.postgres import Postgres
from worker.sandbox.processes import LOOPBACK

QUICK = ListenTiming(backoff_first_s=0.02, backoff_most_s=0.2)


@dataclass
class Ear:
    """A listener at work, and what it has heard."""

    listener: SignalListener
    heard: list[FtOrderId]
    beginnings: list[bool]

    def has_heard(self, ft_order_id: str) -> bool:
        return ft_order_id in self.heard

    def has_begun(self, times: int) -> bool:
        return len(self.beginnings) == times


@asynccontextmanager
async def listening(dsn: str, timing: ListenTiming = QUICK) -> AsyncIterator[Ear]:
    heard: list[FtOrderId] = []
    beginnings: list[bool] = []
    listener = SignalListener(
        dsn, on_signal=heard.append, on_listening=lambda: beginnings.append(True), timing=timing
    )
    running = asyncio.create_task(listener.run())
    try:
        yield Ear(listener, heard, beginnings)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_each_inserted_signal_is_heard_by_its_id_and_nothing_else_is(desk: Desk, database: str) -> None:
    await desk.ft_wallet("FT_ONE")
    async with listening(database) as ear:
        await eventually(lambda: ear.listener.listening)
        signals = [await desk.signal() for _ in range(3)]
        await desk.execute("update public.ft_orders set outcome = 'WON'")
        signals.append(await desk.signal())
        await eventually(lambda: ear.heard == signals)


async def test_a_signal_that_is_rolled_back_is_not_heard(desk: Desk, database: str) -> None:
    await desk.ft_wallet("FT_ONE")
    async with listening(database) as ear:
        await eventually(lambda: ear.listener.listening)
        async with desk.connection.transaction(force_rollback=True):
            await desk.signal()
        signal = await desk.signal()
        await eventually(lambda: ear.heard == [signal])


async def test_a_connection_that_is_cut_is_made_again_and_says_so(desk: Desk, database: str) -> None:
    await desk.ft_wallet("FT_ONE")
    await desk.connection.execute("reset role")
    async with listening(database) as ear:
        for times in (1, 2, 3):
            await eventually(partial(ear.has_begun, times))
            signal = await desk.signal()
            await eventually(partial(ear.has_heard, signal))
            await desk.rows(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and query like 'listen%%' or query like '%%pg_notify%%'"
                " and pid <> pg_backend_pid()"
            )


async def test_a_server_that_crashes_is_listened_to_again() -> None:
    async with Postgres.private() as server:
        name = await server.create_database()
        async with listening(server.dsn(name)) as ear:
            await eventually(lambda: len(ear.beginnings) == 1)
            await server.restart(immediate=True)
            await eventually(lambda: len(ear.beginnings) == 2)
            async with await server.connect(name) as connection:
                await connection.execute("notify lt_signals, 'after the crash'")
            await eventually(lambda: ear.heard == ["after the crash"])


async def test_a_quiet_connection_proves_itself_again(database: str) -> None:
    async with listening(database, ListenTiming(quiet_s=0.05)) as ear:
        await eventually(lambda: ear.listener.listening)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:

            async def proofs() -> int:
                rows = await other.execute(
                    "select pid from pg_stat_activity where query like 'select pg_notify(%' and state = 'idle'"
                )
                return len(await rows.fetchall())

            await eventually(proofs)
            await other.execute("notify lt_signals, 'still here'")
            await eventually(lambda: ear.heard == ["still here"])
        assert len(ear.beginnings) == 1


async def test_a_pooler_that_takes_listen_and_delivers_nothing_is_found_out(database: str) -> None:
    """As a transaction pooler does: the notice comes to a server connection that is no longer ours."""
    listener = SignalListener(database, on_signal=lambda _: None, timing=ListenTiming(answer_s=0.0))
    with pytest.raises(DatabaseUnreachable, match=r"session pooler \(port 5432\)"):
        await listener.probe()


async def test_where_nobody_listens_it_keeps_trying_and_says_why_once() -> None:
    listener = SignalListener(f"postgresql://{LOOPBACK}:1/postgres", on_signal=lambda _: None, timing=QUICK)
    with pytest.raises(DatabaseUnreachable, match=r"SUPABASE_DB_URL: .*refused"):
        await listener.probe()


@pytest.mark.parametrize("dsn", ["https://project.supabase.co", "the direct connection"])
def test_what_is_no_connection_string_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(ConfigError, match="SUPABASE_DB_URL is not a connection string") as refused:
        SignalListener(dsn, on_signal=lambda _: None)
    assert dsn not in str(refused.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://postgres:abc@SecretTail99@127.0.0.1:5432/postgres",
        "postgresql://postgres:abc/SecretTail99@127.0.0.1:5432/postgres",
        "postgresql://postgres:12/SecretTail99@127.0.0.1:5432/postgres",
        "postgresql://postgres:abc#SecretTail99/x@127.0.0.1:5432/postgres",
        "postgresql://postgres:abc@h:SecretTail99@127.0.0.1:5432/postgres",
        "postgresql://postgres:abc SecretTail99@127.0.0.1:5432/postgres",
        "postgresql://postgres:abc%SecretTail99@127.0.0.1:5432/postgres",
        "host=127.0.0.1 password=abc SecretTail99",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_with_the_way_to_write_it(dsn: str) -> None:
    with pytest.raises(ConfigError, match=r"SUPABASE_DB_URL .*percent-encoded") as refused:
        SignalListener(dsn, on_signal=lambda _: None)
    assert "SecretTail99" not in "".join(traceback.format_exception(refused.value))


async def test_of_a_host_that_is_not_found_the_name_is_not_repeated() -> None:
    dsn = "postgresql://postgres:abc@secrettail99.invalid:5432/postgres"
    listener = SignalListener(dsn, on_signal=lambda _: None, timing=QUICK)
    with pytest.raises(DatabaseUnreachable, match="SUPABASE_DB_URL: its host is not found") as refused:
        await listener.probe()
    assert "secrettail99" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    ("dsn", "secrets"),
    [
        ("postgresql://postgres:p%40ss-w0rd@127.0.0.1:5/x", {"p@ss-w0rd", "p%40ss-w0rd"}),
        ("postgresql://postgres:p%61ss-w0rd@127.0.0.1:5/x", {"pass-w0rd", "p%61ss-w0rd"}),
        ("postgresql://postgres:pa[ss@127.0.0.1:5/x", {"pa[ss", "pa%5Bss"}),
        ("postgresql://u@127.0.0.1:5/x?password=hunter%21", {"hunter!", "hunter%21"}),
        ("host=127.0.0.1 user=postgres password=hunter2", {"hunter2"}),
    ],
)
def test_a_password_is_known_in_each_way_of_writing_it(dsn: str, secrets: set[str]) -> None:
    assert {dsn, *secrets} <= secrets_of(dsn)


async def test_the_insert_does_not_depend_on_the_queue_of_notices(desk: Desk, database: str) -> None:
    """A listener that never reads fills the queue; a full one would refuse every commit that tells."""
    await desk.ft_wallet("FT_ONE")
    await desk.connection.execute("reset role")
    await desk.execute(
        "create schema full_queue; create function full_queue.pg_notification_queue_usage() returns float8"
        " language sql as 'select 0.9::float8'"
    )
    await desk.execute("alter function public.lt_tell_signal() set search_path = full_queue, pg_catalog")
    async with listening(database) as ear:
        await eventually(lambda: ear.listener.listening)
        await desk.signal()
        await desk.execute("notify lt_signals, 'the next'")
        await eventually(lambda: ear.heard == ["the next"])
