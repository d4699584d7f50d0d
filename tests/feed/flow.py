"""Signals at a steady rate, written as the platform would, whatever becomes of the database meanwhile."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from decimal import Decimal
from time import time
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from worker.sandbox.signals import random_trades, signal_row
from worker.sandbox.world import World

Row = Mapping[str, Any]
_RETRY_S = 0.05
_SIZE_USD = Decimal(10)


class Line:
    """A connection to the database that is opened again as often as it takes."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[dict[str, Any]] | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str) -> AsyncIterator["Line"]:
        line = cls(dsn)
        try:
            yield line
        finally:
            await line.hang_up()

    async def ask(
        self, query: bytes | sql.Composed, values: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """Asked once. Raises psycopg.OperationalError while the database is away."""
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, row_factory=dict_row, connect_timeout=5
            )
        try:
            cursor = await self._connection.execute(query, values)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            await self.hang_up()
            raise

    async def insist(
        self, query: bytes | sql.Composed, values: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """Asked until there is an answer: it may be done twice, and must come to the same."""
        while True:
            try:
                return await self.ask(query, values)
            except psycopg.OperationalError:
                await asyncio.sleep(_RETRY_S)

    async def hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class Flow:
    """Signals for all paper wallets of a world in turn."""

    def __init__(self, world: World, *, rate_per_s: float, seed: int) -> None:
        self._world = world
        self._rate_per_s = rate_per_s
        self._seed = seed
        self._ft_wallets = sorted({follower.ft_wallet_id for follower in world.followers})
        self.written: list[tuple[float, str]] = []  # Unix time at which it was surely committed, ft_order_id

    def written_since(self, at: float) -> Iterator[str]:
        """The latest first."""
        return (one for when, one in itertools.takewhile(lambda each: each[0] >= at, reversed(self.written)))

    async def run(self) -> None:
        """Until cancelled. What an outage held up follows at once."""
        async with (
            Line.open(self._world.supabase.dsn) as line,
            aclosing(
                random_trades(self._world.exchange, rate_per_s=self._rate_per_s, seed=self._seed)
            ) as trades,
        ):
            async for trade in trades:
                ft_wallet_id = self._ft_wallets[len(self.written) % len(self._ft_wallets)]
                row = signal_row(trade, ft_wallet_id=ft_wallet_id, size_usd=_SIZE_USD)
                await insert(line, row)
                self.written.append((time(), row["order_id"]))


async def insert(line: Line, *rows: Row) -> None:
    """All of them in one transaction, once."""
    columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    one = sql.SQL("({})").format(sql.SQL(", ").join([sql.Placeholder()] * len(rows[0])))
    statement = sql.SQL("insert into public.ft_orders ({}) values {} on conflict do nothing").format(
        columns, sql.SQL(", ").join([one] * len(rows))
    )
    await line.insist(statement, [value for row in rows for value in row.values()])
