"""First contact with the outside world: who is silent and who is a stranger is told apart, by the setting to mend."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web

from worker.adapters import Adapters, open_adapters
from worker.errors import ConfigError, DatabaseUnreachable, ExchangeUnreachable
from worker.sandbox.keys import ProjectKeys
from worker.sandbox.processes import free_port
from worker.settings import load_settings

OpenAt = Callable[[str], AbstractAsyncContextManager[Adapters]]
STRANGERS = [
    (200, "text/html", "<html>\n<body>Welcome</body>\n</html>"),
    (200, "application/json", '{"hello": "world", "now": "then", "version": "two"}'),
    (200, "text/plain", ""),
    (301, "text/html", "elsewhere"),
    (404, "text/html", "<html>\nnot here\n</html>"),
    (405, "text/plain", ""),
    (418, "application/json", '{"detail": "tea"}'),
]


@pytest.fixture(params=STRANGERS, ids=lambda case: f"{case[0]} {case[2][:9]!r}")
async def stranger(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A web server that is neither a Supabase project nor an exchange."""
    status, kind, text = request.param

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, content_type=kind, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
def open_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenAt:
    """Everything at one address."""
    monkeypatch.chdir(tmp_path)

    def opened(url: str) -> AbstractAsyncContextManager[Adapters]:
        for name, value in {
            "SUPABASE_URL": url,
            "SUPABASE_SERVICE_ROLE_KEY": ProjectKeys().service_role,
            "POLYCOPY_START_PATIENCE_S": "0.2",
            "POLYCOPY_EXCHANGE__CLOB_URL": url,
        }.items():
            monkeypatch.setenv(name, value)
        return open_adapters(load_settings())

    return opened


async def test_a_server_that_is_no_project_of_ours_is_the_urls_fault(open_at: OpenAt, stranger: str) -> None:
    async with open_at(stranger) as adapters:
        with pytest.raises(ConfigError) as told:
            await adapters.first_contact()
    assert f"What answers at {stranger} is no Supabase project" in str(told.value)
    assert "check SUPABASE_URL" in str(told.value)


async def test_a_server_that_is_no_exchange_is_its_settings_fault(open_at: OpenAt, stranger: str) -> None:
    async with open_at(stranger) as adapters:
        with pytest.raises(ConfigError) as told:
            await adapters.exchange_health()
    assert f"What answers at {stranger} is not the exchange" in str(told.value)
    assert "check the setting `exchange.clob_url`" in str(told.value)


async def test_where_nobody_listens_the_address_and_its_setting_are_named(open_at: OpenAt) -> None:
    async with open_at(url := f"http://127.0.0.1:{free_port()}") as adapters:
        with pytest.raises(DatabaseUnreachable, match=rf"Supabase at {url} does not answer: .*SUPABASE_URL"):
            await adapters.first_contact()
        with pytest.raises(
            ExchangeUnreachable, match=rf"exchange at {url} does not answer: .*`exchange.clob_url`"
        ):
            await adapters.exchange_health()
