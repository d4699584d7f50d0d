"""Databases and Supabase projects for tests: one cluster per session, one database per test.

The cluster, and the templates that tests' databases are copied from, are made when first asked for.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Final, LiteralString

import certifi
import httpx
import psycopg
import pytest
import structlog
from httpx._transports import default as httpx_transports

from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox

_LONG_RUNS: Final = {"backlog", "chaos", "day", "e2e", "feed", "mutation", "resting", "soak", "venue", "web"}
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - only a fresh private directory is made in it
_PLENTY_BYTES: Final = 4 * 2**30
# PostgREST asks for all of them at each start, and PostgreSQL reads a thousand files to tell: a quarter of the start.
_ONE_TIMEZONE: Final[LiteralString] = """
create or replace view pg_catalog.pg_timezone_names as
select 'UTC'::text as name, 'UTC'::text as abbrev, interval '0' as utc_offset, false as is_dst
"""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long runs come first: the last of them would keep one core waiting for the other."""
    items.sort(key=lambda item: item.path.parent.name not in _LONG_RUNS)


@pytest.fixture(scope="session", autouse=True)
def one_tls_context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing here speaks TLS, and a client of the exchange would make a dozen contexts, 25 ms of CPU each.

    Those of the processes that tests start know one authority, the first of the usual bundle, instead of all of them.
    """
    first, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    authority = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        patch.setattr(httpx_transports, "create_ssl_context", cache(httpx.create_ssl_context))
        yield


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that runs in this process sets its log up on a stream that may end with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    """The session's PostgreSQL; it is bound to no event loop, so every test's own loop may use it.

    A database is 450 files. Where there is plenty of memory they are in memory: to make and remove a thousand databases
    costs some disks' file systems ten times the CPU.
    """
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(stack.enter_async_context(Postgres.start(data_in=_plenty_of_memory())))
        finally:
            runner.run(stack.aclose())


def _plenty_of_memory() -> Path | None:
    """Returns a directory that is kept in memory, if it is anybody's and has room for far more than the tests need."""
    if not _IN_MEMORY.is_dir() or _IN_MEMORY.stat().st_mode & 0o003 != 0o003:
        return None
    room = min(shutil.disk_usage(_IN_MEMORY).free, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return _IN_MEMORY if room > _PLENTY_BYTES else None


@pytest.fixture(scope="session")
def project_template(cluster: Postgres) -> str:
    """The name of a database like that of a new Supabase project."""

    async def create() -> str:
        name = await cluster.create_project()
        # Where the server is not our own we may not be allowed to, and do without.
        async with await cluster.connect(name) as connection:
            with suppress(psycopg.errors.InsufficientPrivilege):
                await connection.execute("set allow_system_table_mods = on")
                await connection.execute(_ONE_TIMEZONE)
        return name

    return asyncio.run(create())


@pytest.fixture(scope="session")
def migrated_template(cluster: Postgres, project_template: str) -> str:
    """The name of a project's database with our migrations applied."""

    async def migrate() -> str:
        name = await cluster.create_database(template=project_template)
        await apply_migrations(cluster.dsn(name))
        return name

    return asyncio.run(migrate())


@pytest.fixture
async def database(cluster: Postgres, migrated_template: str) -> AsyncIterator[str]:
    """The connection string (superuser) of a migrated database of this test's own."""
    async with cluster.database(template=migrated_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def empty_database(cluster: Postgres, project_template: str) -> AsyncIterator[str]:
    """The connection string (superuser) of a new project's database, without our migrations."""
    async with cluster.database(template=project_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def supabase(cluster: Postgres, migrated_template: str) -> AsyncIterator[SupabaseSandbox]:
    """A whole Supabase project of this test's own, with our migrations applied."""
    async with SupabaseSandbox.start(postgres=cluster, template=migrated_template) as sandbox:
        yield sandbox
