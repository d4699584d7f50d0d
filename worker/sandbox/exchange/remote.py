"""The simulated exchange in a process of its own, held by a context, and its control panel as calls.

Benchmarks and the demo use it so that the venue's work is not done on the worker's event loop.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from time import monotonic
from typing import Any

import aiohttp

from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.modes import Mode
from worker.sandbox.processes import ChildProcess

_START_WITHIN_S = 30.0
_STOP_WITHIN_S = 5.0
_POLL_S = 0.005
_ANSWER_WITHIN = aiohttp.ClientTimeout(total=30)


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

        Raises ProcessError with its last words when it does not come up.
        """
        process = ChildProcess.start(
            [sys.executable, "-m", "worker.sandbox.exchange", *arguments], name="The simulated exchange"
        )
        try:
            urls = await _addresses(process)
            async with aiohttp.ClientSession(timeout=_ANSWER_WITHIN) as session:
                yield cls(urls["http_url"], urls["ws_url"], session)
        finally:
            await process.stop(first=signal.SIGTERM, patience_s=_STOP_WITHIN_S)

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
        """`state`, `markets`, `journal`, `accepted`, `orders` or `prints`."""
        async with self._session.get(f"{self.http_url}/_sim/{what}", params=query) as response:
            response.raise_for_status()
            return await response.json()


async def _addresses(process: ChildProcess) -> dict[str, str]:
    """The one line that it prints once it listens."""
    deadline = monotonic() + _START_WITHIN_S
    while True:
        for line in process.output().splitlines(keepends=True):
            if line.startswith("{") and line.endswith("\n"):
                return dict(json.loads(line))
        process.raise_if_ended()
        if monotonic() > deadline:
            raise process.error(f"did not listen within {_START_WITHIN_S:g} s")
        await asyncio.sleep(_POLL_S)
