"""One reading of an account's trades for everybody who asks for them at about the same time.

The account's whole list is long, and every order that is "not found" wants it since its birth. Whoever asks joins
the reading that is about to begin and never one that has begun: nobody is told of trades from before the question.
Only orders of about the same age share one, so a reading reaches hardly further back than each of them needs.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import ExchangeError
from worker.exchange.trades import Trade

_SHARED_WITHIN_S = 600  # births that lie no further apart than this


class Account(Protocol):
    async def trades(self, *, since_s: int) -> Sequence[Trade]: ...


@dataclass(slots=True, eq=False)
class _Reading:
    since_s: int
    trades: Sequence[Trade] | None = None
    failure: ExchangeError | None = None

    async def carry_out(self, account: Account) -> None:
        try:
            self.trades = await account.trades(since_s=self.since_s)
        except ExchangeError as error:
            self.failure = error

    @property
    def is_over(self) -> bool:
        return self.trades is not None or self.failure is not None


@dataclass(slots=True, eq=False)
class _Queue:
    """Readings of one account, one at a time."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: _Reading | None = None  # the one that may still be joined
    askers: int = 0


class Readings:
    """Shared by all that look orders up in this process."""

    def __init__(self) -> None:
        self._queues: dict[tuple[Account, int], _Queue] = {}

    async def trades(self, account: Account, since_s: int) -> Sequence[Trade]:
        """Every trade of the account since then, read after the call; perhaps older ones too.

        Raises `ExchangeUnreachable` or `ExchangeRefused`, for everybody who shares the reading.
        """
        key = (account, since_s // _SHARED_WITHIN_S)
        queue = self._queues.setdefault(key, _Queue())
        queue.askers += 1
        try:
            return await _read(queue, account, since_s)
        finally:
            queue.askers -= 1
            if not queue.askers:
                del self._queues[key]


async def _read(queue: _Queue, account: Account, since_s: int) -> Sequence[Trade]:
    if queue.next is None:
        queue.next = _Reading(since_s)
    reading = queue.next
    reading.since_s = min(reading.since_s, since_s)
    async with queue.turn:
        # The first to have its turn reads for all. If it is cancelled, the next of them does.
        if queue.next is reading:
            queue.next = None
        if not reading.is_over:
            await reading.carry_out(account)
    if reading.failure is not None:
        raise reading.failure
    return reading.trades or ()
