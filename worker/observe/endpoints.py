"""What a monitor asks the worker itself, on this machine alone: `/livez`, `/readyz`, `/metrics`.

Answers come from memory: no question of a monitor reaches the database or the exchange, and a long exposition is
written beside the event loop. A port that somebody else has stops no trading: it is said, with the setting that mends
it, and tried again.
"""

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from worker.observe.health import Level
from worker.observe.log import redact, silent_logger
from worker.observe.vitals import Vitals

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"
_NAMES: Final = frozenset({HOST, "localhost"})
_PATHS: Final = ("/livez", "/readyz", "/metrics")
_AGAIN_S = 10.0
_REQUEST_WITHIN_S = 5.0


class Endpoints:
    def __init__(self, port: int, vitals: Vitals) -> None:
        """`port` 0: any that is free; `url` says which."""
        self._port = port
        self._vitals = vitals
        self.url = ""

    async def run(self) -> None:
        """Serve until cancelled."""
        told = False
        while True:
            try:
                await self._serve()
            except OSError as error:
                problem = f"port {self._port} of {HOST}: {error.strerror or error}"
                self._vitals.health.report("endpoints", Level.DEGRADED, problem)
                if not told:
                    log.error(
                        "endpoints.not_served",
                        port=self._port,
                        error=str(error),
                        fix='set `endpoints.port` to a free one, or to "off"; trading goes on without them',
                    )
                told = True
            await asyncio.sleep(_AGAIN_S)

    async def _serve(self) -> None:
        # The library that speaks to the feed answers plain requests too; here nobody gets as far as a WebSocket.
        async with serve(
            _no_websocket,
            HOST,
            self._port,
            process_request=self._answer,
            open_timeout=_REQUEST_WITHIN_S,
            logger=silent_logger(),
        ) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            self.url = f"http://{HOST}:{port}"
            self._vitals.health.report("endpoints", Level.OK, self.url)
            log.info("endpoints.served", url=self.url)
            await server.serve_forever()

    async def _answer(self, connection: ServerConnection, request: Request) -> Response:
        # A page of a foreign site can make a browser ask here; it cannot choose the name that it asks by.
        names = request.headers.get_all("Host")
        if len(names) != 1 or not _is_ours(names[0]):
            return _json(connection, HTTPStatus.FORBIDDEN, {"error": f"ask by the name {HOST}"})
        match request.path.partition("?")[0]:
            case "/livez":
                life = self._vitals.life()
                return _json(connection, _status(good=life["alive"]), life)
            case "/readyz":
                state = self._vitals.state()
                return _json(connection, _status(good=state["ready"]), state)
            case "/metrics":
                self._vitals.refresh()
                told = await asyncio.to_thread(generate_latest, self._vitals.metrics.registry)
                return _respond(connection, HTTPStatus.OK, told.decode(), CONTENT_TYPE_LATEST)
        return _json(connection, HTTPStatus.NOT_FOUND, {"error": "no such path", "paths": _PATHS})


async def _no_websocket(_: ServerConnection) -> None:
    """Every request has been answered before."""


def _is_ours(host: str) -> bool:
    name, _, port = host.partition(":")
    return name in _NAMES and (not port or port.isdecimal())


def _status(*, good: bool) -> HTTPStatus:
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE


def _json(connection: ServerConnection, status: HTTPStatus, answer: dict[str, Any]) -> Response:
    return _respond(connection, status, redact(json.dumps(answer)) + "\n", "application/json")


def _respond(connection: ServerConnection, status: HTTPStatus, text: str, kind: str) -> Response:
    response = connection.respond(status, text)
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = kind
    response.headers["Cache-Control"] = "no-store"
    return response
