"""The dashboard's pages as a visitor has them: NiceGUI's own simulated browser, and what is to be read there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from nicegui import Client, ui
from nicegui.testing import User
from nicegui.testing.general import nicegui_reset_globals

from worker.database.reports import Reports
from worker.settings import Settings
from worker.web.app import create_app
from worker.web.dashboard.mount import mount_dashboard


@asynccontextmanager
async def open_house(settings: Settings, reports: Reports) -> AsyncIterator[FastAPI]:
    """The application as it is served, dashboard and API."""
    with nicegui_reset_globals():
        app = create_app(settings, reports)
        mount_dashboard(app)
        async with app.router.lifespan_context(app):
            yield app
        Client.page_routes.clear()  # or the library forgets every module that a page was written in


async def visit(app: FastAPI, path: str = "/", *, token: str | None = None) -> User:
    """Somebody with a browser of his own, who has opened a page."""
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=20)
    if token is not None:
        await client.post("/login", data={"token": token})
    user = User(client)
    await user.open(path)
    return user


def rows(user: User, marker: str) -> list[dict[str, Any]]:
    """The rows of the table on a panel; none where a sentence stands in its place."""
    with user.scope(marker=marker):
        try:
            (table,) = user.find(ui.table).elements
        except AssertionError:  # only what is visible is found
            return []
    return list(table.rows)


def words(user: User, marker: str) -> str:
    """All that is written on a panel."""
    with user.scope(marker=marker):
        labels = user.find(ui.label).elements
    return " ".join(label.text for label in sorted(labels, key=lambda one: one.id) if label.visible)


def drawn(user: User, marker: str) -> dict[str, list[Any]]:
    """The points of each series of the chart on a panel, by its name: where, how high, and what is said of it."""
    with user.scope(marker=marker):
        (chart,) = user.find(ui.echart).elements
    return {series["name"]: list(series["data"]) for series in chart.options["series"]}


def shows(user: User, marker: str, text: str) -> bool:
    return text in words(user, marker)
