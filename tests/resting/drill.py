"""Orders that rest while their market moves away: what the worker does about each, judged by the exchange's own books.

Minutes of production are moments here; which step follows which stays the same. A third of the way up somebody offers
enough for half of the orders within their next price, and beyond it nothing.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from time import monotonic
from typing import Any

from tests.support.aftercare import RESTING, aftercare
from tests.support.eventually import eventually
from tests.support.pending_desk import QUICK, booked, locked_usd, traded
from tests.support.tool import SoFar
from tests.support.trading_room import TradingRoom
from worker.handlers.remainders import RemainderTiming
from worker.sandbox.exchange.clock import NANOSECONDS

D = Decimal
_BET_USD = 6
# 6 / (0.51 + 0.05 x 0.51 x 0.49) = 11.48: what each of them is for.
_SHARES = D("11.48")
# 0.50 and 3 %, and 4 % more for each of the two further attempts, on tick.
_PRICES = (D("0.51"), D("0.53"), D("0.55"))
# What was called off is looked at at once: for the rest, no more often than the lane has places.
_SELDOM = replace(QUICK, first_s=0.5, most_s=4.0)
_CHANNEL_FIRST = RemainderTiming(first_s=0.5, most_s=4.0, refresh_every_s=0.3)
_POLICY = replace(RESTING, max_age_s=1.0, look_every_s=1.0)
_LEASE_EVERY_S = 5.0
_UNDER_WAY_MOST = 10  # look-ups that had their place before, and arrive late


@dataclass(frozen=True, slots=True)
class Outcome:
    orders: int
    by_attempts: Mapping[int, int]  # how many orders had one attempt, two, three
    words: Mapping[str, int]  # the platform's
    filled_shares: Decimal
    seconds: float
    on_book_s: Sequence[float]  # of each that was called off, the longest last
    lookups: int
    lookups_per_s: int  # what the lane gives
    complaints: tuple[str, ...]

    @property
    def holds(self) -> bool:
        return not self.complaints

    def as_json(self) -> dict[str, Any]:
        middle, most = (self.on_book_s[len(self.on_book_s) // 2], self.on_book_s[-1])
        return {
            "orders": self.orders,
            "orders_by_attempts": {str(number): count for number, count in sorted(self.by_attempts.items())},
            "orders_by_status": dict(sorted(self.words.items())),
            "filled_shares": str(self.filled_shares),
            "seconds": round(self.seconds, 1),
            "on_book_s_p50": round(middle, 2),
            "on_book_s_most": round(most, 2),
            "lookups": self.lookups,
            "lookups_per_minute": round(self.lookups * 60 / self.seconds),
            "lane_per_minute": self.lookups_per_s * 60,
            "complaints": len(self.complaints),
        }


async def left_behind(room: TradingRoom, orders: int, *, patience_s: float, so_far: SoFar) -> Outcome:
    """`patience_s`: for all of it to be over, and for any of them to come off the book once it is due."""
    room.floor = room.floor.with_market()
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC', initial_capital = 100000")
    await room.desk.execute("update public.ft_wallets set bet_size = %(usd)s", usd=_BET_USD)
    plans = [await room.plan() for _ in range(orders)]
    offered = _SHARES * (orders // 2)
    began_s, before = monotonic(), _lookups(room)
    async with (
        _leased(room),
        _sampled(room) as samples,
        aftercare(room, rests=_POLICY, looks=_SELDOM, timing=_CHANNEL_FIRST),
    ):
        for number, plan in enumerate(plans, start=1):
            await room.executed(plan)
            so_far["orders"] = number
        room.floor.offer("0.60", "50000")
        room.floor.offer("0.53", f"{offered:f}")
        await eventually(lambda: _is_over(room), within_s=patience_s, every_s=0.25)
    seconds, lookups = monotonic() - began_s, _lookups(room) - before
    attempts = await room.attempts()
    by_order: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for attempt in attempts:
        by_order[attempt["lt_order_id"]].append(attempt)
    rows = await room.desk.rows("select status, count(*) as orders from public.lt_orders group by status")
    on_book_s = sorted(_on_book_s(room, attempts))
    per_s = room.floor.settings.lookups_per_s
    complaints = [
        *_wrong_with_attempts(room, by_order, orders),
        *_wrong_with_books(await booked(room), traded(room), offered),
        *_wrong_with_pace(samples, per_s),
    ]
    if await locked_usd(room):
        complaints.append(f"{await locked_usd(room)} USD are still reserved")
    if not on_book_s or on_book_s[-1] > _POLICY.max_age_s + _POLICY.look_every_s + patience_s / 2:
        complaints.append(f"one stayed on the book for {on_book_s[-1:]} s")
    return Outcome(
        orders=len(by_order),
        by_attempts=Counter(len(one) for one in by_order.values()),
        words={row["status"]: row["orders"] for row in rows},
        filled_shares=sum(traded(room).values(), D(0)),
        seconds=seconds,
        on_book_s=on_book_s,
        lookups=lookups,
        lookups_per_s=per_s,
        complaints=tuple(complaints),
    )


# --- what would be wrong


def _wrong_with_attempts(
    room: TradingRoom, by_order: Mapping[str, Sequence[Mapping[str, Any]]], orders: int
) -> Iterable[str]:
    if len(by_order) != orders:
        yield f"{len(by_order)} of {orders} orders were placed"
    if not len(room.accepted()) == room.posts() == sum(map(len, by_order.values())):
        yield f"{room.posts()} posts, {len(room.accepted())} accepted, not one of each attempt"
    if sum(len(attempts) > 1 for attempts in by_order.values()) < orders // 2:
        yield "fewer than half of them were repriced"
    for lt_order_id, attempts in by_order.items():
        prices = tuple(attempt["limit_price"] for attempt in attempts)
        if prices != _PRICES[: len(prices)]:
            yield f"order {lt_order_id} was tried at {prices}"
        lives = [room.floor.venue.engine.orders[attempt["exchange_order_id"]] for attempt in attempts]
        if any(one.ended_ns is None or one.ended_ns >= other.created_ns for one, other in pairwise(lives)):
            yield f"two attempts of order {lt_order_id} lived at the same time"
        filled = D(sum(one.filled_shares for one in lives)).scaleb(-6)
        if filled > attempts[0]["shares"]:
            yield f"order {lt_order_id} bought {filled} of {attempts[0]['shares']} shares"


def _wrong_with_books(
    ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal], offered: Decimal
) -> Iterable[str]:
    if ours != theirs:
        yield "the ledger and the exchange disagree on what was traded"
    if sum(theirs.values()) != offered:
        yield f"{sum(theirs.values())} of {offered} shares that were offered in time were bought"


def _wrong_with_pace(samples: Sequence[tuple[float, int]], per_s: int) -> Iterable[str]:
    """Over no stretch of time more look-ups than the lane gives, and those that had their place before it."""
    for number, (since_s, had) in enumerate(samples):
        for until_s, has in samples[number:]:
            if has - had > per_s * (until_s - since_s + 1) + _UNDER_WAY_MOST:
                yield f"{has - had} look-ups within {until_s - since_s:.1f} s, the lane gives {per_s} a second"
                return


# --- what is watched meanwhile


@asynccontextmanager
async def _sampled(room: TradingRoom) -> AsyncIterator[list[tuple[float, int]]]:
    """When how many look-ups had been asked, every now and then."""
    samples: list[tuple[float, int]] = []

    async def sample() -> None:
        while True:
            samples.append((monotonic(), _lookups(room)))
            await asyncio.sleep(0.25)

    sampling = asyncio.create_task(sample())
    try:
        yield samples
    finally:
        sampling.cancel()


@asynccontextmanager
async def _leased(room: TradingRoom) -> AsyncIterator[None]:
    """Nobody else renews the lease of a room."""

    async def renew() -> None:
        while True:
            await room.wallets.refresh()
            await asyncio.sleep(_LEASE_EVERY_S)

    renewing = asyncio.create_task(renew())
    try:
        yield
        assert not renewing.done(), renewing.exception()
    finally:
        renewing.cancel()


def _lookups(room: TradingRoom) -> int:
    """Questions after orders and trades that the exchange was asked."""
    counts = room.floor.venue.journal.counts
    return sum(number for (_, path), number in counts.items() if path.startswith("/data/"))


def _on_book_s(room: TradingRoom, attempts: Sequence[Mapping[str, Any]]) -> Iterable[float]:
    for attempt in attempts:
        order = room.floor.venue.engine.orders[attempt["exchange_order_id"]]
        if attempt["called_off"] is not None and order.ended_ns is not None:
            yield (order.ended_ns - order.created_ns) / NANOSECONDS


async def _is_over(room: TradingRoom) -> bool:
    """Nothing rests, and nothing is offered within the next price of any of them."""
    book = await room.exchange.book(room.floor.yes)
    return book.asks[0].price > _PRICES[-1] and all(one["closed_at"] for one in await room.attempts())
