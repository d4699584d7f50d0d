"""The market cache: one read for many askers, never older than its promise, bounded."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from tests.support.exchange_plans import SOME_TIME, listed_market
from worker.errors import ExchangeUnreachable
from worker.exchange.market_cache import MarketCache
from worker.orders.market import Market
from worker.orders.terms import ConditionId

TTL_S = 100.0
A, B, C = (ConditionId(name) for name in "abc")


@dataclass
class HandClock:
    """Time that passes when the test says so."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return SOME_TIME + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Source:
    """Where markets are read from: counts, waits and fails as told."""

    clock: HandClock = field(default_factory=HandClock)
    reads: list[ConditionId] = field(default_factory=list)
    failing: bool = False
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def read(self, condition_id: ConditionId) -> Market:
        self.reads.append(condition_id)
        await self.gate.wait()
        if self.failing:
            raise ExchangeUnreachable("no answer")
        return replace(listed_market(condition_id=condition_id), fetched_at=self.clock.now())

    def cache(self, *, capacity: int = 100) -> MarketCache:
        return MarketCache(self.read, self.clock, ttl_s=TTL_S, capacity=capacity)


async def test_a_young_market_is_answered_from_memory() -> None:
    source = Source()
    cache = source.cache()
    first = await cache.get(A)
    source.clock.seconds = TTL_S - 1
    assert await cache.get(A) is first
    assert source.reads == [A]


async def test_an_old_market_is_read_again() -> None:
    source = Source()
    cache = source.cache()
    await cache.get(A)
    source.clock.seconds = TTL_S
    assert (await cache.get(A)).fetched_at == source.clock.now()
    assert source.reads == [A, A]


async def test_many_askers_share_one_read() -> None:
    source = Source()
    cache = source.cache()
    source.gate.clear()
    askers = [asyncio.create_task(cache.get(A)) for _ in range(20)]
    await asyncio.sleep(0)
    source.gate.set()
    assert len({id(market) for market in await asyncio.gather(*askers)}) == 1
    assert source.reads == [A]


async def test_an_asker_that_gives_up_does_not_spoil_the_read_for_the_others() -> None:
    source = Source()
    cache = source.cache()
    source.gate.clear()
    hasty, patient = asyncio.create_task(cache.get(A)), asyncio.create_task(cache.get(A))
    await asyncio.sleep(0)
    hasty.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert (await patient).condition_id == A
    assert hasty.cancelled()
    assert source.reads == [A]


async def test_a_failed_read_reaches_everybody_and_is_not_remembered() -> None:
    source = Source(failing=True)
    cache = source.cache()
    outcomes = await asyncio.gather(cache.get(A), cache.get(A), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ExchangeUnreachable] * 2
    source.failing = False
    assert (await cache.get(A)).condition_id == A
    assert source.reads == [A, A]


async def test_a_failed_read_that_nobody_waits_for_any_more_is_no_warning() -> None:
    source = Source(failing=True)
    cache = source.cache()
    source.gate.clear()
    asker = asyncio.create_task(cache.get(A))
    await asyncio.sleep(0)
    asker.cancel()
    await asyncio.gather(asker, return_exceptions=True)
    source.gate.set()
    await asyncio.sleep(0.01)
    assert cache.peek(A) is None


async def test_a_failed_renewal_keeps_what_is_known() -> None:
    source = Source()
    cache = source.cache()
    known = await cache.get(A)
    source.failing = True
    with pytest.raises(ExchangeUnreachable):
        await cache.reread(A)
    assert cache.peek(A) is known


async def test_markets_in_use_are_due_before_they_expire_and_oldest_first() -> None:
    source = Source()
    cache = source.cache()
    await cache.get(A)
    source.clock.seconds = 10
    await cache.get(B)
    assert list(cache.due()) == []
    source.clock.seconds = 75
    assert list(cache.due()) == [A, B]
    await cache.reread(A)
    assert list(cache.due()) == [B]


async def test_a_market_that_nobody_asks_for_is_renewed_no_more() -> None:
    source = Source()
    cache = source.cache()
    await cache.get(A)
    source.clock.seconds = TTL_S * 11
    assert list(cache.due()) == [A]
    await cache.reread(A)  # a renewal is not a use
    source.clock.seconds = TTL_S * 13
    assert list(cache.due()) == []


async def test_memory_is_bounded_and_the_least_recently_asked_for_leaves() -> None:
    source = Source()
    cache = source.cache(capacity=2)
    await cache.get(A)
    await cache.get(B)
    await cache.get(A)
    await cache.get(C)
    assert len(cache) == 2
    assert cache.peek(B) is None
    assert cache.peek(A) is not None


async def test_closing_stops_the_reads_under_way() -> None:
    source = Source()
    cache = source.cache()
    source.gate.clear()
    asker = asyncio.create_task(cache.get(A))
    await asyncio.sleep(0)
    await cache.aclose()
    with pytest.raises(asyncio.CancelledError):
        await asker
