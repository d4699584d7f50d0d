"""The gateway's port, which can be shut and opened again while the gateway lives."""

import asyncio
import socket

from aiohttp import web

from worker.sandbox.gateway.wire import reset
from worker.sandbox.processes import LOOPBACK


class Listener:
    """Serves an application on one loopback port. While it is shut, connections are refused."""

    def __init__(self, application: web.Application, port: int, *, close_within_s: float) -> None:
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=close_within_s)
        self._port = port
        self._socket: socket.socket | None = None
        self._site: web.SockSite | None = None
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """Known once it has started."""
        return f"http://{LOOPBACK}:{self._port}"

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        self._socket = _bound(self._port)
        self._port = self._socket.getsockname()[1]
        await self._runner.setup()
        await self.open()

    async def close(self) -> None:
        await self._runner.cleanup()
        if self._socket is not None:
            self._socket.close()

    async def open(self) -> None:
        async with self._turn:
            if self._site is None and self._socket is not None:
                self._site = web.SockSite(self._runner, self._socket)
                await self._site.start()

    async def shut(self) -> None:
        """Refuses new connections and drops the standing ones, in the middle of a request if need be."""
        async with self._turn:
            if self._site is None:
                return
            await self._site.stop()
            self._site = None
            # Bound but deaf, so that nobody gets the port meanwhile and `url` stays true.
            self._socket = _bound(self._port)
        server = self._runner.server
        for connection in [] if server is None else server.connections:
            if connection.transport is not None:
                reset(connection.transport)


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
