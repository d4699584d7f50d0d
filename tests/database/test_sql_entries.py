"""Entries stand whatever becomes of an order, and checkpoints pass none that is still being written."""

from typing import LiteralString

import pytest

from tests.database.test_sql_capital import MARKET, audit, bought, sold
from tests.support.desk import USER, Desk, Row, fill

OTHER = "LT_TWO"


async def old_order(desk: Desk, lt_order_id: str, **columns: object) -> None:
    """A row of the executor before us, on paper."""
    row: Row = {
        "lt_order_id": lt_order_id,
        "strategy_id": "LT_ONE",
        "user_id": USER,
        "ft_wallet_id": "FT_ONE",
        "source_trade_id": lt_order_id,
        "condition_id": "0xc1",
        "token_id": "1",
        "token_label": "Yes",
        "signal_price": "0.5",
        "signal_size_usd": "100",
        "status": "PENDING",
        "is_shadow": True,
    }
    await desk.insert("lt_orders", row | columns)


@pytest.mark.parametrize(
    "leaving",
    [
        "delete from public.lt_orders where lt_order_id = 'old'",
        "update public.lt_orders set strategy_id = 'LT_TWO' where lt_order_id = 'old'",
    ],
)
async def test_a_checkpoint_waits_for_an_order_that_is_leaving_its_strategy(
    trading: Desk, database: str, leaving: LiteralString
) -> None:
    await trading.strategy(OTHER)
    await old_order(trading, "old")
    other = await Desk.open(database)
    await other.connection.set_autocommit(False)
    await other.execute(leaving)
    await bought(trading, fill("12", state="final"))
    assert (await trading.call("lt_checkpoint", {"least": 1}))["written"] == 0
    await other.connection.commit()
    await other.close()
    assert (await trading.call("lt_checkpoint", {"least": 1}))["written"] >= 1
    assert (await trading.capital())["locked_usd"] == "6.00"
    assert await audit(trading) == []


async def test_a_number_that_is_none_is_named_by_the_audit_and_stands_in_no_sum(trading: Desk) -> None:
    await old_order(trading, "old", status="FILLED", outcome="WON", pnl="NaN")
    assert (await trading.capital())["available_usd"] == "1000.00"
    (named,) = await audit(trading)
    assert named == {"what": "order old: its pnl is not a number", "mode": "paper", "missing": {}}
    await trading.execute("update public.lt_orders set pnl = 5 where lt_order_id = 'old'")
    assert (await trading.capital())["available_usd"] == "1005.00"
    assert await audit(trading) == []


async def test_entries_of_an_order_that_is_not_there_are_named(trading: Desk) -> None:
    await old_order(trading, "old")
    await trading.execute("delete from public.lt_orders where lt_order_id = 'old'")
    assert await audit(trading, orders=1) == []
    await trading.execute(
        "insert into public.lt_entries (strategy_id, mode, lt_order_id, at, locked_usd, realised_usd, proceeds_usd,"
        " unredeemed_usd, fees_usd) values ('LT_ONE', 'paper', 'ghost', now(), 0, 5000, 0, 0, 0)"
    )
    (named,) = await audit(trading, orders=1)
    assert (named["what"], named["missing"]) == ("order ghost", {"realised_usd": "-5000"})


async def test_no_checkpoint_ends_within_a_transaction(trading: Desk) -> None:
    await bought(trading, fill("12", state="final"))
    await sold(trading, "8", "0.5")
    await trading.call("lt_checkpoint", {"least": 1})
    # The purchase is paid out for 12 shares in one entry, and the sale takes 8 of them back in the other.
    assert (await trading.call("lt_settle_market", MARKET))["won"] == 2
    before = await trading.capital()
    assert (before["peak_equity_usd"], before["realised_usd"]) == ("1002.00", "2.00")
    written = [(await trading.call("lt_checkpoint", {"least": 1, "most": 1}))["written"] for _ in range(2)]
    assert (written, await trading.capital()) == ([1, 0], before)
    assert await audit(trading) == []
