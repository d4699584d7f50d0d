"""The stream of committed transactions, read from a temporary logical replication slot.

As with the hosted server, nobody is told when the stream breaks: it is attached again with a new slot at
"now", and what was committed in between is gone.
"""

import asyncio
import secrets
import struct
from collections.abc import Callable
from time import monotonic
from typing import Final

import psycopg
from psycopg import pq

from worker.sandbox.gateway.changes import Assembly, Transaction

PUBLICATION: Final = "supabase_realtime"

_STATUS_EVERY_S: Final = 10.0  # well below wal_sender_timeout, 60 s
_XLOG_HEADER: Final = 1 + 8 + 8 + 8
_KEEPALIVE_HEADER: Final = 1 + 8 + 8


class ReplicationStream:
    """Hands each committed transaction that touched a published table to `deliver`, in commit order.

    `trouble` is why it was last detached.
    """

    def __init__(self, dsn: str, deliver: Callable[[Transaction], None], *, reattach_s: float) -> None:
        self.attached = asyncio.Event()
        self.trouble: psycopg.Error | None = None
        self._dsn = dsn
        self._reattach_s = reattach_s
        self._assembly = Assembly(deliver)

    async def run(self) -> None:
        """Keeps the stream attached until cancelled."""
        while True:
            try:
                await self._stream()
            except psycopg.Error as error:
                self.attached.clear()
                self.trouble = error
                await asyncio.sleep(self._reattach_s)

    async def _stream(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            replication="database",
            application_name="realtime_replication",
            cursor_factory=psycopg.AsyncClientCursor,
        )
        try:
            slot = f"polycopy_{secrets.token_hex(8)}"
            await connection.execute(
                f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT".encode()
            )
            copy = _CopyBoth(connection.pgconn)
            await copy.start(
                f"START_REPLICATION SLOT {slot} LOGICAL 0/0 "
                f"(proto_version '1', publication_names '{PUBLICATION}')"
            )
            self._assembly.reset()
            self.attached.set()
            await self._receive(copy)
        finally:
            await connection.close()

    async def _receive(self, copy: "_CopyBoth") -> None:
        received_lsn = 0
        status_due = monotonic() + _STATUS_EVERY_S
        while True:
            for data in await copy.receive(until=status_due):
                if data[:1] == b"w":
                    self._assembly.take(data[_XLOG_HEADER:])
                received_lsn = max(
                    received_lsn, struct.unpack_from(">q", data, 1 if data[:1] == b"k" else 9)[0]
                )
                if data[:1] == b"k" and data[_KEEPALIVE_HEADER]:
                    status_due = 0.0
            if monotonic() >= status_due:
                copy.send(struct.pack(">cqqqqb", b"r", received_lsn, received_lsn, received_lsn, 0, 0))
                status_due = monotonic() + _STATUS_EVERY_S


class _CopyBoth:
    """libpq's COPY BOTH mode, which psycopg has no call for, on the running event loop."""

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection

    async def start(self, command: str) -> None:
        self._connection.send_query(command.encode())
        while self._connection.is_busy():
            await self._readable(None)
        result = self._connection.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise psycopg.OperationalError(result.get_error_message() if result else "no answer")

    async def receive(self, *, until: float) -> list[bytes]:
        """Returns the messages that have come, at least one unless `until` (monotonic) has passed."""
        while True:
            messages = self._arrived()
            if messages or monotonic() >= until:
                return messages
            await self._readable(until)

    def send(self, message: bytes) -> None:
        self._connection.put_copy_data(message)
        self._connection.flush()

    def _arrived(self) -> list[bytes]:
        messages = []
        while True:
            size, data = self._connection.get_copy_data(1)
            if size > 0:
                messages.append(bytes(data))
            elif size == 0:
                return messages
            else:
                raise psycopg.OperationalError("the replication stream ended")

    async def _readable(self, until: float | None) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        descriptor = self._connection.socket
        loop.add_reader(descriptor, readable.set)
        try:
            async with asyncio.timeout(None if until is None else max(0.0, until - monotonic())):
                await readable.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(descriptor)
        self._connection.consume_input()
