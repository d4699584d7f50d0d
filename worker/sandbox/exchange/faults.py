"""Scripted misfortune: what happens to a request before and after the venue processes it.

A fault matches requests by method and path prefix, strikes by count or by probability, and acts around the
handler. This is the one seam where the network and the venue's own failures are simulated. Known faults have
names: `fault_catalogue`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias, assert_never

from aiohttp import web

from worker.sandbox.exchange.distortions import Distortion, distorted
from worker.sandbox.exchange.handling import BY_THE_RULES, Handling

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

HANDLING = web.RequestKey("handling", Handling)
_GONE_POLL_S = 0.05


class Action(StrEnum):
    DROP_BEFORE = "drop_before"  # the connection breaks, nothing was processed
    DROP_AFTER = "drop_after"  # processed, then the connection breaks
    ANSWER_INSTEAD = "answer_instead"  # `status` and `body` are answered, nothing was processed
    ANSWER_AFTER = "answer_after"  # processed, then `status` and `body` are answered
    PROCESS_LATE = "process_late"  # `seconds` pass, then it is processed and answered
    ANSWER_LATE = "answer_late"  # processed at once, answered `seconds` later
    HANG_BEFORE = "hang_before"  # never processed, never answered
    HANG_AFTER = "hang_after"  # processed, never answered
    DISTORT = "distort"  # processed, and a 200 is answered in the wrong words of `distortion`
    PROCESS = "process"  # processed and answered: what is wrong lies in `handling`


_UNPROCESSED = frozenset({Action.DROP_BEFORE, Action.ANSWER_INSTEAD, Action.HANG_BEFORE})
_UNANSWERED = frozenset({Action.DROP_BEFORE, Action.DROP_AFTER, Action.HANG_BEFORE, Action.HANG_AFTER})


@dataclass(slots=True, kw_only=True)
class Fault:
    action: Action
    name: str = ""
    """What receipts and counts call it; without one, its action."""
    method: str = "POST"
    path: str = "/order"
    times: int | None = 1
    """How many requests it strikes; None for as long as it is in the script."""
    probability: float = 1.0
    seconds: float = 0.0
    status: int = 500
    body: str = "{}"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    distortion: Distortion | None = None
    handling: Handling = BY_THE_RULES
    """How the orders of the request are taken in, if it is processed."""

    def __post_init__(self) -> None:
        if (self.action is Action.DISTORT) is (self.distortion is None):
            raise ValueError(f"Expected a distortion with the action distort only, was {self.distortion}")

    @property
    def label(self) -> str:
        return self.name or self.action.value

    @property
    def processes(self) -> bool:
        """Whether the venue does what was asked, whatever the client then sees."""
        return self.action not in _UNPROCESSED

    @property
    def answers(self) -> bool:
        return self.action not in _UNANSWERED

    def answer(self) -> web.Response:
        return web.Response(
            status=self.status, text=self.body, content_type=self.content_type, headers=self.headers
        )


@dataclass(slots=True)
class _InForce:
    fault: Fault
    left: int | None

    def matches(self, method: str, path: str) -> bool:
        return self.fault.method == method and path.startswith(self.fault.path)


class FaultScript:
    """The faults in force, and the latency of every answer. The first fault that matches strikes."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._in_force: list[_InForce] = []
        self.latency_s: Callable[[random.Random], float] | None = None
        self.struck: Counter[str] = Counter()
        """Requests by the label of the fault that struck them, since the start."""

    def add(self, fault: Fault) -> None:
        if fault.times != 0:
            self._in_force.append(_InForce(fault, fault.times))

    def clear(self) -> None:
        """Ends all faults and the latency. The counts stay."""
        self._in_force.clear()
        self.latency_s = None

    def strike(self, method: str, path: str) -> Fault | None:
        for standing in self._in_force:
            fault = standing.fault
            if not standing.matches(method, path):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if standing.left is not None:
                standing.left -= 1
                if standing.left == 0:
                    self._in_force.remove(standing)
            self.struck[fault.label] += 1
            return fault
        return None

    async def act(self, fault: Fault | None, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Handles a request the way its fault says; without one, after the usual latency."""
        if self.latency_s is not None:
            await asyncio.sleep(self.latency_s(self._random))
        if fault is None:
            return await handler(request)
        request[HANDLING] = fault.handling
        if fault.action is Action.PROCESS_LATE:
            await asyncio.sleep(fault.seconds)
        processed = await handler(request) if fault.processes else fault.answer()
        return await _answer(fault, request, processed)


async def _answer(fault: Fault, request: web.Request, processed: web.StreamResponse) -> web.StreamResponse:
    match fault.action:
        case Action.DROP_BEFORE | Action.DROP_AFTER:
            return _hang_up(request)
        case Action.HANG_BEFORE | Action.HANG_AFTER:
            await _client_gone(request)
        case Action.ANSWER_AFTER:
            return fault.answer()
        case Action.ANSWER_LATE:
            await asyncio.sleep(fault.seconds)
        case Action.DISTORT if fault.distortion is not None:
            return distorted(processed, fault.distortion)
        case Action.DISTORT | Action.ANSWER_INSTEAD | Action.PROCESS_LATE | Action.PROCESS:
            pass
        case _:
            assert_never(fault.action)
    return processed


def lognormal_latency(median_s: float, sigma: float) -> Callable[[random.Random], float]:
    """A latency distribution with a long tail: sigma 0.5 puts the 99th percentile at 3.2 medians."""
    return lambda source: median_s * source.lognormvariate(0.0, sigma)


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # nobody is left to read it


async def _client_gone(request: web.Request) -> None:
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - aiohttp tells a handler in no other way
        await asyncio.sleep(_GONE_POLL_S)
