"""Who may ask, and who may act: the token, the names that this server answers to, and whose pages may call it.

No write without the token, whatever the settings say; reads as `web.reads_need_token` says. The Host header must be a
name of ours, or a page of a stranger could reach the loopback by a name that it points there (DNS rebinding); an Origin
must be our own or one that the settings name, or any page that the operator opens could press his switches.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from worker.configuration.web import WebSettings, is_loopback
from worker.errors import CredentialError
from worker.settings import Settings

TOKEN_LEAST: Final = 32
# Answers tell of money: they are kept by nobody, stand in nobody's frame, and are what they say they are.
_USE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_BODY_MOST_BYTES: Final = 64 * 1024
_MAKE_ONE: Final = "make one with `openssl rand -hex 32` and set POLYCOPY_WEB_TOKEN"


class Unauthorised(Exception):
    """The token is missing or another one."""


class Misdirected(Exception):
    """Asked by a name that is not ours, or by a page that may not ask."""


@dataclass(frozen=True, slots=True)
class Door:
    """`token` None: nobody may act, and whoever tries is told how to set one."""

    token: str | None
    reads_need_token: bool
    hosts: frozenset[str]
    origins: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises `CredentialError` for a token that can be guessed, or for none where even reads need it."""
        told = settings.web_token
        token = (told.get_secret_value().strip() or None) if told is not None else None
        if token is not None and len(token) < TOKEN_LEAST:
            raise CredentialError(
                f"POLYCOPY_WEB_TOKEN has {len(token)} characters, and {TOKEN_LEAST} are the least: {_MAKE_ONE}."
            )
        if token is None and settings.web.reads_need_token:
            raise CredentialError(f"web.reads_need_token is set, and there is no token to show: {_MAKE_ONE}.")
        return cls(
            token, settings.web.reads_need_token, _names(settings.web), frozenset(settings.web.origins)
        )

    def knows(self, token: str) -> bool:
        """In a time that does not tell how much of it is right."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def check_acting(self, token: str) -> None:
        """Raises `Unauthorised`, in words for whoever showed that token; "": none."""
        if self.token is None:
            raise Unauthorised(f"Nobody may act here before a token is set: {_MAKE_ONE}.")
        if not self.knows(token):
            raise Unauthorised("Acting needs the token: send `Authorization: Bearer <POLYCOPY_WEB_TOKEN>`.")

    def check_address(self, headers: Mapping[str, str], *, scheme: str) -> None:
        """Raises `Misdirected`, in words for whoever asked."""
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name not in self.hosts:
            raise Misdirected("This server is not asked by that Host: name it in web.hosts if it should be.")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"{scheme}://{host}", *self.origins}:
            raise Misdirected("Pages of that Origin may not ask here: name it in web.origins if they should.")


def _names(web: WebSettings) -> frozenset[str]:
    own = f"[{web.host}]" if ":" in web.host and not web.host.startswith("[") else web.host
    loopback = _LOOPBACK if is_loopback(web.host) else frozenset[str]()
    return frozenset({own, *loopback, *web.hosts})


class Threshold:
    """ASGI middleware before everything else: pages, streams and sockets too. It also says how answers may be used."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scheme = str(scope["scheme"]).replace("ws", "http", 1)
        try:
            self._door.check_address(Headers(scope=scope), scheme=scheme)
        except Misdirected as error:
            refusal = (
                WebSocketClose(reason=str(error))
                if scope["type"] == "websocket"
                else JSONResponse({"error": str(error)}, status_code=403, headers=_USE)
            )
            await refusal(scope, receive, send)
            return

        async def send_with_use(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _USE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_use)


class Latch:
    """ASGI middleware before whatever reads a body: none of whoever may not act is read, and none that is too long."""

    def __init__(self, app: ASGIApp, door: Door, *, api: str, login: str) -> None:
        """`api`: below it every write needs the token. `login`: where it is shown."""
        self._app = app
        self._door = door
        self._api = f"{api}/"
        self._login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._app
        if scope["type"] == "http" and scope["method"] not in _READING:
            answer = self._refusal(str(scope["path"]), Headers(scope=scope)) or answer
        await answer(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> ASGIApp | None:
        is_api = path.startswith(self._api)
        if not is_api and path != self._login:
            return None
        if is_api:
            scheme, token = get_authorization_scheme_param(headers.get("authorization"))
            try:
                self._door.check_acting(token if scheme.lower() == "bearer" else "")
            except Unauthorised as error:
                return JSONResponse({"error": str(error)}, 401, {"WWW-Authenticate": "Bearer"})
        if "transfer-encoding" in headers:
            return JSONResponse({"error": "Say how long the body is: send a Content-Length."}, 411)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > _BODY_MOST_BYTES:
            return JSONResponse({"error": f"A body has {_BODY_MOST_BYTES} bytes at most here."}, 413)
        return None


_bearer = HTTPBearer(auto_error=False, description="The value of POLYCOPY_WEB_TOKEN.")
_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _knows(request: Request, shown: HTTPAuthorizationCredentials | None) -> bool:
    door: Door = request.app.state.door
    return shown is not None and door.knows(shown.credentials)


def may_act(request: Request, shown: _Shown) -> None:
    """A dependency of every route that changes something. Raises `Unauthorised`."""
    door: Door = request.app.state.door
    door.check_acting("" if shown is None else shown.credentials)


def may_read(request: Request, shown: _Shown) -> None:
    """A dependency of every other route. Raises `Unauthorised`."""
    door: Door = request.app.state.door
    if door.reads_need_token and not _knows(request, shown):
        raise Unauthorised("Reading needs the token here: send `Authorization: Bearer <POLYCOPY_WEB_TOKEN>`.")
