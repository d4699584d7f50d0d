"""What a SELL rests on: shares that are ours for good, and the trader's paper shares that were open before his sale."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.support.desk import CONDITION, TOKEN, Desk, Row, fill, order_id

D = Decimal
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


async def paper(desk: Desk, side: str, dollars: str, minute: float = 0, **columns: Any) -> str:
    """A paper trade at 50 cents, so many minutes after noon."""
    traded = {"entry_price": "0.5000", "size": dollars, "order_time": NOON + timedelta(minutes=minute)}
    return await desk.signal(side=side, **traded | columns)


async def holdings(desk: Desk, sale: str) -> Row:
    asked = {"mode": desk.mode, "strategy_id": "LT_ONE", "ft_order_id": sale, "token_id": TOKEN}
    return await desk.call("lt_holdings", asked)


async def on_paper(desk: Desk, sale: str) -> tuple[object, ...]:
    """Paper shares bought, and sold before."""
    held = await holdings(desk, sale)
    return D(held["paper_bought_shares"]), D(held["paper_sold_shares"])


async def ours(desk: Desk) -> tuple[object, ...]:
    held = await holdings(desk, await paper(desk, "SELL", "1.00", order_time=datetime.now(UTC)))
    return D(held["unsold_shares"]), D(held["settled_shares"]), held["buying"] or held["selling"]


async def buy(desk: Desk, *fills: Row, closed: bool = True) -> str:
    claimed = await desk.claim(await desk.signal())
    state = "matched" if closed else "live"
    await desk.record(claimed["exchange_order_id"], state, closed=closed, fills=list(fills))
    return str(claimed["exchange_order_id"])


async def copied(desk: Desk, minute: float, shares: str, **columns: Any) -> None:
    """A purchase on the signal of that minute, final."""
    claimed = await desk.claim(await paper(desk, "BUY", "6.00", minute, entry_price="0.5015", **columns))
    trade = fill(shares, state="final")
    await desk.record(claimed["exchange_order_id"], "matched", closed=True, fills=[trade])


async def left(desk: Desk, minute: float, **columns: Any) -> Decimal:
    """Our shares behind a sale of that minute."""
    sale = await paper(desk, "SELL", "1.00", minute, **columns)
    held = await holdings(desk, sale)
    assert held["settled_shares"] == held["unsold_shares"]
    return D(held["unsold_shares"])


async def sold(desk: Desk, minute: float, shares: str, **columns: Any) -> None:
    """A sale on the signal of that minute, final."""
    signal = await paper(desk, "SELL", "6.00", minute, entry_price="0.5015", **columns)
    claimed = await desk.claim(signal, expected={"side": "SELL"}, order=exit_of(shares))
    trade = fill(shares, side="SELL", state="final")
    await desk.record(claimed["exchange_order_id"], "matched", closed=True, fills=[trade])


def exit_of(shares: str) -> Row:
    nothing = {"amount_usd": None, "reserve_usd": "0"}
    return {"side": "SELL", "shares": shares, "reserve_shares": shares} | nothing


async def sell(desk: Desk, shares: str, **order: Any) -> Row:
    signal = await desk.signal(side="SELL")
    return await desk.claim(signal, expected={"side": "SELL"}, order=exit_of(shares) | order)


async def test_paper_dollars_become_shares_at_the_price_of_each_trade(trading: Desk) -> None:
    await paper(trading, "BUY", "10.00", 1)
    await paper(trading, "BUY", "3.00", 2, entry_price="0.2500")
    assert await on_paper(trading, await paper(trading, "SELL", "9.00", 3, entry_price="0.9000")) == (32, 0)


async def test_a_sale_counts_what_was_open_when_the_trader_made_it_and_earlier_sales_of_that(
    trading: Desk,
) -> None:
    await paper(trading, "SELL", "2.00", 0)  # of something that he had bought before
    await paper(trading, "BUY", "10.00", 1)
    first = await paper(trading, "SELL", "3.00", 2)
    second = await paper(trading, "SELL", "3.00", 3)
    await paper(trading, "BUY", "50.00", 4)
    assert await on_paper(trading, first) == (20, 0)
    assert await on_paper(trading, second) == (20, 6)
    assert await on_paper(trading, await paper(trading, "SELL", "3.00", 0.5)) == (0, 0)  # before he bought


async def test_other_traders_outcomes_and_closed_papers_do_not_count(trading: Desk) -> None:
    await trading.ft_wallet("FT_OTHER")
    others: list[Row] = [
        {"trader_address": "0x" + "99" * 20},
        {"token_label": "No"},
        {"condition_id": "0x" + "c9" * 32},
        {"wallet_id": "FT_OTHER"},
        {"outcome": "WON"},
        {"outcome": "SOLD", "resolved_time": NOON + timedelta(minutes=4)},
        {"entry_price": None},
    ]
    for other in others:
        await paper(trading, "BUY", "10.00", 1, **other)
        assert await on_paper(trading, await paper(trading, "SELL", "5.00", 5)) == (0, 0), other


async def test_what_counts_is_the_trade_and_not_how_it_is_written(trading: Desk) -> None:
    sames: list[Row] = [
        {"trader_address": ("0x" + "7a" * 20).upper().replace("X", "x")},
        {"token_label": " yes"},
        {"outcome": "SOLD", "resolved_time": NOON + timedelta(minutes=6)},  # closed by this very sale
    ]
    for same in sames:
        async with trading.connection.transaction(force_rollback=True):
            await paper(trading, "BUY", "10.00", 1, **same)
            assert await on_paper(trading, await paper(trading, "SELL", "5.00", 5)) == (20, 0), same


async def test_a_trade_that_came_under_two_ids_counts_once(trading: Desk) -> None:
    for side, minute in (("BUY", 1), ("SELL", 2)):
        await paper(trading, side, "4.00", minute)
        await paper(trading, side, "4.00", minute, source_trade_id=f"0xtrader-{CONDITION}-{minute}")
    sale = await paper(trading, "SELL", "4.00", 3)
    await paper(trading, "SELL", "4.00", 3, source_trade_id=f"0xtrader-{CONDITION}-3")
    assert await on_paper(trading, sale) == (8, 8)
    assert await on_paper(trading, await paper(trading, "SELL", "4.00", 4)) == (8, 16)


async def test_a_trader_of_thousands_at_one_price_is_sold_for_within_the_statement_timeout(
    trading: Desk,
) -> None:
    """Half of them under ids of another scheme, in the same seconds."""
    async with trading.connection.transaction(force_rollback=True):
        await trading.execute(
            "insert into public.ft_orders (order_id, wallet_id, side, condition_id, token_label, source_trade_id,"
            " trader_address, entry_price, size, order_time) select gen_random_uuid(), 'FT_ONE', 'BUY', %(market)s,"
            " 'Yes', case when g %% 2 = 0 then 'agg-' || g else '0x' || repeat(md5(g::text), 2) end, %(trader)s, 0.5, 1,"
            " %(noon)s + g * interval '1 millisecond' from generate_series(1, 20000) g",
            market=CONDITION,
            trader="0x" + "7a" * 20,
            noon=NOON,
        )
        sale = await paper(trading, "SELL", "6.00", 5)
        await trading.execute("set local statement_timeout = '8s'")
        assert await on_paper(trading, sale) == (20000, 0)


async def test_a_traders_sale_is_of_what_was_bought_on_his_signals_alone(trading: Desk) -> None:
    other = {"trader_address": "0x" + "99" * 20}
    await copied(trading, 1, "12")
    await copied(trading, 1, "8", **other)
    assert (await left(trading, 2), await left(trading, 2, **other)) == (D(12), D(8))
    await sold(trading, 3, "5")
    assert (await left(trading, 4), await left(trading, 4, **other)) == (D(7), D(8))
    await trading.ft_wallet("FT_OTHER")
    assert await left(trading, 4, wallet_id="FT_OTHER") == 0
    sale = await paper(trading, "SELL", "6.00", 5, entry_price="0.5015")
    refused = await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("8"))
    assert (refused["reason"], refused["limit"]) == ("position_unsettled", "7.00")


async def test_a_sale_is_of_what_was_bought_on_signals_before_it(trading: Desk) -> None:
    await copied(trading, 1, "12")
    await copied(trading, 3, "20")
    assert [await left(trading, minute) for minute in (0.5, 2, 3, 4)] == [0, 12, 32, 32]
    sale = await paper(trading, "SELL", "6.00", 2, entry_price="0.5015")
    assert (await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("13")))["granted"] is False


async def test_a_later_sale_that_was_executed_first_took_its_part_of_each_purchase(trading: Desk) -> None:
    await copied(trading, 1, "100")
    await copied(trading, 3, "100")
    await sold(trading, 4, "100")
    assert await left(trading, 2) == 50
    await sold(trading, 2, "15")
    assert await left(trading, 5) == 85  # as in the order of the signals: 100 - 30, + 100, - half
    await sold(trading, 6, "85")
    assert (await left(trading, 5), await left(trading, 7)) == (D(0), D(0))


async def test_provisional_shares_are_held_and_not_settled_and_those_for_sale_are_neither(
    trading: Desk,
) -> None:
    assert await ours(trading) == (0, 0, False)
    await buy(trading, fill("12", state="final"))
    await buy(trading, fill("4"))
    assert await ours(trading) == (16, 12, False)
    sale = await sell(trading, "8")
    assert await ours(trading) == (8, 4, True)
    part = fill("3", "0.6", side="SELL", state="final")
    await trading.record(sale["exchange_order_id"], "matched", closed=True, fills=[part])
    assert await ours(trading) == (13, 9, False)  # what was not sold is free again


async def test_an_order_that_may_still_bring_shares_is_under_way_until_it_is_closed(trading: Desk) -> None:
    resting = await buy(trading, closed=False)
    assert await ours(trading) == (0, 0, True)
    await trading.record(resting, "cancelled", closed=True)
    assert await ours(trading) == (0, 0, False)


async def test_only_confirmed_shares_are_sold_and_only_once(trading: Desk) -> None:
    assert (await sell(trading, "1"))["reason"] == "sell_no_position"
    await buy(trading, fill("12"))
    unsettled = await sell(trading, "12")
    assert (unsettled["reason"], unsettled["recorded"]) == ("position_unsettled", False)
    await buy(trading, fill("12", state="final"))
    assert (await sell(trading, "8"))["granted"]
    assert (await sell(trading, "5"))["reason"] == "position_unsettled"
    assert (await sell(trading, "4"))["granted"]
    assert (await sell(trading, "24"))[
        "reason"
    ] == "position_unsettled"  # whether it is sold is not known yet
    assert (await sell(trading, "25"))["reason"] == "sell_no_position"


async def test_a_purchase_that_the_strategy_has_still_to_decide_on_is_under_way(trading: Desk) -> None:
    purchase = await paper(trading, "BUY", "10.00", 1)
    sale = await paper(trading, "SELL", "10.00", 2)
    assert (await holdings(trading, sale))["buying"]
    later = datetime.now(UTC) + timedelta(minutes=1)
    keys = {
        "reason": "wallet_balance_unknown",
        "retry_at": later.isoformat(),
        "expires_at": later.isoformat(),
    }
    await trading.decide(purchase, state="deferred", **keys)
    assert (await holdings(trading, sale))["buying"]
    await trading.execute("update public.lt_decisions set retry_at = now(), expires_at = now()")
    await trading.decide(purchase)
    assert not (await holdings(trading, sale))["buying"]


async def test_a_purchase_that_is_not_the_strategys_to_decide_on_is_awaited_by_nobody(trading: Desk) -> None:
    await paper(trading, "BUY", "10.00", 1, trader_address="0x" + "99" * 20)
    await paper(trading, "BUY", "10.00", 1, created_at=datetime.now(UTC) - timedelta(days=30))
    await paper(trading, "BUY", "10.00", 3)
    assert not (await holdings(trading, await paper(trading, "SELL", "10.00", 2)))["buying"]


async def test_a_sale_waits_for_an_open_purchase_of_its_trader_before_it_and_for_no_other(
    trading: Desk,
) -> None:
    await copied(trading, 1, "12")
    resting = await trading.claim(await paper(trading, "BUY", "6.00", 3, entry_price="0.5015"))
    await trading.record(resting["exchange_order_id"], "live")
    sales: list[Row] = [{"minute": 2}, {"minute": 4, "trader_address": "0x" + "99" * 20}, {"minute": 4}]
    asked = [await holdings(trading, await paper(trading, "SELL", "6.00", **one)) for one in sales]
    assert [held["buying"] for held in asked] == [False, False, True]
    sale = await paper(trading, "SELL", "6.00", 4, entry_price="0.5015")
    waits = await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("12"))
    assert (waits["reason"], waits["recorded"]) == ("position_unsettled", False)
    await trading.record(resting["exchange_order_id"], "cancelled", closed=True)
    assert (await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("12")))["granted"]


async def test_a_sale_that_was_decided_on_before_a_purchase_was_met_is_not_granted(trading: Desk) -> None:
    await copied(trading, 1, "12")
    sale = await paper(trading, "SELL", "6.00", 3, entry_price="0.5015")
    late = await paper(trading, "BUY", "6.00", 2)
    waits = await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("12"))
    assert (waits["reason"], waits["recorded"]) == ("position_unsettled", False)
    await trading.decide(late)
    assert (await trading.claim(sale, expected={"side": "SELL"}, order=exit_of("12")))["granted"]


async def test_of_two_sales_of_the_same_shares_exactly_one_gets_them(trading: Desk) -> None:
    await buy(trading, fill("12", state="final"))
    first, second = await sell(trading, "12"), await sell(trading, "12")
    assert (first["granted"], second["granted"]) == (True, False)
    # The other one is not settled: if the first comes to nothing, it has its turn.
    assert (second["reason"], second["recorded"]) == ("position_unsettled", False)


async def test_a_part_of_shares_that_another_sale_has_taken_of_is_decided_again(trading: Desk) -> None:
    await buy(trading, fill("100", state="final"))
    assert (await sell(trading, "30", unsold_shares="100"))["granted"]
    late = await sell(trading, "42.85", unsold_shares="100")
    assert (late["granted"], late["reason"], late["recorded"]) == (False, "position_unsettled", False)
    assert (late["value"], late["limit"]) == ("100", "70.00")
    assert (await sell(trading, "30", unsold_shares="70"))["granted"]


async def test_more_sold_than_bought_freezes_the_strategy_with_its_numbers(trading: Desk) -> None:
    await buy(trading, fill("12", state="final"))
    lost = await sell(trading, "12")
    await trading.record(lost["exchange_order_id"], "unknown")
    await trading.record(lost["exchange_order_id"], "lost", decided_by="operator")
    again = await sell(trading, "12")
    sold = fill("12", "0.6", side="SELL", state="final")
    answer = await trading.record(again["exchange_order_id"], "matched", closed=True, fills=[sold])
    assert answer["frozen"] is None
    late = fill("12", "0.6", side="SELL", state="final")
    answer = await trading.record(lost["exchange_order_id"], "matched", closed=True, fills=[late])
    assert answer["frozen"] == f"12.00 shares of {TOKEN} more were sold than bought (paper)"
    (switch,) = await trading.rows("select scope, action, mode, reason, actor from public.lt_controls")
    assert switch == {
        "scope": "strategy:LT_ONE",
        "action": "freeze",
        "mode": "paper",
        "reason": answer["frozen"],
        "actor": "ledger",
    }
    assert (await trading.claim(await trading.signal()))["reason"] == "strategy_paused"


async def test_a_hundredth_of_a_share_too_many_is_the_exchanges_rounding(trading: Desk) -> None:
    await buy(trading, fill("12", state="final"))
    sale = await sell(trading, "12")
    sold = fill("12.01", "0.6", side="SELL", state="final")
    answer = await trading.record(sale["exchange_order_id"], "matched", closed=True, fills=[sold])
    assert answer["frozen"] is None


async def test_a_record_that_changes_something_tells_the_capital_and_another_does_not(trading: Desk) -> None:
    claimed = await trading.claim(await trading.signal())
    trade = fill("12", exchange_order_id=order_id())
    first = await trading.record(claimed["exchange_order_id"], "matched", closed=True, fills=[trade])
    assert first["capital"] == await trading.capital()
    assert first["strategy_id"] == "LT_ONE"
    again = await trading.record(claimed["exchange_order_id"], "matched", closed=True, fills=[trade])
    assert again["capital"] is None
