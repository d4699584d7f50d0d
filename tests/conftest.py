"""Databases and Supabase projects for tests: one cluster per session, one database per test.

The cluster, and the templates that tests' databases are copied from, are made when first asked for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import cache

import httpx
import pytest
import structlog
from httpx._transports import default as httpx_transports

from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture(scope="session", autouse=True)
def one_tls_context() -> Iterator[None]:
    """Nothing here speaks TLS, and a client of the exchange would make a dozen contexts, 25 ms of CPU each."""
    with pytest.MonkeyPatch.context() as patch:
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
    """The session's PostgreSQL; it is bound to no event loop, so every test's own loop may use it."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(stack.enter_async_context(Postgres.start()))
        finally:
            runner.run(stack.aclose())


@pytest.fixture(scope="session")
def project_template(cluster: Postgres) -> str:
    """The name of a database like that of a new Supabase project."""
    return asyncio.run(cluster.create_project())


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
