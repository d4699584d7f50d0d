"""A PostgreSQL for the sandbox: a private cluster of our own, or a guest's place on a given server.

The private cluster is ready in about a second, does logical replication, listens on a unix socket in a
directory nobody else may enter and, with a password, on a loopback port. It is made for throwing away:
no fsync, immediate stop, nothing left behind.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from worker.sandbox.errors import SandboxError
from worker.sandbox.postgres_binaries import PostgresBinaries, find_postgres
from worker.sandbox.processes import LOOPBACK, Account, ChildProcess, free_port, unprivileged_account
from worker.sandbox.workspace import workspace

SUPERUSER: Final = "postgres"
AUTHENTICATOR: Final = "authenticator"

_INITDB_WITHIN_S = 60.0
_READY_WITHIN_S = 30.0
_RELEASED_WITHIN_S = 15.0
_DROPPED_WITHIN_S = 20.0
_POLL_S = 0.005
_HAS_STRATEGIES = 150_000  # PostgreSQL 15
_SETTINGS: Final = {
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "200",
    "max_wal_senders": "40",
    "max_replication_slots": "40",
    # A sandbox forgets everything anyway: durability would only cost time. (Commits stay synchronous:
    # asynchronous ones reach logical replication up to 200 ms late.)
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "10s",
    "jit": "off",  # PostgREST looks the schema up once: to compile that costs more than to run it
}
_NEEDED: Final = {
    "wal_level": ("logical", "to stream changes"),
    "track_commit_timestamp": ("on", "to measure latency from the commit of a signal"),
}
_ACCESS = f"local all all trust\nlocal replication all trust\nhost all all {LOOPBACK}/32 scram-sha-256\n"
_PROJECT_SQL = Path(__file__).with_name("supabase_project.sql")
_AUTH_USERS_SQL: Final[LiteralString] = """
create table if not exists auth.users (
  id uuid primary key default gen_random_uuid(),
  email text,
  created_at timestamptz default now()
)
"""


class Postgres:
    """A server on which databases come and go. Use `private` or `existing` to get one."""

    def __init__(self, address: str, cluster: "_Cluster | None" = None) -> None:
        self._address = address
        self._cluster = cluster
        self._databases: set[str] = set()

    @classmethod
    @asynccontextmanager
    async def start(cls, *, data_in: Path | None = None) -> AsyncIterator["Postgres"]:
        """Uses the server of DATABASE_URL where that is set, else starts a private cluster (`data_in`: see there)."""
        url = os.environ.get("DATABASE_URL")
        server = cls.existing(url) if url else cls.private(data_in=data_in)
        async with server as postgres:
            yield postgres

    @classmethod
    @asynccontextmanager
    async def private(
        cls, binaries: PostgresBinaries | None = None, *, data_in: Path | None = None
    ) -> AsyncIterator["Postgres"]:
        """Starts a cluster of our own; stops and removes it at exit. Its data is beside its socket, or in `data_in`."""
        account = unprivileged_account()
        with (
            workspace(account) as directory,
            nullcontext(directory) if data_in is None else workspace(account, parent=data_in) as store,
        ):
            cluster = _Cluster(directory, store / "data", binaries or find_postgres(), account)
            try:
                await cluster.initialise()
                await cluster.start()
                yield cls(make_conninfo(host=str(directory), port=cluster.port, user=SUPERUSER), cluster)
            finally:
                await cluster.stop()

    @classmethod
    @asynccontextmanager
    async def existing(cls, url: str) -> AsyncIterator["Postgres"]:
        """Uses the server at `url`: makes databases of its own in it and drops them at exit.

        The Supabase roles it may have to add belong to the whole server and stay. Raises SandboxError with
        the cure when nobody answers there, or when the server is not set up for what the sandbox needs.
        """
        postgres = cls(url)
        await postgres._require_settings()
        try:
            yield postgres
        finally:
            for name in tuple(postgres._databases):
                await postgres.drop_database(name)

    async def _require_settings(self) -> None:
        try:
            connection = await self.connect(None)
        except psycopg.Error as error:
            raise SandboxError(
                f"Cannot use the server of DATABASE_URL: {' '.join(str(error).split())}. "
                "Correct DATABASE_URL, or unset it for a private server."
            ) from error
        async with connection:
            for name, (needed, how) in _NEEDED.items():
                rows = await connection.execute("select current_setting(%s)", (name,))
                row = await rows.fetchone()
                if row != (needed,):
                    raise SandboxError(
                        f"The server of DATABASE_URL has {name} = {row and row[0]}, the sandbox needs "
                        f"{needed} {how}: run `alter system set {name} = '{needed}'` and restart it."
                    )

    def dsn(self, database: str | None, *, user: str | None = None) -> str:
        """Returns the connection string of `database` (None: the server's own), as superuser or `user`.

        On a given server everybody is the user of its URL: the other roles have no password there.
        """
        chosen = {"dbname": database or (None if self._cluster is None else SUPERUSER)}
        if user is not None and self._cluster is not None:
            chosen["user"] = user
        return make_conninfo(self._address, **{key: value for key, value in chosen.items() if value})

    def tcp_dsn(self, database: str) -> str:
        """Returns a connection string over loopback TCP, for tools that know no unix sockets."""
        if self._cluster is None:
            return self.dsn(database)
        return make_conninfo(
            host=LOOPBACK,
            port=self._cluster.port,
            user=SUPERUSER,
            password=self._cluster.password,
            dbname=database,
        )

    async def connect(self, database: str | None) -> psycopg.AsyncConnection:
        """Opens an autocommit connection."""
        return await psycopg.AsyncConnection.connect(self.dsn(database), autocommit=True, connect_timeout=10)

    async def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Creates a database, as a copy of `template` if given, and returns its name."""
        name = name or f"polycopy_{secrets.token_hex(6)}"
        statement = sql.SQL("create database {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" template {}").format(sql.Identifier(template))
        async with await self.connect(None) as connection:
            if self._cluster is not None and connection.info.server_version >= _HAS_STRATEGIES:
                # Without fsync a copy of the files costs a third of a copy through the log.
                statement += sql.SQL(" strategy file_copy")
            await connection.execute(statement)
            self._databases.add(name)
            # Supabase runs in UTC; a given server may not.
            await connection.execute(
                sql.SQL("alter database {} set timezone = 'UTC'").format(sql.Identifier(name))
            )
        return name

    async def create_project(self, name: str | None = None, *, with_auth_users: bool = True) -> str:
        """Creates a database like that of a new Supabase project and returns its name."""
        name = await self.create_database(name)
        async with await self.connect(name) as connection:
            await connection.execute(_PROJECT_SQL.read_bytes())
            if with_auth_users:
                await connection.execute(_AUTH_USERS_SQL)
        return name

    async def drop_database(self, name: str) -> None:
        """Drops a database and whoever is connected to it; a replication stream may take a moment to let go.

        Raises TimeoutError when the server does not answer.
        """
        statement = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
        deadline = monotonic() + _RELEASED_WITHIN_S
        async with asyncio.timeout(_DROPPED_WITHIN_S), await self.connect(None) as connection:
            while True:
                try:
                    await connection.execute(statement)
                    break
                except psycopg.errors.ObjectInUse:
                    if monotonic() > deadline:
                        raise
                await asyncio.sleep(_POLL_S)
        self._databases.discard(name)

    @asynccontextmanager
    async def database(self, *, template: str | None = None) -> AsyncIterator[str]:
        """Lends a database for the length of the block; yields its name."""
        name = await self.create_database(template=template)
        try:
            yield name
        finally:
            await self.drop_database(name)

    async def restart(self, *, immediate: bool = False) -> None:
        """Stops the private cluster, orderly or as in a crash, and starts it at the same address."""
        if self._cluster is None:
            raise SandboxError("Only a private cluster can be restarted, not the server of DATABASE_URL.")
        await self._cluster.stop(signal.SIGQUIT if immediate else signal.SIGINT)
        await self._cluster.start()

    async def stop(self, *, immediate: bool = False) -> None:
        """Stops the private cluster before its time; `restart` brings it back with its data."""
        if self._cluster is None:
            raise SandboxError("Only a private cluster can be stopped, not the server of DATABASE_URL.")
        await self._cluster.stop(signal.SIGQUIT if immediate else signal.SIGINT)


class _Cluster:
    """The data directory and the server process of a private cluster."""

    def __init__(
        self, directory: Path, data: Path, binaries: PostgresBinaries, account: Account | None
    ) -> None:
        self.port = free_port()
        self.password = secrets.token_urlsafe(18)
        self._directory = directory
        self._data = data
        self._binaries = binaries.usable_by(account, directory / "programs")
        self._account = account
        self._server: ChildProcess | None = None

    async def initialise(self) -> None:
        password_file = self._directory / "password"
        password_file.write_text(self.password)
        if self._account is not None:
            os.chown(password_file, self._account.uid, self._account.gid)
        await self._child(
            "initdb",
            self._binaries.initdb,
            f"--pgdata={self._data}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ).finished(within_s=_INITDB_WITHIN_S)
        password_file.unlink()
        (self._data / "pg_hba.conf").write_text(_ACCESS)

    async def start(self) -> None:
        settings = dict(_SETTINGS)
        if self._binaries.has_statement_statistics:
            settings["shared_preload_libraries"] = "pg_stat_statements"
        self._server = self._child(
            "PostgreSQL",
            self._binaries.postgres,
            *("-D", self._data, "-k", self._directory, "-h", LOOPBACK, "-p", str(self.port)),
            *(f"--{name}={value}" for name, value in settings.items()),
        )
        await self._ready(self._server)

    async def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        if self._server is not None:
            await self._server.stop(first=how)

    async def _ready(self, server: ChildProcess) -> None:
        status = self._data / "postmaster.pid"  # its eighth line tells the state
        deadline = monotonic() + _READY_WITHIN_S
        while True:
            server.raise_if_ended()
            if monotonic() > deadline:
                raise server.error(f"was not ready within {_READY_WITHIN_S:g} s")
            lines = status.read_text().splitlines() if status.exists() else []
            if lines and lines[0] == str(server.pid) and lines[7:] and lines[7].strip() == "ready":
                return
            await asyncio.sleep(_POLL_S)

    def _child(self, name: str, *command: str | Path) -> ChildProcess:
        # The default action of PostgreSQL on SIGQUIT is to stop at once and to tidy up its shared memory.
        return ChildProcess.start(command, name=name, account=self._account, end_signal=signal.SIGQUIT)
