"""The web application, put together: the door before it, the routes behind it, and how errors are told.

It looks at the database alone, as the command does, and acts by the same control functions: no exchange, no wallet key,
nothing of a running worker. Every error is `{"error": "<a sentence with the fix>"}`, and no secret passes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.database.reports import Reports
from worker.errors import DatabaseUnreachable, UsageError, WorkerError
from worker.observe.log import hide, redact
from worker.settings import Settings
from worker.web import audit, diagnostic, feed, orders, sweep, switches
from worker.web.door import Door, Latch, Threshold, Unauthorised, may_act, may_read
from worker.web.elsewhere import ROOT, Elsewhere
from worker.web.hub import FeedHub
from worker.web.kinds import only_known
from worker.web.refusals import sentence

PREFIX: Final = f"{ROOT}/lt"
LOGIN: Final = "/login"
_READS: Final = "reads"
_ACTS: Final = "acts"


def create_app(settings: Settings, reports: Reports) -> FastAPI:
    """An application that asks `reports`, which stay the caller's to close. Raises `CredentialError`.

    `app.state.door`, `.reports` and `.settings` are there for whoever adds pages.
    """
    door = Door.of(settings)
    if door.token is not None:
        hide(door.token)
    hub = FeedHub(reports, every_s=settings.web.feed_every_s, open_most=settings.web.feeds_most)
    app = FastAPI(
        title="polycopy-worker",
        version=version("polycopy-worker"),
        summary="What trades, what does not, and why; and the switches that stop it.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_living(hub),
    )
    app.state.door, app.state.reports, app.state.settings, app.state.feed = door, reports, settings, hub
    app.add_middleware(Latch, door=door, api=ROOT, login=LOGIN)
    if door.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[*door.origins],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
        )
    app.add_middleware(Threshold, door=door)  # the last one added is the first to be asked
    _add_routes(app)
    _tell_errors(app)
    return app


def _add_routes(app: FastAPI) -> None:
    known = Depends(only_known)
    reading = APIRouter(dependencies=[Depends(may_read), known])
    acting = APIRouter(dependencies=[Depends(may_act), known])
    for noun in (audit, diagnostic, orders, feed):
        reading.include_router(noun.router, prefix=PREFIX, tags=[_READS])
    for noun in (sweep, switches):
        acting.include_router(noun.router, prefix=PREFIX, tags=[_ACTS])

    @reading.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return described(app)

    app.include_router(reading)
    app.include_router(acting)
    app.mount(ROOT, Elsewhere(app))


def described(app: FastAPI) -> dict[str, Any]:
    """What may be asked, and what of it without the token."""
    document = app.openapi()
    if not app.state.door.reads_need_token:
        for path in document["paths"].values():
            for operation in (one for one in path.values() if _READS in one["tags"]):
                operation["security"] = [{}]
    return document


def _living(hub: FeedHub) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(hub.run(), name="feed")
            yield
            looking.cancel()

    return lifespan


def _tell_errors(app: FastAPI) -> None:
    app.add_exception_handler(Unauthorised, _unauthorised)
    app.add_exception_handler(WorkerError, _worker_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)


def _told(error: object, status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": redact(str(error))}, status_code=status, headers=headers)


def _unauthorised(_: Request, error: Exception) -> Response:
    return _told(error, 401, {"WWW-Authenticate": "Bearer"})


def _worker_error(_: Request, error: Exception) -> Response:
    match error:
        case UsageError():
            return _told(error, 400)
        case DatabaseUnreachable():
            return _told(error, 503)
    return _told(error, 502)


def _invalid(request: Request, error: Exception) -> Response:
    told = sentence(request, error) if isinstance(error, RequestValidationError) else error
    return _told(told, 422)


def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else error
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return _told(detail, status, headers)
