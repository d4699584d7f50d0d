"""The process of `polycopy-worker web`: one socket, one application, until SIGTERM or Ctrl-C."""

import socket
from collections.abc import Callable

import structlog
import uvicorn

from worker.database.reports import Reports
from worker.errors import ConfigError
from worker.observe.notify import ServiceManager
from worker.settings import Settings
from worker.web.app import create_app

log = structlog.get_logger(__name__)

_GRACE_S = 5  # whoever still listens then is cut off; a browser comes back by itself


async def serve(settings: Settings, reports: Reports, *, on_ready: Callable[[str], None]) -> None:
    """Answer until a signal ends it. `on_ready` hears the address. Raises `ConfigError` where it cannot listen there."""
    app = create_app(settings, reports)
    with _listening(settings.web.host, settings.web.port) as listener:
        address = _address(listener)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            ),
            ready=lambda: _tell(address, on_ready),
        )
        await server.serve(sockets=[listener])


def _tell(address: str, on_ready: Callable[[str], None]) -> None:
    log.info("web.ready", address=address)
    ServiceManager().ready(f"listening on {address}")
    on_ready(address)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}): set web.host and web.port."
        ) from error


def _address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
