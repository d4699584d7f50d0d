"""A real Chromium before the production `web`, and behind that a whole small world: `make browser`.

It runs where CHROMIUM names the browser; the default suite leaves it out. With SCREENS=folder it takes pictures.
"""

import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright

from tests.e2e.conftest import Town, open_town
from worker.sandbox.postgres import Postgres
from worker.sandbox.worker_process import WorkerProcess

TOKEN = "0123456789abcdef0123456789abcdef"
# As root there is no sandbox of Chromium's own, and /dev/shm is small in a container.
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
# How a browser says that the server went away, which is what one of the tests is about.
_EXPECTED = ("WebSocket", "net::ERR_CONNECTION_REFUSED", "Failed to load resource")


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Skips where none is asked for, and says which one is missing where one is."""
    asked = os.environ.get("CHROMIUM", "")
    if not asked:
        pytest.skip("needs a browser: run `make browser`")
    path = shutil.which(asked)
    if path is None:
        pytest.skip(f"needs a browser, and there is no {asked}: install the distribution's `chromium`")
    return path


@dataclass  # without slots: the browser's library hangs its own things on whoever listens
class Scene:
    """The world, its worker, the web at one address, and a browser."""

    town: Town
    browser: Browser
    port: int
    web: AsyncExitStack = field(default_factory=AsyncExitStack)
    foreign: list[str] = field(default_factory=list)  # requests to anywhere but the web
    complaints: list[str] = field(default_factory=list)  # what the browser's console says of mistakes

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start_web(self) -> None:
        """Until it serves."""
        settings = {"POLYCOPY_WEB_TOKEN": TOKEN, "POLYCOPY_WEB__PORT": str(self.port)}
        environment = {**self.town.world.worker_environment(), **settings}
        await self.web.enter_async_context(WorkerProcess.start(environment, verb="web"))

    async def stop_web(self) -> None:
        await self.web.aclose()

    @asynccontextmanager
    async def page(self, path: str = "/", *, phone: bool = False, dark: bool = False) -> AsyncIterator[Page]:
        """A visitor of his own, who watches what his browser asks for and complains of."""
        context = await self.browser.new_context(
            viewport={"width": 390, "height": 844} if phone else {"width": 1440, "height": 900},
            color_scheme="dark" if dark else "light",
        )
        try:
            yield await self._open(context, path)
        finally:
            await context.close()

    async def _open(self, context: BrowserContext, path: str) -> Page:
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", self._asked)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.goto(self.address + path)
        return page

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.address, f"ws://127.0.0.1:{self.port}", "data:", "blob:")):
            self.foreign.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(word in message.text for word in _EXPECTED):
            self.complaints.append(message.text)


async def picture(page: Page, name: str, *, whole: bool = False) -> None:
    """Where SCREENS names a folder: what the page looks like now."""
    if folder := os.environ.get("SCREENS"):
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(browser_path: str, cluster: Postgres, migrated_template: str) -> AsyncIterator[Scene]:
    """Before the first test nothing has happened yet."""
    async with (
        open_town(cluster, migrated_template) as town,
        town.worker(),
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=browser_path, args=_FLAGS) as browser,
    ):
        scene = Scene(town, browser, _free_port())
        await scene.start_web()
        try:
            yield scene
        finally:
            await scene.stop_web()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
