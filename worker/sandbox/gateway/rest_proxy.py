"""`/rest/v1/*`: hands each request to PostgREST and its answer back, adding nothing to either."""

from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

PREFIX: Final = "/rest/v1"

_UPSTREAM: Final = "http://postgrest"
_CONNECTIONS: Final = 100
_KEPT_S: Final = 15.0  # PostgREST drops connections that are idle for 30 s: never be the one to find out
_OWN_HEADERS: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})
_NEVER_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class RestProxy:
    """Keeps connections to PostgREST's unix socket open between requests."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=_CONNECTIONS, keepalive_timeout=_KEPT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NEVER_ADDED,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        )

    async def close(self) -> None:
        await self._session.close()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers 502, as the hosted gateway does, when PostgREST cannot be reached."""
        url = URL(_UPSTREAM + request.raw_path.removeprefix(PREFIX), encoded=True)
        try:
            body = await request.read() if request.can_read_body else None
        except ConnectionResetError:
            return web.Response()  # the client went away in the middle of its request: nobody reads this
        try:
            async with self._session.request(
                request.method, url, headers=_passed_on(request.headers), data=body, allow_redirects=False
            ) as upstream:
                return await _answer(request, upstream)
        except aiohttp.ClientError:
            return web.json_response(
                {"message": "An invalid response was received from the upstream server"}, status=502
            )


async def _answer(request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(
        status=upstream.status, reason=upstream.reason, headers=_passed_on(upstream.headers)
    )
    if upstream.content_length is not None:
        response.content_length = upstream.content_length
    await response.prepare(request)
    async for chunk in upstream.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _passed_on(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OWN_HEADERS)
