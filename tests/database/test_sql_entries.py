"""Entries stand whatever becomes of an order, and checkpoints pass none that is still being written."""

from typing import LiteralString

import psycopg
import pytest

from tests.database.test_sql_capital import (
    FROM_ZERO,
    MARKET,
    audit,
    behind_the_triggers,
    bought,
    resolved_by_the_platform,
    sold,
)
from tests.support.desk import CONDITION, USER, WALLET, Desk, Row, fill

OTHER = "LT_TWO"
SALE: Row = {"side": "SELL", "amount_usd": None, "shares": "10", "reserve_usd": "0", "reserve_shares": "10"}


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
    assert (written, (await trading.capital())["peak_equity_usd"]) == ([1, 0], "1002.00")
    assert await audit(trading) == []


@pytest.mark.parametrize("checkpoints", [False, True])
async def test_profit_that_is_taken_back_was_never_in_the_peak(
    trading: Desk,
    checkpoints: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    async def after(step: Row) -> tuple[str, str]:
        del step
        if checkpoints:
            await trading.call("lt_checkpoint", {"least": 1})
        capital = await trading.capital()
        return capital["peak_equity_usd"], capital["realised_usd"]

    await bought(trading, fill("100", "0.2", state="final"))
    assert await after(await sold(trading, "10", "0.5")) == ("1003.00", "3.00")
    lost = await sold(trading, "10", "0.1")
    assert await after(lost) == ("1003.00", "2.00")
    # Reversed above the peak of before, and below it.
    for price, peak in (("0.5", "1005.00"), ("0.25", "1003.00")):
        sale = await trading.claim(await trading.signal(side="SELL"), expected={"side": "SELL"}, order=SALE)
        part = fill("10", price, side="SELL")
        booked = await trading.record(sale["exchange_order_id"], "matched", closed=True, fills=[part])
        assert (await after(booked))[0] == peak
        told = [part | {"state": "reversed"}]
        reversed_ = await trading.record(sale["exchange_order_id"], "matched", closed=True, fills=told)
        assert await after(reversed_) == ("1003.00", "2.00")
    assert await audit(trading) == []


async def test_a_win_that_becomes_a_loss_lowers_the_peak_to_what_it_was(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set circuit_breaker_loss_pct = 20")
    order = await bought(trading, fill("600", "0.2", state="final"))
    await resolved_by_the_platform(trading, order)
    assert (await trading.capital())["peak_equity_usd"] == "1480.00"
    await resolved_by_the_platform(trading, order, "LOST")
    capital = await trading.capital()
    assert (capital["peak_equity_usd"], capital["realised_usd"]) == ("1000.00", "-120.00")
    assert (await trading.claim(await trading.signal()))["granted"]


@pytest.mark.parametrize("outcome", ["SOLD", "CANCELLED"])
async def test_a_purchase_that_the_platform_took_for_over_is_settled_with_its_market(
    trading: Desk, outcome: str
) -> None:
    order = await bought(trading, fill("12", state="final"))
    await resolved_by_the_platform(trading, order, outcome)
    asked = await trading.call("lt_unsettled_markets", {"mode": "paper", "wallets": [WALLET]})
    assert [market["condition_id"] for market in asked["markets"]] == [CONDITION]
    assert [(await trading.call("lt_settle_market", MARKET))["won"] for _ in range(2)] == [1, 0]
    capital = await trading.capital()
    assert (capital["locked_usd"], capital["realised_usd"]) == ("0.00", "6.00")
    assert await audit(trading) == []


async def test_a_sale_that_is_being_recorded_while_its_token_ends_ends_with_it(
    trading: Desk, database: str
) -> None:
    purchase = await bought(trading, fill("12", state="final"))
    order = SALE | {"shares": "8", "reserve_shares": "8"}
    sale = await trading.claim(await trading.signal(side="SELL"), expected={"side": "SELL"}, order=order)
    part = fill("8", "0.6", side="SELL")
    await trading.record(sale["exchange_order_id"], "matched", closed=False, fills=[part])
    other = await Desk.open(database)
    await other.connection.set_autocommit(False)
    await other.record(sale["exchange_order_id"], "matched", closed=True, fills=[part | {"state": "final"}])
    await resolved_by_the_platform(trading, purchase)
    await other.connection.commit()
    await other.close()
    assert [row["outcome"] for row in await trading.rows("select outcome from public.lt_orders")] == [
        "WON"
    ] * 2
    # 1000 - 6 + 8 * 0.6 + 4
    capital = await trading.capital()
    assert (capital["locked_usd"], capital["realised_usd"]) == ("0.00", "2.80")
    assert await audit(trading) == []


@pytest.mark.parametrize(
    "plant",
    [
        "update public.lt_checkpoints set locked_usd = locked_usd + 1",
        "update public.lt_fills set shares = shares - 2 where side = 'BUY'",
    ],
)
async def test_a_human_leads_the_books_back_from_zero(trading: Desk, plant: LiteralString) -> None:
    await bought(trading, fill("12", state="final"))
    await sold(trading, "4", "0.6")
    await trading.call("lt_checkpoint", {"least": 1})
    await behind_the_triggers(trading, plant)
    assert await audit(trading) != []
    with pytest.raises(psycopg.errors.RaiseException, match="by somebody"):
        await trading.call("lt_correct_capital", {"strategy_id": "LT_ONE"})
    told = {"strategy_id": "LT_ONE", "actor": "somebody"}
    (corrected,) = (await trading.call("lt_correct_capital", told))["checkpoints"]
    assert corrected["realised_usd"] == "0.40"
    assert await audit(trading) == []
    assert (await trading.row(FROM_ZERO + " where n.mode = 'paper'"))["locked"] == 0
    assert (await trading.claim(await trading.signal()))["granted"] is False  # until it is armed, too


async def test_capital_that_is_no_number_buys_nothing(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set initial_capital = 'NaN'")
    refused = await trading.claim(await trading.signal())
    assert (refused["granted"], refused["reason"]) == (False, "insufficient_capital")
