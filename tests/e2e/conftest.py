"""The whole way: the production worker as a process of its own, in a small world of real sockets."""

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import World, open_world

# Leases last as long as in production: a shorter one is lost where the machine is busy with something else.
QUICK = {"POLYCOPY_LEASE__RENEW_EVERY_S": "0.4", "POLYCOPY_PENDING__MOST_S": "2"}
BOTH_MOMENTUM = ["LT_MOMENTUM_FAST", "LT_MOMENTUM_WHOLE"]


class Town:
    """A world with short hands for tests."""

    def __init__(self, world: World, database: psycopg.AsyncConnection[dict[str, Any]]) -> None:
        self.world = world
        self.database = database

    @asynccontextmanager
    async def worker(
        self, settings: Mapping[str, str] | None = None, *, live: bool = True
    ) -> AsyncIterator[WorkerProcess]:
        """The production worker; `settings` are further environment variables."""
        environment = {**self.world.worker_environment(), **QUICK, **(settings or {})}
        async with WorkerProcess.start(environment, *(["--live"] if live else [])) as worker:
            yield worker

    async def trade(self, *, market: int = 0, outcome: int = 0) -> Trade:
        """A purchase at the best offer of now."""
        listed = (await self.world.exchange.read("markets"))[market]
        book = await self.world.exchange.book(listed["tokens"][outcome])
        price = min(Decimal(level["price"]) for level in book["asks"])
        return Trade(listed["condition"], listed["outcomes"][outcome], "BUY", price, listed["question"])

    async def signal(self, ft_wallet_id: str = "FT_MOMENTUM", **changes: Any) -> str:
        """Insert a signal, good but for `changes`; returns its id."""
        row = signal_row(await self.trade(), ft_wallet_id=ft_wallet_id, size_usd=Decimal(10)) | changes
        await self.insert([row])
        return str(row["order_id"])

    async def insert(self, rows: list[dict[str, Any]]) -> None:
        """All of them in one transaction."""
        async with self.database.transaction():
            for row in rows:
                await self.database.execute(
                    sql.SQL("insert into public.ft_orders ({}) values ({})").format(
                        sql.SQL(", ").join(map(sql.Identifier, row)),
                        sql.SQL(", ").join(sql.Placeholder() * len(row)),
                    ),
                    list(row.values()),
                )

    async def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return await (await self.database.execute(query.encode(), values)).fetchall()

    async def decisions(self, ft_order_id: str, mode: str = "live") -> dict[str, str]:
        """Strategy -> `executed` or the reason, for one signal."""
        rows = await self.rows(
            "select strategy_id, state, reason from public.lt_decisions where ft_order_id = %s and mode = %s",
            uuid.UUID(ft_order_id),
            mode,
        )
        return {row["strategy_id"]: row["reason"] for row in rows}

    async def accepted(self) -> list[str]:
        """Ids of the orders that the exchange has accepted, by its own journal."""
        return list(await self.world.exchange.read("accepted"))

    async def outlives_leases(self) -> None:
        """The time passes after which the leases of a dead worker are over."""
        await self.database.execute(b"update public.lt_leases set expires_at = now() - interval '1 second'")

    async def drop_keys_to_ft_wallets(self) -> None:
        """The schema has them, production databases lost such constraints."""
        rows = await self.rows(
            "select conrelid::regclass::text as name, conname from pg_constraint "
            "where contype = 'f' and confrelid = 'public.ft_wallets'::regclass"
        )
        for row in rows:
            drop = sql.SQL("alter table {} drop constraint {}").format(
                sql.Identifier("public", row["name"].removeprefix("public.")), sql.Identifier(row["conname"])
            )
            await self.database.execute(drop)

    async def equation(self, mode: str = "live") -> dict[str, int]:
        row = (
            await self.rows("select public.lt_equation(jsonb_build_object('mode', %s::text)) as said", mode)
        )[0]
        return dict(row["said"]["total"])


@asynccontextmanager
async def open_town(cluster: Postgres, template: str, **world: Any) -> AsyncIterator[Town]:
    """`world`: as for `open_world`."""
    async with (
        open_world(**{"markets": 2} | world, postgres=cluster, template=template) as opened,
        await psycopg.AsyncConnection.connect(
            opened.supabase.dsn, autocommit=True, row_factory=dict_row
        ) as database,
    ):
        yield Town(opened, database)


@pytest.fixture
async def town(cluster: Postgres, migrated_template: str) -> AsyncIterator[Town]:
    async with open_town(cluster, migrated_template) as town:
        yield town


def new_id() -> str:
    return str(uuid.uuid4())
