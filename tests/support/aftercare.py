"""What goes on with orders after their answer, as a test runs it: look-ups, re-takes and the market channel, all quick."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.support.pending_desk import QUICK
from tests.support.trading_room import POLICY, TradingRoom
from worker.errors import ExchangeUnreachable
from worker.handlers.judge import Judge
from worker.handlers.pending import Pending, PendingTiming
from worker.handlers.remainders import Bench, Remainders, RemainderTiming
from worker.handlers.resting import RestingOrders, RestingPolicy
from worker.handlers.strategies import Strategies
from worker.observe.health import Health
from worker.orders.retake import RemainderPolicy
from worker.orders.terms import Mode

# Hours of a market as moments of a test. Nothing is looked at by itself so often that it could stand for the channel.
RETAKES = RemainderPolicy(
    retakes_most=3,
    reprices_most=2,
    reprice_extra=Decimal("0.04"),
    reprice_within=timedelta(minutes=5),
    fresh_for=timedelta(minutes=2),
    unsent_for=timedelta(days=1),
)
BY_CHANNEL = RemainderTiming(first_s=60.0, most_s=60.0, refresh_every_s=0.3, gather_s=0.01)
BY_LOOKING = RemainderTiming(first_s=0.05, most_s=0.2, refresh_every_s=0.3, gather_s=0.01)
RESTING = RestingPolicy(
    max_age_s=0.2, reprices_most=2, cancel_on_pause=False, refresh_every_s=0.1, look_every_s=0.3
)


@dataclass(frozen=True)
class Aftercare:
    room: TradingRoom
    pending: Pending
    remainders: Remainders
    resting: RestingOrders


@asynccontextmanager
async def aftercare(
    room: TradingRoom,
    *,
    timing: RemainderTiming = BY_LOOKING,
    rests: RestingPolicy | None = None,
    looks: PendingTiming = QUICK,
    **policy: Any,
) -> AsyncIterator[Aftercare]:
    """All of it runs inside. `policy`: changes to `RETAKES`; `rests`: call off resting orders too; `looks`: at orders."""
    strategies = Strategies(room.ledger, Health(room.clock), refresh_every_s=60, on_wallets=lambda _: None)
    await strategies.load()
    later: list[Remainders] = []
    pending = Pending(
        resolver=room.resolver,
        under_way=room.sender.in_flight,
        ledger=room.ledger,
        wallets=room.wallets,
        clock=room.clock,
        metrics=room.metrics,
        timing=looks,
        on_over=lambda: later[0].wake(),  # noqa: PLW0108 - they are made below
    )
    remainders = Remainders(
        Bench(
            ledger=room.ledger,
            judges={Mode.LIVE: Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)},
            submitter=room.submitter,
            strategies=strategies,
            wallets=room.wallets,
            clock=room.clock,
            metrics=room.metrics,
            follow=room.exchange.channel.follow,
            on_answered=pending.follow,
        ),
        replace(RETAKES, **policy),
        timing,
    )
    later.append(remainders)
    resting = RestingOrders(
        exchange=room.exchange,
        ledger=room.ledger,
        wallets=room.wallets,
        clock=room.clock,
        metrics=room.metrics,
        policy=rests or RESTING,
        on_called_off=pending.wake,
    )
    working = [pending.run(), remainders.run(), _hear(room, remainders)]
    if rests is not None:
        working.append(resting.run())
    tasks = [asyncio.create_task(work) for work in working]
    try:
        yield Aftercare(room, pending, remainders, resting)
    finally:
        ended = [task.exception() for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not ended, ended


async def _hear(room: TradingRoom, remainders: Remainders) -> None:
    while True:
        try:
            async for quote in room.exchange.channel.quotes():
                remainders.heard(quote)
        except ExchangeUnreachable:
            await asyncio.sleep(0.05)
