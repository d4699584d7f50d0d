"""An optional second wake-up: LISTEN on a connection of its own, a tenth of a millisecond after the commit.

Promises ids of inserted signals, soon, and no more: a notice that is sent while nobody listens is gone, so whoever
uses this sweeps too. The connection is made again for ever, with jittered back-off, and proves itself: it counts only
once it has heard a notice of its own, and again whenever it was quiet. That is how a transaction pooler is found out,
which takes LISTEN and never delivers. A direct connection and a session pooler (Supabase: port 5432) deliver.
"""

import asyncio
import random
import re
import secrets
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from worker.errors import ConfigError, DatabaseUnreachable
from worker.orders.terms import FtOrderId

_log = structlog.get_logger(__name__)

CHANNEL: Final = "lt_signals"
# A peer that vanished without a word is noticed by the kernel, should it come before our own probe.
_KEEPALIVES: Final = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}


_NOT_A_DSN: Final = (
    "SUPABASE_DB_URL is not a connection string: it looks like postgresql://user:password@host:5432/postgres, and "
    "whatever is neither a letter nor a digit in the password is percent-encoded there (@ is %40, / is %2F)."
)
_NO_WAY: Final = (
    "SUPABASE_DB_URL: its host is not found, or an option of it has no such value: check both, and that the password "
    "is percent-encoded (@ is %40, / is %2F)."
)
_REACHED: Final = "connection to server"  # so begins what libpq says of a host that it has found
_WRITTEN: Final = re.compile(r"://[^:/@?]*:([^@]*)@|password=([^&\s]+)")


@dataclass(frozen=True, slots=True)
class ListenTiming:
    """`quiet_s`: after so long without a notice the connection must prove itself again, within `answer_s`."""

    connect_s: float = 10.0
    answer_s: float = 5.0
    quiet_s: float = 60.0
    backoff_first_s: float = 0.2
    backoff_most_s: float = 30.0


class SignalListener:
    """Implements `orders.ports.Signals`.

    `on_signal(id)` must only take note and return. `on_listening()` is called whenever notices begin to flow: what
    was inserted before was not heard.
    """

    def __init__(
        self,
        dsn: str,
        *,
        on_signal: Callable[[FtOrderId], None],
        on_listening: Callable[[], None] = lambda: None,
        timing: ListenTiming | None = None,
    ) -> None:
        """Raises `ConfigError` where `dsn` is no connection string."""
        self._dsn = make_conninfo(**_parsed(dsn) | _KEEPALIVES)
        self._on_signal = on_signal
        self._on_listening = on_listening
        self._timing = timing or ListenTiming()
        self._listening = False

    @property
    def listening(self) -> bool:
        """Whether notices flow, as far as has been proved."""
        return self._listening

    async def run(self) -> None:
        """Listens until cancelled."""
        pause_s = self._timing.backoff_first_s
        told = ""
        while True:
            try:
                await self._listen()
            except DatabaseUnreachable as error:
                if self._listening:
                    pause_s, told = self._timing.backoff_first_s, ""
                self._listening = False
                (_log.debug if str(error) == told else _log.warning)("listener.lost", error=str(error))
                told = str(error)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            pause_s = min(pause_s * 2, self._timing.backoff_most_s)

    async def probe(self) -> None:
        """Connect, hear one notice, and leave. Raises `DatabaseUnreachable` saying what does not work."""
        async with await self._connect() as connection:
            await self._prove(connection, f"lt_probe_{secrets.token_hex(8)}")

    async def _listen(self) -> None:
        """One connection, from its beginning to its end. Raises `DatabaseUnreachable`."""
        own_channel = f"lt_probe_{secrets.token_hex(8)}"
        try:
            async with await self._connect() as connection:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(CHANNEL)))
                await self._prove(connection, own_channel)
                self._listening = True
                _log.info("listener.listening", channel=CHANNEL)
                self._on_listening()
                while True:
                    if not await self._hear(connection):
                        await self._prove(connection, own_channel)
        except psycopg.Error as error:
            raise _lost(error) from error

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        try:
            async with asyncio.timeout(self._timing.connect_s):
                return await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
        except TimeoutError as error:
            raise DatabaseUnreachable(
                f"SUPABASE_DB_URL: no connection within {self._timing.connect_s:g} s."
            ) from error
        except psycopg.Error as error:
            if error.sqlstate is None and _REACHED not in str(error):
                raise DatabaseUnreachable(_NO_WAY) from None
            raise _lost(error) from error

    async def _hear(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        """Pass on what comes; False after a quiet while."""
        heard = False
        async with aclosing(connection.notifies(timeout=self._timing.quiet_s)) as notices:
            async for notice in notices:
                heard = True
                if notice.channel == CHANNEL:
                    self._on_signal(FtOrderId(notice.payload))
        return heard

    async def _prove(self, connection: psycopg.AsyncConnection[Any], channel: str) -> None:
        """Send a notice to ourselves and wait for it; signals that come meanwhile are passed on."""
        try:
            async with asyncio.timeout(self._timing.answer_s):
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                await connection.execute("select pg_notify(%s, '')", (channel,))
                proved = False
                while not proved:
                    # To the end of each batch: what came together with our notice is not thrown away.
                    async for notice in connection.notifies(stop_after=1):
                        proved |= notice.channel == channel
                        if notice.channel == CHANNEL:
                            self._on_signal(FtOrderId(notice.payload))
        except TimeoutError as error:
            raise DatabaseUnreachable(
                f"SUPABASE_DB_URL: no notice comes back within {self._timing.answer_s:g} s; use the direct connection "
                "or the session pooler (port 5432): a transaction pooler (port 6543) cannot listen."
            ) from error
        except psycopg.Error as error:
            raise _lost(error) from error


def secrets_of(dsn: str) -> set[str]:
    """What of a connection string nobody may read, as it is and as it is written. Raises `ConfigError`."""
    parts = _parsed(dsn)
    plain = {str(parts[name]) for name in ("password", "sslpassword") if parts.get(name)}
    written = {part for match in _WRITTEN.finditer(dsn) for part in match.groups() if part}
    return {dsn, *plain, *(quote(one, safe="") for one in plain), *written}


def _parsed(dsn: str) -> dict[str, Any]:
    """A password that is not percent-encoded ends at its first odd character, and its rest passes for what follows.

    libpq would print that rest as the name of a host, a port or a database.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError(_NOT_A_DSN) from None
    ports = str(parts.get("port") or "").split(",")
    if any("@" in str(parts.get(name) or "") for name in ("host", "hostaddr", "dbname")) or not all(
        port.isdecimal() for port in ports if port
    ):
        raise ConfigError(_NOT_A_DSN)
    return parts


def _lost(error: psycopg.Error) -> DatabaseUnreachable:
    return DatabaseUnreachable(f"SUPABASE_DB_URL: {' '.join(str(error).split()) or type(error).__name__}.")
