"""The web's process beside a demo: its dashboard and its API, for as long as the world lasts.

A demo without it is one all the same: where the extra is not installed, or it does not start, that is said in its place.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Final

from worker.sandbox.errors import SandboxError
from worker.sandbox.worker_process import WorkerProcess

_NEEDED: Final = ("fastapi", "nicegui", "uvicorn")


class WebBeside:
    """`lines` says where it is, once it is ready."""

    def __init__(self, process: WorkerProcess | None, token: str, why_not: str = "") -> None:
        self._process = process
        self._token = token
        self._why_not = why_not

    async def lines(self) -> tuple[str, ...]:
        if self._process is None:
            return (f"there is no dashboard: {self._why_not}",)
        try:
            await self._process.wait_ready()
        except SandboxError as error:
            return (f"there is no dashboard: {error}",)
        address = self._process.status.removeprefix("listening on ")
        return (
            f"the dashboard: {address}",
            f"  to pause or kill there, sign in with   {self._token}",
            f"  the same as JSON, for instance         {address}/api/lt/execution-audit",
        )


@asynccontextmanager
async def web_beside(environment: Mapping[str, str], *, wanted: bool = True) -> AsyncIterator[WebBeside]:
    """Starts it, and does not wait. `environment`: what the world's worker is started with."""
    if not wanted or any(find_spec(name) is None for name in _NEEDED):
        yield WebBeside(None, "", "polycopy-worker[web] is not installed" if wanted else "none was asked for")
        return
    token = secrets.token_hex(16)
    settings = {"POLYCOPY_WEB_TOKEN": token, "POLYCOPY_WEB__PORT": "0"}
    async with WorkerProcess.start({**environment, **settings}, verb="web", ready=False) as process:
        yield WebBeside(process, token)
