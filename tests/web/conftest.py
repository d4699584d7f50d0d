"""The web's process in small: the real server on a real socket, before a whole Supabase project."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.desk import Desk
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.orders.terms import Mode
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox
from worker.settings import Settings, load_settings
from worker.web.hub import FeedHub
from worker.web.server import Server

TOKEN = "0123456789abcdef0123456789abcdef"
WRITES = ("post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Site:
    """A running server, a client that shows no token, and the platform's side of its database."""

    address: str
    client: httpx.AsyncClient
    desk: Desk
    supabase: SupabaseSandbox
    hub: FeedHub

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = await self.client.get(path, params=params)
        assert answer.status_code == httpx.codes.OK, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def post(self, path: str, body: Mapping[str, Any] | None = None, **params: Any) -> httpx.Response:
        """With the token."""
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        return await self.client.post(path, json=body, headers=bearer, params=params, timeout=70)

    async def document(self) -> dict[str, Any]:
        return await self.get("/openapi.json")


def settings_of(supabase: SupabaseSandbox, **variables: str) -> Settings:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "SUPABASE_URL": supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
            "POLYCOPY_WEB_TOKEN": TOKEN,
            "POLYCOPY_WEB__PORT": "0",
            "POLYCOPY_WEB__FEED_EVERY_S": "0.1",
            **variables,
        }.items():
            patch.setenv(name, value)
        return load_settings()


@asynccontextmanager
async def open_site(supabase: SupabaseSandbox, **variables: str) -> AsyncIterator[Site]:
    """`variables`: further settings, as in the environment."""
    settings = settings_of(supabase, **variables)
    access = DatabaseAccess(url=supabase.url, key=supabase.service_role_key)
    async with await SupabaseDatabase.open(access) as database:
        server = Server.of(settings, Reports(database, Mode(settings.mode)), on_ready=lambda _: None)
        desk = await Desk.open(supabase.dsn, mode=settings.mode)
        answering = asyncio.create_task(server.run_here())
        try:
            async with httpx.AsyncClient(base_url=server.address, timeout=20) as client:
                yield Site(server.address, client, desk, supabase, server.app.state.feed)
        finally:
            server.should_exit = True
            await answering
            await desk.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(cluster: Postgres, migrated_template: str) -> AsyncIterator[Site]:
    """One for all tests of a module, on paper, with two strategies, the wallet leased, and a desk beside it."""
    async with (
        SupabaseSandbox.start(postgres=cluster, template=migrated_template) as supabase,
        open_site(supabase) as site,
    ):
        await site.desk.strategy()
        await site.desk.strategy("LT_TWO", ft_wallet_id="FT_TWO")
        await site.desk.ready()
        yield site


def operations(document: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every (method, path, operation) of an OpenAPI document."""
    return [
        (method, path, told)
        for path, item in document["paths"].items()
        for method, told in item.items()
        if method in {"get", *WRITES}
    ]


def named_by(operation: Mapping[str, Any], **params: Any) -> dict[str, Any]:
    """Of these parameters, those that the operation takes."""
    takes = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
    return {name: value for name, value in params.items() if name in takes}


def events_of(text: str) -> list[dict[str, Any]]:
    """The events of a stream that has ended."""
    heard: list[dict[str, Any]] = []
    block: dict[str, str] = {}
    for line in text.splitlines():
        block = _hear(line, block, heard)
    return heard


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, heard: list[dict[str, Any]], *, last_event_id: str = "", **params: Any
) -> AsyncIterator[None]:
    """While the block lasts, every event of the feed is added to `heard`, with its id. It begins once the feed follows."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with client.stream("GET", "/api/lt/feed", headers=headers, params=params, timeout=None) as answer:
        assert answer.status_code == httpx.codes.OK
        follows = asyncio.Event()
        reading = asyncio.create_task(_read(answer, heard, follows))
        try:
            await follows.wait()
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def _read(answer: httpx.Response, heard: list[dict[str, Any]], follows: asyncio.Event) -> None:
    block: dict[str, str] = {}
    async for line in answer.aiter_lines():
        block = _hear(line, block, heard)
        if "id" in block:
            follows.set()


def _hear(line: str, block: dict[str, str], heard: list[dict[str, Any]]) -> dict[str, str]:
    """As a browser reads it: a field a line, and an empty line at the end of each event."""
    if line:
        name, _, value = line.partition(": ")
        return {**block, name: value}
    if "data" in block:
        heard.append({"id": block["id"], **json.loads(block["data"])})
    return {}
