"""The web application, put together: the door before it, the routes behind it, and how errors are told.

It looks at the database alone, as the command does, and acts by the same control functions: no exchange, no wallet key,
nothing of a running worker. Every error is `{"error": "<a sentence with the fix>"}`, and no secret passes.
"""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.database.reports import Reports
from worker.errors import DatabaseUnreachable, UsageError, WorkerError
from worker.observe.log import hide, redact
from worker.settings import Settings
from worker.web.door import Door, Threshold, Unauthorised


def create_app(settings: Settings, reports: Reports) -> FastAPI:
    """An application that asks `reports`, which stay the caller's to close. Raises `CredentialError`.

    `app.state.door`, `.reports` and `.settings` are there for whoever adds pages.
    """
    door = Door.of(settings)
    if door.token is not None:
        hide(door.token)
    app = FastAPI(title="polycopy-worker", docs_url=None, redoc_url=None)
    app.state.door, app.state.reports, app.state.settings = door, reports, settings
    app.add_middleware(Threshold, door=door)
    _tell_errors(app)
    return app


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


def _invalid(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found]
    return _told("; ".join(told) or error, 422)


def _http_error(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else error
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else None
    return _told(detail, status, headers)
