"""The signals of a chaos run, and with each of them what the exchange does wrong next: in step with the kills."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from time import monotonic
from typing import Any

import psycopg

from tests.chaos.ending_markets import insert_signal
from tests.chaos.schedule import Schedule
from tests.chaos.stand_ins import Usurper
from tests.chaos.troop import Tormentor
from tests.support.tool import SoFar
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.world import World

COPIED = ("FT_ONE", "FT_TWO")  # in turn
OUT_OF_REACH = "FT_THREE"  # buys at prices that nobody offers
FRESH_FOR_S = 120.0
INSERT_EVERY_S = 0.05
_OLD_SHARE = 0.05  # of the signals are found when they are not fresh any more
_OUT_OF_REACH_SHARE = Decimal("0.9")  # of the best offer
_TICK = Decimal("0.01")
_SIZE_USD = Decimal(10)
_TRICKLE_S = 0.7
_QUIET_S = 8.0  # and as long not: while nothing trades, nothing is settled either


async def insert_signals(
    world: World,
    number: int,
    schedule: Schedule,
    tormentor: Tormentor | Usurper,
    trades: AsyncIterator[Trade],
    so_far: SoFar,
) -> None:
    """In step with the kills, so that every kill finds work, and never slower than a trickle.

    More than `number` where the kills take longer.
    """
    last_s = monotonic()
    inserted = inflicted = 0
    quiet = False
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        async for trade in trades:
            if inserted >= number and not schedule.short:
                return
            due = number * (tormentor.done + 3) // (tormentor.done + tormentor.left + 3)
            if inserted >= due and monotonic() - last_s < _TRICKLE_S:
                continue
            wants_quiet = schedule.wants_quiet and monotonic() % (2 * _QUIET_S) < _QUIET_S
            if quiet is not wants_quiet:
                quiet = wants_quiet
                await world.exchange.call("crowd", asleep=quiet)
            await insert_signal(database, _row(trade, COPIED[inserted % len(COPIED)], schedule))
            inserted += 1
            so_far["signals"] = inserted
            last_s = monotonic()
            struck = sum((await world.exchange.faults_struck()).values())
            if (fault := schedule.next_fault(waiting=inflicted - struck)) is not None:
                name, how = fault
                await world.exchange.inflict(name, **how)
                inflicted += 1


def _row(trade: Trade, copied: str, schedule: Schedule) -> Mapping[str, Any]:
    if schedule.next_is_out_of_reach():
        row = signal_row(_out_of_reach(trade), ft_wallet_id=OUT_OF_REACH, size_usd=_SIZE_USD)
    else:
        row = signal_row(trade, ft_wallet_id=copied, size_usd=_SIZE_USD)
    if schedule.strikes(_OLD_SHARE):
        row["created_at"] = datetime.now(UTC) - timedelta(seconds=FRESH_FOR_S + 60)
    return row


def _out_of_reach(trade: Trade) -> Trade:
    """A buy so far below the best offer that an order at its price rests, and the market has left it behind."""
    price = (trade.price * _OUT_OF_REACH_SHARE).quantize(_TICK, ROUND_DOWN)
    return replace(trade, side="BUY", price=max(price, _TICK))
