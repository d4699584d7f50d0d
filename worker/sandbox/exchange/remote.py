"""The simulated exchange in a process of its own, held by a context, and its control panel as calls.

Benchmarks and the demo use it so that the venue's work is not done on the worker's event loop.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.modes import Mode

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 5.0


class RemoteExchange:
    """An exchange behind its admin API."""

    def __init__(self, http_url: str, ws_url: str, session: aiohttp.ClientSession) -> None:
        self.http_url = http_url
        self.ws_url = ws_url
        self._session = session

    @classmethod
    @asynccontextmanager
    async def spawn(cls, *arguments: str) -> AsyncIterator["RemoteExchange"]:
        """Starts `python -m worker.sandbox.exchange` with these arguments; stops it with the context.

        Raises RuntimeError when it does not come up.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "worker.sandbox.exchange",
            "--until-stdin-closes",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            urls = await _first_line(process)
            async with aiohttp.ClientSession() as session:
                yield cls(urls["http_url"], urls["ws_url"], session)
        finally:
            await _stop(process)

    async def fund(self, address: str, usd: Decimal | int | str) -> dict[str, str]:
        """Deposits collateral; answers the address's API credentials (apiKey, secret, passphrase)."""
        return dict(await self.call("fund", address=address, usd=str(usd)))

    async def quote(self, token: str, side: str, price: str, shares: str) -> None:
        await self.call("level", token=token, side=side, price=price, shares=shares)

    async def inflict(self, name: FaultName, **how: Any) -> None:
        """A fault of the catalogue; `how`: times, probability, seconds, as for `fault_catalogue.scripted`."""
        await self.call("fault", name=name.value, **how)

    async def enter(self, mode: Mode, seconds: float | None = None) -> None:
        """A mode of the venue, for `seconds` or until the next one."""
        await self.call("mode", mode=mode.value, seconds=seconds)

    async def faults_struck(self) -> dict[str, int]:
        """How many requests each fault has struck."""
        return dict((await self.read("state"))["faults"])

    async def book(self, token: str) -> dict[str, Any]:
        """The public order book of a token, as any client reads it."""
        async with self._session.get(f"{self.http_url}/book", params={"token_id": token}) as response:
            response.raise_for_status()
            return dict(await response.json())

    async def call(self, verb: str, **body: Any) -> Any:
        """One verb of the control panel. Raises aiohttp.ClientResponseError when it is refused."""
        async with self._session.post(f"{self.http_url}/_sim/{verb}", json=body) as response:
            response.raise_for_status()
            return await response.json()

    async def read(self, what: str, **query: Any) -> Any:
        """`state`, `markets`, `journal`, `accepted` or `prints`."""
        async with self._session.get(f"{self.http_url}/_sim/{what}", params=query) as response:
            response.raise_for_status()
            return await response.json()


async def _first_line(process: asyncio.subprocess.Process) -> dict[str, str]:
    if process.stdout is None:
        raise RuntimeError("Expected the exchange's output to be piped")
    async with asyncio.timeout(_START_WITHIN_S):
        line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"The simulated exchange ended at once, exit code {await process.wait()}")
    return dict(json.loads(line))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
