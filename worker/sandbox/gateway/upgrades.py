"""`/realtime/v1/websocket`: from an HTTP request to a session, or to the refusal that the server would give."""

import asyncio
from typing import Final

from aiohttp import web

from worker.sandbox.gateway import phoenix
from worker.sandbox.gateway.effects import BlackHole, HangUpgrades, RefuseUpgrades
from worker.sandbox.gateway.sessions import Project, Session
from worker.sandbox.gateway.strikes import Strike
from worker.sandbox.gateway.tokens import Token, TokenRefusedError
from worker.sandbox.gateway.wire import Wire

PATH: Final = "/realtime/v1/websocket"
_MAX_FRAME_BYTES: Final = 5 * 1024 * 1024


class Upgrades:
    """Serves upgrades, and keeps the sessions that are open in `sessions`."""

    def __init__(self, project: Project, sessions: set[Session], *, close_within_s: float) -> None:
        self._project = project
        self._sessions = sessions
        self._close_within_s = close_within_s

    async def handle(self, request: web.Request) -> web.StreamResponse:
        refusal = await self._stricken()
        if refusal is not None:
            return refusal
        try:
            token = self._project.verify(request.query.get("apikey"))
        except TokenRefusedError as error:
            await asyncio.sleep(self._project.timing.upgrade_error_s)
            return web.json_response({"error": error.at_upgrade}, status=401, dumps=phoenix.to_json)
        return await self._serve(request, token)

    async def close(self, code: int) -> None:
        await asyncio.gather(*(session.wire.close(code) for session in self._sessions))

    async def _serve(self, request: web.Request, token: Token) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=_MAX_FRAME_BYTES, timeout=self._close_within_s
        )
        await socket.prepare(request)
        if request.transport is None:
            return socket
        session = Session(self._project, Wire(socket, request.transport), token)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
        return socket

    async def _stricken(self) -> web.Response | None:
        """Returns the answer of the fault that strikes upgrades; None, perhaps later, when none does."""
        strikes = self._project.strikes
        while (hole := strikes.find(BlackHole)) is not None:
            hole.struck += 1
            await hole.over()
        hanging = strikes.find(HangUpgrades)
        if hanging is not None:
            hanging.struck += 1
            await asyncio.sleep(hanging.delay_s)
            return web.Response(status=500, text="Internal Server Error", content_type="text/html")
        refusing = strikes.find(RefuseUpgrades)
        return None if refusing is None else await self._refuse(refusing)

    async def _refuse(self, strike: Strike[RefuseUpgrades]) -> web.Response:
        strike.struck += 1
        effect = strike.effect
        if effect.server_gone:
            response = web.Response(status=effect.status)
        else:
            await asyncio.sleep(self._project.timing.upgrade_error_s)
            response = web.Response(
                status=effect.status, text=effect.body, content_type=effect.content_type, charset="utf-8"
            )
        response.force_close()
        return response
