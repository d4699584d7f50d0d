"""What a monitor hears over a real socket: whether it lives, whether it can trade, and every figure."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.server import serve

from tests.observe.test_health import Wristwatch
from tests.support.eventually import eventually
from worker.observe import endpoints as module
from worker.observe.endpoints import Endpoints
from worker.observe.health import Health, Level
from worker.observe.log import hide
from worker.observe.metrics import Metrics
from worker.observe.vitals import Phase, Vitals

SECRET = "a-secret-that-nobody-may-read"


@dataclass
class Worker:
    """What the endpoints look at."""

    health: Health = field(default_factory=lambda: Health(Wristwatch()))
    metrics: Metrics = field(default_factory=Metrics)
    still: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vitals = Vitals(
            self.health, self.metrics, still=lambda: self.still, loop_ages=lambda: {"sweep": 0.25}
        )

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[Endpoints]:
        endpoints = Endpoints(port, self.vitals)
        running = asyncio.create_task(endpoints.run())
        try:
            yield endpoints
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def asking(endpoints: Endpoints) -> AsyncIterator[httpx.AsyncClient]:
    await eventually(lambda: endpoints.url)
    async with httpx.AsyncClient(base_url=endpoints.url) as client:
        yield client


async def test_it_lives_while_its_loops_turn() -> None:
    worker = Worker()
    async with worker.served() as endpoints, asking(endpoints) as client:
        answer = await client.get("/livez")
        assert (answer.status_code, answer.json()) == (200, {"alive": True, "still": []})
        worker.still.append("sweep")
        answer = await client.get("/livez")
        assert (answer.status_code, answer.json()) == (503, {"alive": False, "still": ["sweep"]})


async def test_it_is_ready_while_it_can_trade_and_says_what_is_wrong_when_it_cannot() -> None:
    worker = Worker()
    async with worker.served() as endpoints, asking(endpoints) as client:
        assert (await client.get("/readyz")).status_code == 503
        worker.vitals.phase = Phase.SERVING
        worker.health.report("feed", Level.DEGRADED, "not live")
        answer = await client.get("/readyz")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json()["sentence"] == "trading, degraded (feed: not live)"
        worker.health.report("wallets", Level.FAILING, f"refused with {SECRET}")
        hide(SECRET)
        answer = await client.get("/readyz")
        checks = {check["name"]: check["level"] for check in answer.json()["checks"]}
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert checks == {"endpoints": "ok", "feed": "degraded", "wallets": "failing"}
        assert SECRET not in answer.text
        worker.health.report("wallets", Level.OK)
        worker.vitals.phase = Phase.DRAINING
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["phase"]) == (503, "draining")


async def test_every_figure_of_its_own_registry_is_told_as_of_now() -> None:
    worker = Worker()
    worker.metrics.signals.labels("feed").inc()
    async with worker.served() as endpoints, asking(endpoints) as client:
        answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'polycopy_signals_total{source="feed"} 1.0' in answer.text
    assert 'polycopy_loop_age_seconds{loop="sweep"} 0.25' in answer.text
    assert 'polycopy_check_level{check="endpoints"} 0.0' in answer.text
    figures = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert float(figures["polycopy_memory_bytes"]) > 1e6
    assert float(figures["polycopy_cpu_seconds_total"]) > 0


async def test_it_answers_on_this_machine_alone_and_by_its_own_name_alone() -> None:
    async with Worker().served() as endpoints, asking(endpoints) as client:
        assert endpoints.url.startswith("http://127.0.0.1:")
        for name, status in (
            ("localhost:1", 200),
            ("127.0.0.1", 200),
            ("evil.example", 403),
            ("evil.example:80", 403),
        ):
            assert (await client.get("/livez", headers={"Host": name})).status_code == status
        elsewhere = await client.get("/")
        assert (elsewhere.status_code, elsewhere.json()["paths"]) == (404, ["/livez", "/readyz", "/metrics"])


@pytest.mark.parametrize("hosts", [[], ["127.0.0.1", "evil.example"], ["localhost", "localhost"]])
async def test_whoever_asks_by_no_name_or_by_two_is_refused(hosts: list[str]) -> None:
    async with Worker().served() as endpoints, asking(endpoints) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        named = "".join(f"Host: {host}\r\n" for host in hosts)
        writer.write(f"GET /livez HTTP/1.1\r\n{named}\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
        writer.close()
        await writer.wait_closed()


async def test_a_stranger_who_speaks_nonsense_is_shown_out_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Worker().served() as endpoints, asking(endpoints) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(b"POST / HTTP/1.1\r\n\r\n\x00nonsense")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        assert caplog.records == []
        assert (await client.get("/livez")).status_code == 200


async def test_a_port_that_is_taken_is_named_with_its_setting_and_is_taken_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[int] = []

    def counted(*args: Any, **options: Any) -> Any:
        tries.append(args[2])
        return serve(*args, **options)

    monkeypatch.setattr(module, "_AGAIN_S", 0.05)
    monkeypatch.setattr(module, "serve", counted)
    worker = Worker()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with capture_logs() as lines:
            async with worker.served(port) as endpoints:
                await eventually(lambda: len(tries) >= 3)
                assert worker.vitals.state()["level"] == "degraded"
                other.close()
                async with asking(endpoints) as client:
                    assert (await client.get("/livez")).status_code == 200
    told = [line for line in lines if line["event"] == "endpoints.not_served"]
    assert len(told) == 1
    assert "endpoints.port" in told[0]["fix"]
    assert worker.health.level is Level.OK
