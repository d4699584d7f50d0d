"""Markets of a chaos run that end while orders of theirs are open: bought on, and resolved before the trades are final."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import count
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql

from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.world import World

_EVERY_S = 3.0
_OPEN_FOR_S = 4.0  # at the most: a signal may be one that nobody lives to trade
_LOOK_EVERY_S = 0.2
_SHARES = "100000"


async def end_markets(world: World, ft_wallets: Sequence[str], numbers: Iterator[int] | None = None) -> None:
    """One after the other, until cancelled. Every strategy gets something of each; either side wins in turn, or nobody.

    `numbers`: what they are called by; whoever ends markets a second time in a world goes on where he was.
    """
    async with await psycopg.AsyncConnection.connect(world.supabase.dsn, autocommit=True) as database:
        for number in numbers or count():
            listed = await world.exchange.call("market", name=f"Will it end {number}?")
            token = listed["tokens"][0]
            await world.exchange.quote(token, "SELL", "0.50", _SHARES)
            trade = Trade(listed["condition"], listed["outcomes"][0], "BUY", Decimal("0.50"), "")
            for wallet in ft_wallets:
                await insert_signal(database, signal_row(trade, ft_wallet_id=wallet, size_usd=Decimal(10)))
            await _traded(database, token)
            if number % 3 == 2:
                await world.exchange.call("void", condition=listed["condition"])
            else:
                winner = listed["tokens"][number % 2]
                await world.exchange.call("resolve", condition=listed["condition"], winner=winner)
            await asyncio.sleep(_EVERY_S)


async def _traded(database: psycopg.AsyncConnection[Any], token: str) -> None:
    until_s = monotonic() + _OPEN_FOR_S
    while monotonic() < until_s:
        found = await database.execute(
            "select from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)"
            " where a.token_id = %s",
            (token,),
        )
        if found.rowcount:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def insert_signal(database: psycopg.AsyncConnection[Any], row: Mapping[str, Any]) -> None:
    """As the platform would write it."""
    await database.execute(
        sql.SQL("insert into public.ft_orders ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(sql.Placeholder() * len(row))
        ),
        list(row.values()),
    )
