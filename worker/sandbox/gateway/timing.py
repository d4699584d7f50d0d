"""How long the gateway waits for what: the hosted server's durations, each settable so that tests compress them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GatewayTiming:
    """Measured on supabase/realtime 2.129.8, but for `system_ok_s`: a cold hosted project takes 1-3 s."""

    upgrade_error_s: float = 2.0  # before a refused upgrade is answered
    join_error_s: float = 5.0  # before most refused joins are answered
    system_ok_s: float = 0.0  # between the join's reply and "Subscribed to PostgreSQL"
    resubscribe_s: float = 2.0  # between a new access token and the second "Subscribed to PostgreSQL"
    idle_s: float = 66.0  # of silence before a socket is closed
    reattach_s: float = 0.1  # between attempts to attach to PostgreSQL's log again
    poll_every_s: float = 0.5  # hosted delivery: between two looks at the log
    poll_answer_s: float = 0.008  # hosted delivery: from a look to the frames


class DeliveryMode(StrEnum):
    """`immediate`: as fast as we can. `hosted`: with the latency of the hosted server's poller."""

    IMMEDIATE = "immediate"
    HOSTED = "hosted"


class Pacer(Generic[T]):
    """Hands on what it is given, at once or as the hosted poller would.

    The poller looks at the log every 500 ms and needs 8 ms to answer: what was committed since its last look
    arrives together, each row 8 to 508 ms late. When it has been idle, where it stands between two looks
    is drawn at random.
    """

    def __init__(
        self, mode: DeliveryMode, timing: GatewayTiming, random: Random, deliver: Callable[[T], None]
    ) -> None:
        self._mode = mode
        self._timing = timing
        self._random = random
        self._deliver = deliver
        self._waiting: list[T] = []
        self._last_look = float("-inf")

    def take(self, item: T) -> None:
        match self._mode:
            case DeliveryMode.IMMEDIATE:
                self._deliver(item)
            case DeliveryMode.HOSTED:
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
        loop.call_later(self._timing.poll_answer_s, self._hand_on, arrived)

    def _hand_on(self, arrived: list[T]) -> None:
        for item in arrived:
            self._deliver(item)
