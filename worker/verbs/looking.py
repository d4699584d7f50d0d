"""The database opened for whoever only looks, or turns a switch: no exchange, no wallet key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.adapters import open_database
from worker.database.reports import Reports
from worker.errors import DatabaseUnreachable
from worker.settings import Settings


@asynccontextmanager
async def open_reports(settings: Settings) -> AsyncIterator[Reports]:
    """Raises `DatabaseUnreachable` naming the address that is silent, and what else a call raises."""
    async with open_database(settings) as (database, access):
        try:
            yield Reports(database, settings.mode)
        except DatabaseUnreachable as error:
            inner = str(error).rstrip(".")
            raise DatabaseUnreachable(
                f"Supabase at {access.url} does not answer: check SUPABASE_URL and the network ({inner})."
            ) from error
