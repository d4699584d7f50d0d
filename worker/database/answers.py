"""From PostgREST's words to our errors: which "no" may be asked again, and what a person must do about the others.

PostgREST speaks in HTTP status, SQLSTATE and its own PGRST codes. Here they become one `DatabaseError` (or
`CredentialError`) each, with a sentence that names the thing and the fix.
"""

import json
from decimal import Decimal
from typing import Any

import httpx

from worker.errors import (
    CredentialError,
    DatabaseRefused,
    DatabaseUnreachable,
    SchemaError,
    WorkerError,
)

_RETRYABLE_STATUS = frozenset(
    {408, 425, 429, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 530, 540, 544}
)
_NOT_OURS_STATUS = frozenset({501, 505})  # a server that knows no POST, or not our HTTP: PostgREST is neither
_RETRYABLE_CODES = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available
        "57014",  # statement cancelled: a timeout
        "57P01",  # the server is shutting down
        "57P02",  # the server crashed
        "57P03",  # the server is starting
        "PGRST000",  # PostgREST cannot reach PostgreSQL
        "PGRST001",
        "PGRST002",  # PostgREST has not read the schema yet
        "PGRST003",  # PostgREST waited too long for a connection
    }
)
_RETRYABLE_CLASSES = ("08", "53")  # connection lost; out of resources
_MISSING_CODES = frozenset(
    {
        "42883",  # undefined function
        "42P01",  # undefined table
        "42703",  # undefined column
        "3F000",  # undefined schema
        "PGRST106",  # schema not exposed
        "PGRST202",  # function not found
        "PGRST203",  # function ambiguous
        "PGRST204",  # column not found
        "PGRST205",  # table not found
    }
)
_NO_GRANT = "42501"
_DETAIL_LIMIT = 300  # a proxy may answer with a page of HTML


class ExactResponse(httpx.Response):
    """A response whose JSON fractions become `Decimal`: no float can pass into money."""

    def json(self, **kwargs: Any) -> Any:
        kwargs.setdefault("parse_float", Decimal)
        return super().json(**kwargs)


class ExactTransport(httpx.AsyncBaseTransport):
    """Passes requests on and hands every answer back as an `ExactResponse`."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        return ExactResponse(
            status_code=response.status_code,
            headers=response.headers,
            stream=response.stream,
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


async def raise_refusal(response: httpx.Response) -> None:
    """An httpx response hook: an answer that is not a success is raised as the error it means."""
    if response.is_success:
        return
    await response.aread()
    raise refusal(response.status_code, response.content, thing=response.request.url.path.rsplit("/", 1)[-1])


def refusal(status: int, body: bytes, *, thing: str) -> WorkerError:
    """The error that an HTTP answer means; `thing` is the function or table that was asked for."""
    code, message, hint = _words(body)
    said = message + (f" ({hint})" if hint else "")
    if code in _RETRYABLE_CODES or code.startswith(_RETRYABLE_CLASSES):
        return DatabaseUnreachable(f"{thing}: the database could not answer now: {code} {said}")
    if code in _MISSING_CODES:
        return SchemaError(
            f"{thing}: the database lacks what the worker needs ({code} {said}); apply supabase/migrations."
        )
    if code == _NO_GRANT and status != 401:
        return SchemaError(
            f"{thing}: the key's role lacks a grant ({code} {said}); apply supabase/migrations, "
            "and check that SUPABASE_SERVICE_ROLE_KEY is the service_role key."
        )
    if status in {401, 403}:
        return CredentialError(
            f"{thing}: the key is not accepted ({code or f'HTTP {status}'} {said}); "
            "set SUPABASE_SERVICE_ROLE_KEY to the service_role key of the project at SUPABASE_URL."
        )
    sentence = f"{thing}: {code or f'HTTP {status}'}: {said}".rstrip(": ")
    # PostgREST's words for a server that died while it answered: whoever refuses says why.
    died = status == 400 and not code and not message
    if died or status in _RETRYABLE_STATUS or (status >= 500 and status not in _NOT_OURS_STATUS and not code):
        return DatabaseUnreachable(sentence)
    return DatabaseRefused(sentence, code=code or str(status))


def _words(body: bytes) -> tuple[str, str, str]:
    """Code, message and hint of an error body; a body that is not PostgREST's is its own message."""
    try:
        error = json.loads(body)
    except ValueError:
        error = None
    if not isinstance(error, dict):
        return "", " ".join(body.decode(errors="replace").split())[:_DETAIL_LIMIT], ""
    code, message, hint = (str(error.get(name) or "") for name in ("code", "message", "hint"))
    return code, message[:_DETAIL_LIMIT], hint[:_DETAIL_LIMIT]
