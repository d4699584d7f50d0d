"""The gateway's one port: `/rest/v1/*` and `/realtime/v1/websocket`."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog
from aiohttp import web

from worker.sandbox.errors import SandboxError
from worker.sandbox.gateway import phoenix, rest_proxy
from worker.sandbox.gateway.broadcast import Broadcast
from worker.sandbox.gateway.catalog import Catalog
from worker.sandbox.gateway.pacing import DeliveryMode, Pacer
from worker.sandbox.gateway.rendering import Renderer
from worker.sandbox.gateway.replication import ReplicationStream
from worker.sandbox.gateway.rest_proxy import RestProxy
from worker.sandbox.gateway.sessions import SERVICE_RESTART, Project, Session
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.gateway.tokens import TokenRefusedError
from worker.sandbox.processes import LOOPBACK

WEBSOCKET_PATH: Final = "/realtime/v1/websocket"

_log = structlog.get_logger(__name__)

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_MAX_FRAME_BYTES: Final = 5 * 1024 * 1024
_CLOSE_WITHIN_S: Final = 1.0
_ATTACHED_WITHIN_S: Final = 10.0


class Gateway:
    """A running gateway; `url` is what a client takes for the address of the project."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        *,
        dsn: str,
        jwt_secret: str,
        postgrest_socket: Path,
        port: int = 0,
        timing: GatewayTiming | None = None,
        delivery: DeliveryMode = DeliveryMode.IMMEDIATE,
        seed: int = 0,
    ) -> AsyncIterator["Gateway"]:
        """Serves the database at `dsn` on loopback `port` (0: any free one) as soon as its log is attached.

        `seed` makes the delays of hosted delivery repeatable.
        """
        timing = timing or GatewayTiming()
        sessions: set[Session] = set()
        catalog = Catalog(dsn)
        broadcast = Broadcast(Renderer(catalog), sessions)
        pacer = Pacer(delivery, timing, Random(seed), broadcast.put)
        stream = ReplicationStream(dsn, pacer.take, reattach_s=timing.reattach_s)
        project = Project(jwt_secret, timing, catalog, stream)
        proxy = RestProxy(postgrest_socket)
        try:
            async with _background(stream.run()), _background(broadcast.run()):
                await _attached(stream)
                async with _serving(_application(project, sessions, proxy), port) as url:
                    yield cls(url)
        finally:
            await proxy.close()
            await catalog.close()


async def _attached(stream: ReplicationStream) -> None:
    try:
        async with asyncio.timeout(_ATTACHED_WITHIN_S):
            await stream.attached.wait()
    except TimeoutError:
        raise SandboxError(f"Cannot read the log of PostgreSQL: {stream.trouble}") from stream.trouble


def _application(project: Project, sessions: set[Session], proxy: RestProxy) -> web.Application:
    async def upgrade(request: web.Request) -> web.StreamResponse:
        try:
            token = project.verify(request.query.get("apikey"))
        except TokenRefusedError as error:
            await asyncio.sleep(project.timing.upgrade_error_s)
            return web.json_response({"error": error.at_upgrade}, status=401, dumps=phoenix.to_json)
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=_MAX_FRAME_BYTES, timeout=_CLOSE_WITHIN_S
        )
        await socket.prepare(request)
        session = Session(project, socket, token)
        sessions.add(session)
        try:
            await session.run()
        finally:
            sessions.discard(session)
        return socket

    async def close_sockets(_: web.Application) -> None:
        await asyncio.gather(*(session.close(SERVICE_RESTART) for session in sessions))

    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.router.add_get(WEBSOCKET_PATH, upgrade)
    application.router.add_route("*", rest_proxy.PREFIX + "/{path:.*}", proxy.handle)
    application.on_shutdown.append(close_sockets)
    return application


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs `work` beside the block; its failure is logged at once and raised at the end.

    A task group would wrap the errors of the block itself.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_report)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("gateway.failed", error=repr(task.exception()))


@asynccontextmanager
async def _serving(application: web.Application, port: int) -> AsyncIterator[str]:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSE_WITHIN_S)
    try:
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
