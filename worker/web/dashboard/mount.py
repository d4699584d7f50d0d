"""The dashboard, laid over the web application: its pages at `/` and `/signal/...`, and the way in with the token.

NiceGUI is one for a process, so this is done once, by whoever serves. All it shows is read by the functions that the
command reads by, and all it does it does by theirs; it serves its own assets, and asks no other server for anything.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Annotated, Any, Final

from fastapi import FastAPI, Form, Request
from fastapi.responses import RedirectResponse
from nicegui import ui

from worker.web.app import described
from worker.web.dashboard import session
from worker.web.dashboard.board import Board
from worker.web.dashboard.frame import column, panel
from worker.web.dashboard.header import Header
from worker.web.dashboard.look import Choice
from worker.web.dashboard.manual import show_manual
from worker.web.dashboard.office import Office
from worker.web.dashboard.story import StoryPanel
from worker.web.dashboard.tape import Tape

_TITLE: Final = "polycopy"
_ICON: Final = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1e293b"/><path d="M6 22l7-8 5 5 8-10" fill="none" stroke="#22c55e" stroke-width="3" stroke-linecap="round" stroke-linejoin="round"/></svg>'
_SEE_OTHER: Final = 303


def mount_dashboard(app: FastAPI) -> None:
    """`app`: of `create_app`, with its door, its reports, its feed and its settings."""
    state = app.state
    office = Office.of(state.reports, state.feed, state.door, state.settings.web.feed_every_s)
    _add_way_in(app, office)
    _add_pages(office)
    _add_manual(app, office)
    _live(app, office.tape)
    ui.run_with(
        app,
        title=_TITLE,
        favicon=_ICON,
        dark=None,
        binding_refresh_interval=None,
        show_welcome_message=False,
        reconnect_timeout=5.0,
    )


def _live(app: FastAPI, tape: Tape) -> None:
    """Let the tape run for as long as the application does: if it fails, that ends."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(whole: FastAPI) -> AsyncIterator[Any]:
        async with inner(whole) as state, asyncio.TaskGroup() as group:
            taping = group.create_task(tape.run(), name="tape")
            yield state
            taping.cancel()

    app.router.lifespan_context = lifespan


def _add_pages(office: Office) -> None:
    @ui.page("/")
    def board(request: Request, window: str = "", strategy: str = "") -> RedirectResponse | None:
        visitor = office.visitor(request)
        if not visitor.may_read:
            return _to_login()
        Board(office, visitor, Choice.of(window, strategy))
        return None

    @ui.page("/signal/{asked}", title=f"Signal - {_TITLE}")
    async def story(request: Request, asked: str) -> RedirectResponse | None:
        visitor = office.visitor(request)
        if not visitor.may_read:
            return _to_login()
        Header(visitor)
        with column():
            told = StoryPanel(office.look, visitor, asked)
            await told.show()
        ui.timer(office.look_every_s, told.show, immediate=False)
        return None

    @ui.page("/login", title=f"Sign in - {_TITLE}")
    def login(request: Request, wrong: bool = False) -> None:  # noqa: FBT001, FBT002 - a parameter of the address
        Header(office.visitor(request))
        with column(), ui.element("div").classes("w-full max-w-md mx-auto pt-8"), panel("Sign in"):
            if office.door.token is None:
                ui.label(
                    "No token is set: make one with `openssl rand -hex 32` and set POLYCOPY_WEB_TOKEN."
                ).classes("text-sm")
                return
            needing = (
                "Everything here needs"
                if office.door.reads_need_token
                else "Pause, resume, kill and arm need"
            )
            ui.label(f"{needing} the token that POLYCOPY_WEB_TOKEN was set to.").classes("text-sm")
            if wrong:
                ui.label("That is not the token.").classes("text-negative text-sm").mark("wrong")
            with ui.element("form").props("method=post action=/login").classes("w-full flex flex-col gap-3"):
                ui.input("Token").props(
                    "type=password name=token outlined dense autofocus autocomplete=current-password"
                ).classes("w-full")
                ui.button("Sign in").props("type=submit no-caps")


def _add_manual(app: FastAPI, office: Office) -> None:
    @ui.page("/docs", title=f"API - {_TITLE}")
    def manual(request: Request) -> RedirectResponse | None:
        visitor = office.visitor(request)
        if not visitor.may_read:
            return _to_login()
        Header(visitor)
        with column():
            show_manual(described(app), str(request.base_url).rstrip("/"))
        return None


def _add_way_in(app: FastAPI, office: Office) -> None:
    @app.post("/login", include_in_schema=False)
    def signed_in(request: Request, token: Annotated[str, Form()] = "") -> RedirectResponse:
        if not office.door.knows(token.strip()):
            return RedirectResponse("/login?wrong=true", _SEE_OTHER)
        answer = RedirectResponse("/", _SEE_OTHER)
        answer.set_cookie(
            session.COOKIE,
            session.stamp(token.strip(), int(time())),
            max_age=session.LASTS_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @app.post("/logout", include_in_schema=False)
    def signed_out() -> RedirectResponse:
        answer = RedirectResponse("/", _SEE_OTHER)
        answer.delete_cookie(session.COOKIE)
        return answer


def _to_login() -> RedirectResponse:
    return RedirectResponse("/login", _SEE_OTHER)
