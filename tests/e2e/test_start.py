"""A start that is told to stop stops, and one that fails leaves no wallet locked."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import Town
from worker.daemon import serve
from worker.execution.steps import Moment
from worker.orders.terms import Mode
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.processes import LOOPBACK
from worker.sandbox.world import Wallet
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


@pytest.mark.parametrize("mode", list(Mode))
async def test_a_signal_ends_a_start_that_waits_for_a_silent_network(load: Load, mode: Mode) -> None:
    """On paper it is the database that does not answer, live it is the exchange, which is opened before."""
    wallet = Wallet.new()
    asked = asyncio.Event()
    callers: list[asyncio.StreamWriter] = []

    def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        asked.set()

    server = await asyncio.start_server(say_nothing, LOOPBACK, 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        settings = load(
            {
                "SUPABASE_URL": f"http://{host}:{port}",
                "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
                "POLYCOPY_START_PATIENCE_S": "3600",
                "POLYCOPY_EXCHANGE__CLOB_URL": f"http://{host}:{port}",
                "POLYCOPY_MODE": mode,
                "POLYCOPY_WALLETS": json.dumps(
                    [{"address": wallet.address, "type": "eoa", "key": "env:WALLET_KEY"}]
                ),
                "WALLET_KEY": wallet.key,
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
            for caller in callers:
                caller.close()
                await caller.wait_closed()


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
