"""A start that is told to stop stops, and one that fails leaves no wallet locked."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import Town
from worker.daemon import serve
from worker.execution.steps import Moment
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.processes import LOOPBACK
from worker.settings import Settings, load_settings


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> "Load":
    return Load(monkeypatch, tmp_path)


class Load:
    """Settings from these environment variables alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        monkeypatch.chdir(folder)

    def __call__(self, environment: Mapping[str, str]) -> Settings:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        return load_settings()


async def test_a_signal_ends_a_start_that_waits_for_a_silent_database(load: Load) -> None:
    asked = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(say_nothing, LOOPBACK, 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        settings = load(
            {
                "SUPABASE_URL": f"http://{host}:{port}",
                "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
                "POLYCOPY_START_PATIENCE_S": "3600",
            }
        )
        serving = asyncio.create_task(serve(settings))
        try:
            await asked.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            done, _ = await asyncio.wait([serving], timeout=20)
            assert done
            assert serving.exception() is None
        finally:
            serving.cancel()
            await asyncio.wait([serving])


async def test_a_start_that_fails_hands_back_the_leases_that_it_took(town: Town, load: Load) -> None:
    leased: list[int] = []

    def fail_with_leases(step: str, moment: Moment) -> None:
        if (step, moment) == ("ledger.leases", Moment.AFTER):
            leased.append(1)
        if (step, moment) == ("ledger.wallets_seen", Moment.BEFORE):
            raise RuntimeError("struck")

    with pytest.raises(RuntimeError, match="struck"):
        await serve(load(town.world.worker_environment()), observer=fail_with_leases)
    assert leased
    assert await town.rows("select wallet_address from public.lt_leases where expires_at > now()") == []
