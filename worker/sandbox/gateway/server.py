"""The gateway's one port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from worker.sandbox.gateway import rest_proxy
from worker.sandbox.gateway.rest_proxy import RestProxy
from worker.sandbox.processes import LOOPBACK

_MAX_BODY: Final = 64 * 1024 * 1024


class Gateway:
    """A running gateway; `url` is what a client takes for the address of the project."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @asynccontextmanager
    async def start(cls, *, postgrest_socket: Path, port: int = 0) -> AsyncIterator["Gateway"]:
        """Serves on loopback `port`, 0 for any free one."""
        proxy = RestProxy(postgrest_socket)
        application = web.Application(client_max_size=_MAX_BODY)
        application.router.add_route("*", rest_proxy.PREFIX + "/{path:.*}", proxy.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        try:
            await runner.setup()
            site = web.TCPSite(runner, LOOPBACK, port)
            await site.start()
            bound_port = runner.addresses[0][1]
            yield cls(f"http://{LOOPBACK}:{bound_port}")
        finally:
            await runner.cleanup()
            await proxy.close()
