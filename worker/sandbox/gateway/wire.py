"""One WebSocket and the TCP connection under it, with what waits to be written.

Beyond sending and closing it can do what networks do: freeze, one way or both, and be reset.
"""

import asyncio
import socket as sockets
import struct
from collections import Counter, deque
from contextlib import suppress
from typing import Final

from aiohttp import WSMessage, web

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER of no time: closing sends RST
_WRITTEN_WITHIN_S: Final = 0.5
_THAWED_BEFORE_WRITING_S: Final = 0.05


class Wire:
    """Writes in the order of sending; one writer, `write`, which runs as long as the socket."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport) -> None:
        self._socket = socket
        self._transport = transport
        self._waiting: deque[tuple[str | bytes, str | None]] = deque()
        self._due = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thawing: asyncio.TimerHandle | None = None

    @property
    def unwritten(self) -> Counter[str]:
        """The rows, by table, that were sent and never written."""
        return Counter(table for _, table in self._waiting if table is not None)

    def send(self, frame: str | bytes, *, row_of: str | None = None) -> None:
        """`row_of` is the table whose row the frame tells of."""
        self._waiting.append((frame, row_of))
        self._due.set()
        self._written.clear()

    async def write(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._due.wait()
                await self._flowing.wait()
                while self._waiting and self._flowing.is_set():
                    await self._write(self._waiting[0][0])
                    self._waiting.popleft()
                if not self._waiting:
                    self._due.clear()
                    self._written.set()

    async def _write(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            await self._socket.send_str(frame)
        else:
            await self._socket.send_bytes(frame)

    async def receive(self, *, within_s: float) -> WSMessage:
        """Raises TimeoutError."""
        return await self._socket.receive(timeout=within_s)

    async def pong(self, message: bytes) -> None:
        await self._socket.pong(message)

    async def close(self, code: int) -> None:
        """Closes after what waits to be written, if that can be."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_WRITTEN_WITHIN_S):
                await self._written.wait()
        await self._socket.close(code=code)

    def reset(self) -> None:
        """Drops the connection with a TCP reset."""
        reset(self._transport)

    def freeze(self, *, both_ways: bool) -> None:
        """Stops reading, and writing if `both_ways`."""
        if self._thawing is not None:
            self._thawing.cancel()
        if not self._transport.is_closing():
            self._transport.pause_reading()
        if both_ways:
            self._flowing.clear()

    def thaw(self) -> None:
        """Reads what has come meanwhile, and only then writes: the client may have gone."""
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._thawing = asyncio.get_running_loop().call_later(_THAWED_BEFORE_WRITING_S, self._flowing.set)

    async def flows(self) -> None:
        """Returns when nothing is frozen that keeps it from writing."""
        await self._flowing.wait()


def reset(transport: asyncio.Transport) -> None:
    """Drops the connection with a TCP reset."""
    socket = transport.get_extra_info("socket")
    if socket is not None and not transport.is_closing():
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
