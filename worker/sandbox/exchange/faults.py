"""Scripted misfortune: what happens to a request before and after the venue processes it.

A fault matches requests by method and path prefix, strikes by count or by probability, and acts around the
handler. This is the one seam where the network and the venue's own failures are simulated.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from aiohttp import web

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Action(StrEnum):
    DROP_BEFORE = "drop_before"  # the connection breaks, nothing was processed
    DROP_AFTER = "drop_after"  # processed, then the connection breaks
    ANSWER_INSTEAD = "answer_instead"  # `status` and `body` are answered, nothing was processed
    ANSWER_AFTER = "answer_after"  # processed, then `status` and `body` are answered
    PROCESS_LATE = "process_late"  # `seconds` pass, then it is processed and answered
    ANSWER_LATE = "answer_late"  # processed at once, answered `seconds` later


_UNPROCESSED = frozenset({Action.DROP_BEFORE, Action.ANSWER_INSTEAD})
_TRUTHFUL = frozenset({Action.PROCESS_LATE, Action.ANSWER_LATE})


@dataclass(slots=True, kw_only=True)
class Fault:
    action: Action
    method: str = "POST"
    path: str = "/order"
    times: int | None = 1
    """How many requests it strikes; None for as long as it is in the script."""
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 500
    body: str = "{}"
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def breaks_connection(self) -> bool:
        return self.action in {Action.DROP_BEFORE, Action.DROP_AFTER}

    def answer(self) -> web.Response:
        return web.Response(
            status=self.status, text=self.body, content_type=self.content_type, headers=self.headers
        )


class FaultScript:
    """The faults in force, and the latency of every answer. The first fault that matches strikes."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []
        self.latency_s: Callable[[random.Random], float] | None = None

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()
        self.latency_s = None

    def strike(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.method != method or not path.startswith(fault.path) or fault.times == 0:
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    async def act(self, fault: Fault | None, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handles a request the way its fault says; without one, after the usual latency."""
        if self.latency_s is not None:
            await asyncio.sleep(self.latency_s(self._random))
        if fault is None:
            return await handler(request)
        if fault.action is Action.PROCESS_LATE:
            await asyncio.sleep(fault.seconds)
        processed = None if fault.action in _UNPROCESSED else await handler(request)
        match fault.action:
            case Action.DROP_BEFORE | Action.DROP_AFTER:
                return _hang_up(request)
            case Action.ANSWER_LATE:
                await asyncio.sleep(fault.seconds)
        return processed if processed is not None and fault.action in _TRUTHFUL else fault.answer()


def lognormal_latency(median_s: float, sigma: float) -> Callable[[random.Random], float]:
    """A latency distribution with a long tail: sigma 0.5 puts the 99th percentile at 3.2 medians."""
    return lambda source: median_s * source.lognormvariate(0.0, sigma)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # nobody is left to read it
