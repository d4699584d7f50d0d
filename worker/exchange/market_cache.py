"""Markets by id, read once by whoever needs one first, and renewed before they grow old.

A market younger than `ttl_s` is answered from memory. Concurrent askers share one read, which no asker's
cancellation stops. Whoever calls `renew()` now and then keeps the markets that are in use from ever expiring, so
the hot path waits for no metadata. Memory is bounded: the market asked for least recently leaves first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from worker.orders.market import Market
from worker.orders.ports import Clock
from worker.orders.terms import ConditionId

_RENEW_AT = 0.6  # of the time to live: leaves several rounds of `renew` before a market expires
_IN_USE_FOR = 12  # times to live since it was last asked for: an hour, with the usual 300 s


@dataclass(frozen=True, slots=True)
class _Kept:
    market: Market
    read_at_s: float
    asked_at_s: float


class MarketCache:
    """`read` fetches one market; its errors reach everyone who waits for that read and are not remembered."""

    def __init__(
        self,
        read: Callable[[ConditionId], Awaitable[Market]],
        clock: Clock,
        *,
        ttl_s: float,
        capacity: int = 2000,
    ) -> None:
        self._read = read
        self._clock = clock
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._kept: OrderedDict[ConditionId, _Kept] = OrderedDict()
        self._reads: dict[ConditionId, asyncio.Task[Market]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def peek(self, condition_id: ConditionId) -> Market | None:
        """What is remembered, however old: good for what never changes, such as fees and token ids."""
        kept = self._kept.get(condition_id)
        return kept.market if kept is not None else None

    async def get(self, condition_id: ConditionId) -> Market:
        now_s = self._clock.monotonic()
        kept = self._kept.get(condition_id)
        if kept is not None:
            self._kept[condition_id] = replace(kept, asked_at_s=now_s)
            self._kept.move_to_end(condition_id)
            if now_s - kept.read_at_s < self._ttl_s:
                return kept.market
        return await self.reread(condition_id)

    async def reread(self, condition_id: ConditionId) -> Market:
        """Read it now, or join the read that is under way."""
        task = self._reads.get(condition_id)
        if task is None:
            task = asyncio.create_task(self._load(condition_id), name=f"market {condition_id}")
            task.add_done_callback(_mark_retrieved)
            self._reads[condition_id] = task
        return await asyncio.shield(task)

    def due(self) -> Sequence[ConditionId]:
        """Markets in use that should be read again soon, the oldest first."""
        now_s = self._clock.monotonic()
        aged = [
            (kept.read_at_s, condition_id)
            for condition_id, kept in self._kept.items()
            if now_s - kept.read_at_s >= self._ttl_s * _RENEW_AT
            and now_s - kept.asked_at_s < self._ttl_s * _IN_USE_FOR
        ]
        return [condition_id for _, condition_id in sorted(aged)]

    async def aclose(self) -> None:
        """Stop the reads under way; whoever waits for one is cancelled."""
        reads = list(self._reads.values())
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    async def _load(self, condition_id: ConditionId) -> Market:
        try:
            market = await self._read(condition_id)
        finally:
            self._reads.pop(condition_id, None)
        now_s = self._clock.monotonic()
        before = self._kept.get(condition_id)
        self._kept[condition_id] = _Kept(market, now_s, before.asked_at_s if before is not None else now_s)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return market


def _mark_retrieved(task: asyncio.Task[Market]) -> None:
    """Every waiter may have been cancelled: the read's error is then nobody's, and not worth a warning."""
    if not task.cancelled():
        task.exception()
