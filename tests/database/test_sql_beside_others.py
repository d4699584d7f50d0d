"""What other programs write beside the worker: the executor before it, and the platform's own jobs."""

import secrets
from decimal import Decimal

import pytest
from psycopg import sql

from tests.database.test_sql_limits import one_day
from tests.support.desk import USER, Row, fill
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


STUCK = (
    "update public.lt_orders set status = 'CANCELLED', outcome = 'CANCELLED',"
    " rejection_reason = 'Auto-cancelled: stuck for >5 minutes' where lt_order_id = %(id)s"
)


@pytest.mark.parametrize("closed", [False, True])
async def test_what_trades_or_has_traded_stays_open_when_the_platform_cancels_it(
    trader: Trader, *, closed: bool
) -> None:
    bought = await trader.claim()
    state, fills = ("matched", [fill("12", state="final")]) if closed else ("live", [])
    await trader.desk.record(bought["exchange_order_id"], state, closed=closed, fills=fills)
    before = await trader.desk.order(bought["lt_order_id"])
    await trader.desk.execute(STUCK, id=bought["lt_order_id"])
    after = await trader.desk.order(bought["lt_order_id"])
    for column in ("status", "outcome", "rejection_reason"):
        assert after[column] == before[column]

    await trader.set(max_position_size_usd="11.99")
    assert (await trader.claim())["reason"] == "max_position_size"
    await trader.set(max_position_size_usd=None, max_open_positions=Decimal(1))
    assert (await trader.claim(condition_id="0xc8"))["reason"] == "max_open_positions"


async def test_what_came_to_nothing_may_be_cancelled_by_the_platform(trader: Trader) -> None:
    bought = await trader.claim()
    trade = fill("12")
    await trader.desk.record(bought["exchange_order_id"], "matched", closed=True, fills=[trade])
    taken_back = [trade | {"state": "reversed"}]
    await trader.desk.record(bought["exchange_order_id"], "matched", closed=True, fills=taken_back)
    assert (await trader.desk.order(bought["lt_order_id"]))["outcome"] == "CANCELLED"
    await trader.desk.execute(STUCK, id=bought["lt_order_id"])
    assert (await trader.desk.order(bought["lt_order_id"]))["rejection_reason"].startswith("Auto")
