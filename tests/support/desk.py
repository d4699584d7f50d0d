"""A trading desk on a migrated database: paper wallets, strategies and signals by default values, functions by name."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, Self

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from worker.orders.reasons import SkipReason

Row = dict[str, Any]

WALLET = "0x" + "ab" * 20
WORKER = "worker-a"
CONDITION = "0x" + "c0" * 32
TOKEN = "71321045679252212594626385532706912750332728571942532289631379312455583992563"
USER = "00000000-0000-4000-8000-000000000001"


def ago(**delta: float) -> str:
    """A moment of the past, in the words of a `timedelta`."""
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


def order_id() -> str:
    """Returns an id like the exchange's."""
    return "0x" + secrets.token_hex(32)


@dataclass(slots=True)
class Desk:
    """One autocommit connection as service_role, in one mode. Rows are made as the platform makes them."""

    connection: psycopg.AsyncConnection[Row]
    mode: str = "paper"
    fence: int = 0
    wallets: set[str] = field(default_factory=set)

    @classmethod
    async def open(cls, dsn: str, *, mode: str = "paper", role: str = "service_role") -> Self:
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row)
        await connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        return cls(connection, mode)

    async def close(self) -> None:
        await self.connection.close()

    async def rows(self, query: LiteralString, **values: object) -> list[Row]:
        return await (await self.connection.execute(query, values or None)).fetchall()

    async def row(self, query: LiteralString, **values: object) -> Row:
        (row,) = await self.rows(query, **values)
        return row

    async def execute(self, query: LiteralString, **values: object) -> int:
        """Runs a statement and returns how many rows it touched."""
        return (await self.connection.execute(query, values or None)).rowcount

    async def call(self, function: str, p: Mapping[str, Any] | str) -> Row:
        """Calls one of our functions as PostgREST would and returns its answer, but for the clock of its capital."""
        argument = p if isinstance(p, str) else Jsonb(p)
        query = sql.SQL("select public.{}({}) as answer").format(sql.Identifier(function), sql.Placeholder())
        answer = await (await self.connection.execute(query, [argument])).fetchone()
        assert answer is not None
        result: Row = answer["answer"]
        assert datetime.fromisoformat(result["now"]).utcoffset() == timedelta(0)
        if isinstance(capital := result.get("capital"), dict):
            assert datetime.fromisoformat(capital.pop("as_of")).utcoffset() == timedelta(0)
        return result

    async def insert(self, table: LiteralString, row: Row) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, row))
        values = sql.SQL(", ").join(sql.Placeholder() * len(row))
        statement = sql.SQL("insert into public.{} ({}) values ({})")
        await self.connection.execute(
            statement.format(sql.Identifier(table), columns, values), list(row.values())
        )

    # --- what the platform writes

    async def strategy(self, strategy_id: str = "LT_ONE", /, **columns: object) -> str:
        """An active strategy and, where it is not there yet, the paper wallet it follows."""
        row: Row = {
            "strategy_id": strategy_id,
            "ft_wallet_id": "FT_ONE",
            "user_id": uuid.uuid4() if strategy_id != "LT_ONE" else USER,
            "wallet_address": WALLET,
            "display_name": strategy_id,
            "is_active": True,
            "initial_capital": "1000.00",
        }
        row |= columns
        await self.ft_wallet(str(row["ft_wallet_id"]))
        if await self.rows(
            "select to_regclass('auth.users') as users where to_regclass('auth.users') is not null"
        ):
            await self.connection.execute("reset role")
            await self.execute(
                "insert into auth.users (id) values (%(id)s) on conflict do nothing", id=row["user_id"]
            )
            await self.connection.execute("set role service_role")
        await self.insert("lt_strategies", row)
        return strategy_id

    async def ft_wallet(self, wallet_id: str) -> None:
        if wallet_id not in self.wallets:
            await self.insert(
                "ft_wallets", {"wallet_id": wallet_id, "config_id": wallet_id, "display_name": wallet_id}
            )
            self.wallets.add(wallet_id)

    async def signal(self, **columns: object) -> str:
        """A signal as the paper side inserts it; returns its id."""
        row: Row = {
            "order_id": str(uuid.uuid4()),
            "wallet_id": "FT_ONE",
            "side": "BUY",
            "condition_id": CONDITION,
            "token_label": "Yes",
            "source_trade_id": order_id(),
            "trader_address": "0x" + "7a" * 20,
            "entry_price": "0.5015",
            "size": "6.00",
            "order_time": datetime.now(UTC) - timedelta(minutes=3),
        }
        row |= columns
        await self.insert("ft_orders", row)
        return str(row["order_id"])

    # --- what the worker asks

    async def lease(self, wallet: str = WALLET, *, worker: str = WORKER, ttl_s: str = "30") -> Row:
        answer = await self.call(
            "lt_lease", {"wallet_address": wallet, "mode": self.mode, "worker": worker, "ttl_s": ttl_s}
        )
        self.fence = answer.get("fence", self.fence)
        return answer

    async def balance(self, collateral_usd: str = "1000", *, wallet: str = WALLET, age_s: float = 0) -> Row:
        seen = {"wallet_address": wallet, "collateral_usd": collateral_usd, "as_of": _ago(age_s)}
        return await self.call("lt_wallets_seen", {"mode": self.mode, "balances": [seen]})

    async def ready(self) -> None:
        """Takes the lease of the wallet and tells its balance: what a claim needs, for longer than any test lasts."""
        await self.lease(ttl_s="600")
        await self.balance()

    def claim_params(self, ft_order_id: str, strategy_id: str = "LT_ONE", **changes: Any) -> Row:
        """A claim of a FAK BUY of `bet` dollars that matches a default signal; `changes` overrides or adds keys."""
        bet = changes.pop("bet", "6.00")
        order = {
            "order_type": "FAK",
            "side": "BUY",
            "token_id": TOKEN,
            "limit_price": "0.51",
            "base_price": "0.5",
            "bet_usd": bet,
            "amount_usd": bet,
            "shares": None,
            "reserve_usd": bet,
            "reserve_shares": "0",
            "expires_at": None,
        } | changes.pop("order", {})
        expected = {
            "wallet_id": "FT_ONE",
            "side": "BUY",
            "condition_id": CONDITION,
            "token_label": "Yes",
            "entry_price": "0.5015",
            "size": "6",
            "trader_win_rate": None,
            "edge_pct": None,
            "conviction": None,
            "model_probability": None,
        } | changes.pop("expected", {})
        exchange_order_id = changes.pop("exchange_order_id", None) or order_id()
        return {
            "mode": self.mode,
            "worker": WORKER,
            "fence": self.fence,
            "wallet_address": WALLET,
            "strategy_id": strategy_id,
            "ft_order_id": ft_order_id,
            "expected": expected,
            "order": order,
            "attempt": {
                "exchange_order_id": exchange_order_id,
                "exchange_version": "std",
                "signed_body": f'{{"order":"{exchange_order_id}"}}',
            },
            "snapshot": {"best_ask": "0.50"},
            "stages": {"received_at": _ago(0.2), "decided_at": _ago(0.1), "prepared_at": _ago(0)},
            "balance_max_age_s": "600",
        } | changes

    async def claim(self, ft_order_id: str, strategy_id: str = "LT_ONE", **changes: Any) -> Row:
        params = self.claim_params(ft_order_id, strategy_id, **changes)
        answer = await self.call("lt_claim", params)
        return answer | {"exchange_order_id": params["attempt"]["exchange_order_id"]}

    async def refused(self, ft_order_id: str, strategy_id: str = "LT_ONE", **changes: Any) -> Row:
        """The answer to a claim that must not be granted, for a reason that the worker knows."""
        answer = await self.claim(ft_order_id, strategy_id, **changes)
        assert answer["granted"] is False
        SkipReason(answer["reason"])
        return answer

    async def record(self, exchange_order_id: str, state: str, **keys: Any) -> Row:
        return await self.call(
            "lt_record", {"exchange_order_id": exchange_order_id, "state": state, "note": ""} | keys
        )

    async def decide(self, ft_order_id: str, strategy_id: str = "LT_ONE", **keys: Any) -> Row:
        decision = {"strategy_id": strategy_id, "ft_order_id": ft_order_id, "state": "skipped"}
        decision |= {"reason": "price_moved", "value": "0.61", "limit": "0.51", "decided_at": _ago(0)} | keys
        return await self.call("lt_decide", {"mode": self.mode, "decisions": [decision]})

    async def work(self, **keys: Any) -> Row:
        return await self.call("lt_work", {"mode": self.mode, "limit": 100} | keys)

    async def work_ids(self, **keys: Any) -> list[str]:
        """The ids of the signals with work left, in the order they come."""
        return [item["signal"]["order_id"] for item in (await self.work(**keys))["work"]]

    async def equation(self) -> Row:
        return await self.call("lt_equation", {"mode": self.mode})

    async def capital(self, strategy_id: str = "LT_ONE") -> Row:
        answer = await self.call("lt_capital", {"mode": self.mode, "strategy_id": strategy_id})
        capital: Row = answer["capital"]
        return capital

    async def decision(self, ft_order_id: str, strategy_id: str = "LT_ONE") -> Row | None:
        rows = await self.rows(
            "select * from public.lt_decisions where strategy_id = %(s)s and ft_order_id = %(f)s and mode = %(m)s",
            s=strategy_id,
            f=ft_order_id,
            m=self.mode,
        )
        return rows[0] if rows else None

    async def order(self, lt_order_id: str) -> Row:
        return await self.row("select * from public.lt_orders where lt_order_id = %(id)s", id=lt_order_id)

    async def somebody_waits(self) -> bool:
        """Whether a session waits for a lock: it came to a row that another one holds."""
        return bool(await self.rows("select from pg_locks where not granted"))


def fill(shares: str, price: str = "0.5", **keys: Any) -> Row:
    """A trade of ours as `lt_record` takes it: a provisional taker BUY."""
    return {
        "trade_id": str(uuid.uuid4()),
        "role": "TAKER",
        "side": "BUY",
        "token_id": TOKEN,
        "price": price,
        "shares": shares,
        "fee_usd": "0",
        "state": "provisional",
        "matched_at": _ago(0),
    } | keys


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
