"""The process of `polycopy-worker web`: one socket, one application, until SIGTERM or Ctrl-C."""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import structlog
import uvicorn
from fastapi import FastAPI

from worker.database.reports import Reports
from worker.errors import ConfigError
from worker.observe.notify import ServiceManager
from worker.settings import Settings
from worker.web.app import create_app
from worker.web.dashboard.mount import mount_dashboard

log = structlog.get_logger(__name__)

_GRACE_S: Final = 5  # whoever is still being answered then is cut off
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """An application and the socket that it listens on. `should_exit` ends it, as a signal does."""

    def __init__(self, app: FastAPI, listener: socket.socket, *, on_ready: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        super().__init__(config)
        self.app = app
        self._listener = listener
        self._on_ready = on_ready

    @classmethod
    def of(cls, settings: Settings, reports: Reports, *, on_ready: Callable[[str], None]) -> Self:
        """Listens at once. Raises `CredentialError`, and `ConfigError` where it cannot listen there."""
        app = create_app(settings, reports)
        return cls(app, _listening(settings.web.host, settings.web.port), on_ready=on_ready)

    @property
    def address(self) -> str:
        host, port, *_ = self._listener.getsockname()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def run_here(self) -> None:
        """Answer until the end, and close the socket."""
        with self._listener:
            await self.serve(sockets=[self._listener])

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but that an end which was asked for is none by a signal: the exit code is 0."""
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _ENDING:
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams are ended first: to wait for them would be to wait for ever."""
        self.app.state.feed.close()
        await super().shutdown(sockets)


async def serve(settings: Settings, reports: Reports, *, on_ready: Callable[[str], None]) -> None:
    """Answer until SIGTERM or SIGINT. `on_ready` hears the address. Raises what `Server.of` raises."""
    service = ServiceManager()

    def tell(address: str) -> None:
        log.info("web.ready", address=address)
        service.ready(f"listening on {address}")
        on_ready(address)

    server = Server.of(settings, reports, on_ready=tell)
    mount_dashboard(server.app)
    await server.run_here()
    service.stopping("ended")


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}): set web.host and web.port."
        ) from error
