"""What other programs write beside the worker: the executor before it, and the platform's own jobs."""

import secrets

from psycopg import sql

from tests.database.test_sql_limits import one_day
from tests.support.desk import USER, Row
from tests.support.trader import Trader


async def another_program_buys(trader: Trader, status: str, **columns: object) -> None:
    """A purchase of $100 as the executor before us would write it, without an attempt."""
    row: Row = {
        "strategy_id": trader.strategy_id,
        "user_id": USER,
        "ft_wallet_id": "FT_ONE",
        "source_trade_id": secrets.token_hex(8),
        "condition_id": "0xc9",
        "token_id": "1",
        "token_label": "Yes",
        "signal_price": "0.5",
        "signal_size_usd": "100",
        "status": status,
        "is_shadow": True,
    }
    row |= columns
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    values = sql.SQL(", ").join(sql.Placeholder() * len(row))
    insert = sql.SQL("insert into public.lt_orders ({}) values ({})").format(names, values)
    await trader.desk.connection.execute(insert, list(row.values()))


async def test_what_the_executor_before_us_bought_today_is_of_the_days_budget(trader: Trader) -> None:
    await one_day()
    await another_program_buys(trader, "PENDING")
    await another_program_buys(trader, "FILLED", executed_size_usd="40")
    await another_program_buys(trader, "PARTIAL", executed_size_usd="3", outcome="WON", pnl="1")
    await another_program_buys(trader, "REJECTED", outcome="CANCELLED")
    await another_program_buys(trader, "FILLED", is_force_test=True)
    await another_program_buys(trader, "FILLED", is_shadow=False)
    await another_program_buys(trader, "FILLED", side="SELL")
    yesterday = "yesterday"
    await another_program_buys(trader, "FILLED", created_at=yesterday, order_placed_at=yesterday)
    await trader.set(daily_budget_usd="148.99")
    refused = await trader.claim()
    assert (refused["reason"], refused["value"]) == ("daily_budget", "149.00")
    await trader.set(daily_budget_usd="149")
    assert (await trader.claim())["granted"]
