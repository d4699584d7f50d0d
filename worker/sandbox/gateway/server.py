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
from worker.sandbox.gateway import rest_proxy, upgrades
from worker.sandbox.gateway.broadcast import Broadcast
from worker.sandbox.gateway.catalog import Catalog
from worker.sandbox.gateway.effects import SERVICE_RESTART
from worker.sandbox.gateway.faults import Faults
from worker.sandbox.gateway.impact import Impact
from worker.sandbox.gateway.listener import Listener
from worker.sandbox.gateway.pacing import DeliveryMode, Pacer
from worker.sandbox.gateway.rendering import Renderer
from worker.sandbox.gateway.replication import ReplicationStream
from worker.sandbox.gateway.rest_proxy import RestProxy
from worker.sandbox.gateway.sessions import Project, Session
from worker.sandbox.gateway.strikes import Strikes
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.gateway.upgrades import Upgrades

_log = structlog.get_logger(__name__)

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_CLOSE_WITHIN_S: Final = 1.0
_ATTACHED_WITHIN_S: Final = 10.0


class Gateway:
    """A running gateway; `url` is what a client takes for the address of the project, `faults` its fault switches."""

    def __init__(self, url: str, faults: Faults) -> None:
        self.url = url
        self.faults = faults

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
        strikes = Strikes()
        sessions: set[Session] = set()
        catalog = Catalog(dsn)
        broadcast = Broadcast(Renderer(catalog, strikes.guise_of), sessions, strikes)
        pacer = Pacer(delivery, timing, Random(seed), broadcast.put)
        stream = ReplicationStream(dsn, pacer.take, reattach_s=timing.reattach_s)
        project = Project(jwt_secret, timing, catalog, stream, strikes)
        proxy = RestProxy(postgrest_socket)
        door = Upgrades(project, sessions, close_within_s=_CLOSE_WITHIN_S)
        listener = Listener(_application(door, proxy), port, close_within_s=_CLOSE_WITHIN_S)
        faults = Faults(strikes, Impact(strikes, sessions, pacer, listener), scale=timing.fault_scale)
        try:
            async with _background(stream.run()), _background(broadcast.run()):
                await _attached(stream)
                async with _serving(listener):
                    try:
                        yield cls(listener.url, faults)
                    finally:
                        await faults.clear()
        finally:
            await proxy.close()
            await catalog.close()


async def _attached(stream: ReplicationStream) -> None:
    try:
        async with asyncio.timeout(_ATTACHED_WITHIN_S):
            await stream.attached.wait()
    except TimeoutError:
        raise SandboxError(f"Cannot read the log of PostgreSQL: {stream.trouble}") from stream.trouble


def _application(door: Upgrades, proxy: RestProxy) -> web.Application:
    async def close_sockets(_: web.Application) -> None:
        await door.close(SERVICE_RESTART)

    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    application.router.add_get(upgrades.PATH, door.handle)
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
async def _serving(listener: Listener) -> AsyncIterator[None]:
    try:
        await listener.start()
        yield
    finally:
        await listener.close()
