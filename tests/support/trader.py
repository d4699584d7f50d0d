"""A strategy that wins and loses money to order: what limits and breakers are about."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

from psycopg import sql

from tests.support.desk import CONDITION, Desk, Row, fill


@dataclass(slots=True)
class Trader:
    """A strategy of $1,000 without limits, and a wallet of its own that holds plenty; many share one database."""

    desk: Desk
    strategy_id: str
    wallet: str

    @classmethod
    async def open(cls, dsn: str, *, mode: str = "paper") -> Self:
        desk = await Desk.open(dsn, mode=mode)
        if await desk.rows("select from public.ft_wallets"):
            desk.wallets.add("FT_ONE")
        name, wallet = f"LT_{secrets.token_hex(4)}", "0x" + secrets.token_hex(20)
        await desk.strategy(name, wallet_address=wallet, max_order_size_usd=None)
        await desk.lease(wallet)
        await desk.balance("100000", wallet=wallet)
        return cls(desk, name, wallet)

    async def claim(self, bet: str = "6.00", condition_id: str = CONDITION, **changes: Any) -> Row:
        signal = await self.desk.signal(condition_id=condition_id, trader_address=self.wallet)
        expected = {"condition_id": condition_id}
        return await self.desk.claim(
            signal, self.strategy_id, wallet_address=self.wallet, bet=bet, expected=expected, **changes
        )

    async def buy(self, shares: str, condition_id: str = CONDITION, **trade: Any) -> Row:
        """An order for 6 dollars that got so many shares at 50 cents, and is over."""
        claimed = await self.claim(condition_id=condition_id)
        assert claimed["granted"], claimed
        trades = [fill(shares, state="final", **trade)]
        await self.desk.record(claimed["exchange_order_id"], "matched", closed=True, fills=trades)
        return claimed

    async def sell(self, shares: str) -> Row:
        order = {
            "side": "SELL",
            "amount_usd": None,
            "shares": shares,
            "reserve_usd": "0",
            "reserve_shares": shares,
        }
        signal = await self.desk.signal(side="SELL", trader_address=self.wallet)
        return await self.desk.claim(
            signal, self.strategy_id, wallet_address=self.wallet, expected={"side": "SELL"}, order=order
        )

    async def resolved(self, pnl: str, *, ago: timedelta = timedelta()) -> None:
        """An order of the executor before us, resolved so long ago."""
        query = (
            "insert into public.lt_orders (strategy_id, user_id, ft_wallet_id, source_trade_id, condition_id, token_id,"
            " token_label, signal_price, signal_size_usd, status, outcome, pnl, resolved_at, is_shadow)"
            " select strategy_id, user_id, ft_wallet_id, %(id)s, %(id)s, '1', 'Yes', 0.5, 100, 'FILLED',"
            " case when %(pnl)s::numeric < 0 then 'LOST' else 'WON' end, %(pnl)s, clock_timestamp() - %(ago)s::interval,"
            " %(paper)s from public.lt_strategies where strategy_id = %(s)s"
        )
        await self.desk.execute(
            query,
            id=secrets.token_hex(8),
            pnl=pnl,
            ago=ago,
            s=self.strategy_id,
            paper=self.desk.mode == "paper",
        )

    async def set(self, **columns: Decimal | str | bool | None) -> None:
        for column, value in columns.items():
            query = sql.SQL("update public.lt_strategies set {} = %s where strategy_id = %s")
            await self.desk.connection.execute(
                query.format(sql.Identifier(column)), [value, self.strategy_id]
            )

    async def row(self) -> Row:
        query = "select * from public.lt_strategies where strategy_id = %(s)s"
        return await self.desk.row(query, s=self.strategy_id)

    async def arm(self) -> Row:
        armed = {"mode": self.desk.mode, "strategy_id": self.strategy_id, "actor": "operator"}
        return await self.desk.call("lt_arm", armed)
