"""A running simulated exchange: one loopback port for HTTP and WebSocket, inside the caller's event loop.

async with SimulatedExchange.start([synthetic_market("Rain tomorrow")]) as exchange:
    exchange.fund(address, 1_000)
    ...  # point a client at exchange.http_url and exchange.ws_url
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from worker.sandbox.exchange.admin_api import AdminApi
from worker.sandbox.exchange.clock import NANOSECONDS, Clock
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.faults import Handler
from worker.sandbox.exchange.journal import Arrival
from worker.sandbox.exchange.market_api import MarketApi
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.refusals import RefusedError
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.trading_api import RATE_HEADERS, RECEIPT, TradingApi, answer
from worker.sandbox.exchange.venue import Venue

ADMIN_PREFIX = "/_sim/"


class SimulatedExchange(Venue):
    """The venue, listening. `http_url` and `ws_url` are where clients are pointed."""

    def __init__(self, engine: Exchange, *, seed: int = 0) -> None:
        super().__init__(engine, seed=seed)
        self.http_url = ""
        self.ws_url = ""
        self._wake = asyncio.Event()
        engine.agenda.on_earlier = self._wake.set

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        markets: Iterable[Market] = (),
        *,
        clock: Clock | None = None,
        rules: Rules | None = None,
        seed: int = 0,
        port: int = 0,
        keepalive_s: float = 75.0,
    ) -> AsyncIterator["SimulatedExchange"]:
        """Listens on 127.0.0.1 (`port` 0: any free one) until the context ends.

        `seed` decides when faults of a probability strike. An HTTP connection idle for `keepalive_s` is closed. Raises RuntimeError at the end when an action of
        the agenda failed meanwhile.
        """
        exchange = cls(Exchange(markets, clock=clock, rules=rules), seed=seed)
        runner = web.AppRunner(
            exchange.application(), access_log=None, shutdown_timeout=1.0, keepalive_timeout=keepalive_s
        )
        await runner.setup()
        exchange.hang_up = partial(_hang_up, runner)
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            bound = runner.addresses[0][1]
            exchange.http_url = f"http://127.0.0.1:{bound}"
            exchange.ws_url = f"ws://127.0.0.1:{bound}"
            agenda = asyncio.create_task(exchange._keep_agenda())
            try:
                yield exchange
            finally:
                agenda.cancel()
                await asyncio.gather(agenda, return_exceptions=True)
            if not agenda.cancelled():
                raise RuntimeError("The exchange's agenda broke down") from agenda.exception()
        finally:
            await exchange.streams.disconnect(code=1001)
            await runner.cleanup()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._record, self._refuse], client_max_size=1 << 22)
        application.add_routes(TradingApi(self.engine, self.journal).routes())
        application.add_routes(MarketApi(self.engine).routes())
        application.add_routes(self.streams.routes())
        application.add_routes(AdminApi(self, ADMIN_PREFIX).routes())
        return application

    async def _keep_agenda(self) -> None:
        agenda, clock = self.engine.agenda, self.engine.clock
        while True:
            self._wake.clear()
            agenda.run_due()
            due_ns = agenda.next_due_ns()
            wait_s = None if due_ns is None else max(0.0, (due_ns - clock.now_ns()) / NANOSECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Journals a request before anything else happens to it, then lets the fault script at it."""
        if request.path.startswith(ADMIN_PREFIX):
            return await handler(request)
        arrival = Arrival.now()
        body = await request.read()
        receipt = self.journal.open(
            request.method, request.path, request.query_string, dict(request.headers), body, arrival
        )
        request[RECEIPT] = receipt
        fault = self.faults.strike(request.method, request.path)
        if fault is not None:
            receipt.fault = fault.label
        response = await self.faults.act(fault, request, handler)
        if fault is None or fault.answers:
            receipt.answered(response.status)
        return response

    @web.middleware
    async def _refuse(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except RefusedError as refusal:
            body = {"error": refusal.text, **refusal.details}
            if refusal.order_id is not None:
                body["orderID"] = refusal.order_id
            response = answer(body, refusal.status)
        except web.HTTPNotFound:
            response = answer({"error": "not found"}, 404)
        response.headers.update(request.get(RATE_HEADERS, {}))
        return response


def _hang_up(runner: web.AppRunner) -> int:
    connections = runner.server.connections if runner.server is not None else []
    idle = [one for one in connections if one._current_request is None]  # noqa: SLF001 - aiohttp tells in no other way
    for connection in idle:
        if connection.transport is not None:
            connection.transport.close()
    return len(idle)
