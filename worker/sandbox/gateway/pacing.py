"""When a committed transaction is handed on: at once, or as late as the hosted server would."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from random import Random
from typing import Generic, TypeVar

from worker.sandbox.gateway.timing import GatewayTiming

T = TypeVar("T")


class DeliveryMode(StrEnum):
    """`immediate`: as fast as we can. `hosted`: with the latency of the hosted server's poller."""

    IMMEDIATE = "immediate"
    HOSTED = "hosted"


class Pacer(Generic[T]):
    """Hands on what it is given, at once or as the hosted poller would.

    The poller looks at the log every 500 ms and needs 8 ms to answer: what was committed since its last look
    arrives together, each row 8 to 508 ms late. When it has been idle, where it stands between two looks
    is drawn at random. `mode` may change at any time; nothing overtakes what is on its way.
    """

    def __init__(
        self, mode: DeliveryMode, timing: GatewayTiming, random: Random, deliver: Callable[[T], None]
    ) -> None:
        self.mode = mode
        self._timing = timing
        self._random = random
        self._deliver = deliver
        self._waiting: list[T] = []
        self._answering = 0
        self._last_look = float("-inf")

    def take(self, item: T) -> None:
        if self.mode is DeliveryMode.IMMEDIATE and not self._waiting and not self._answering:
            self._deliver(item)
            return
        self._waiting.append(item)
        if len(self._waiting) == 1:
            self._schedule()

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        next_look = self._last_look + self._timing.poll_every_s
        if next_look <= loop.time():
            next_look = loop.time() + self._random.uniform(0, self._timing.poll_every_s)
        loop.call_at(next_look, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._last_look = loop.time()
        arrived, self._waiting = self._waiting, []
        self._answering += 1
        loop.call_later(self._timing.poll_answer_s, self._hand_on, arrived)

    def _hand_on(self, arrived: list[T]) -> None:
        self._answering -= 1
        for item in arrived:
            self._deliver(item)
