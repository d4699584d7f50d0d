"""Markets that nobody won: every share pays half a dollar, the platform's words stay two, and the books add up."""

from decimal import Decimal

import pytest

from tests.database.test_sql_capital import audit, bought, resolved_by_the_platform, sold
from tests.support.desk import CONDITION, TOKEN, WALLET, Desk, Row, fill

D = Decimal
VOID: Row = {"mode": "paper", "condition_id": CONDITION, "payout": "0.5"}
WON: Row = {"mode": "paper", "condition_id": CONDITION, "winning_token_id": TOKEN, "winning_label": "Yes"}


async def ends(desk: Desk) -> list[tuple[str, str, Decimal]]:
    """Outcome, label and pnl of every order, oldest first."""
    rows = await desk.rows("select outcome, winning_label, pnl from public.lt_orders order by created_at")
    return [(row["outcome"], row["winning_label"], row["pnl"]) for row in rows]


@pytest.mark.parametrize(
    ("price", "word", "pnl"), [("0.40", "WON", "1.00"), ("0.50", "WON", "0"), ("0.51", "LOST", "-0.10")]
)
async def test_a_share_pays_a_half_and_the_word_is_whether_the_order_lost_money(
    trading: Desk, price: str, word: str, pnl: str
) -> None:
    await bought(trading, fill("10", price, state="final"))
    counts = [
        (answer["won"], answer["lost"])
        for answer in [await trading.call("lt_settle_market", VOID) for _ in range(2)]
    ]
    assert counts == [(int(word == "WON"), int(word == "LOST")), (0, 0)]
    assert await ends(trading) == [(word, "VOID", D(pnl))]
    capital = await trading.capital()
    assert (D(capital["realised_usd"]), capital["locked_usd"]) == (D(pnl), "0.00")
    assert capital["cooldown_usd"] == "5.00"
    assert await audit(trading) == []


async def test_a_purchase_and_its_sale_end_together_and_only_what_was_left_is_paid(trading: Desk) -> None:
    await bought(trading, fill("10", "0.40", state="final"))
    await sold(trading, "4", "0.60")
    answer = await trading.call("lt_settle_market", VOID | {"limit": 1})
    assert (answer["won"], answer["more"]) == (1, True)
    # Bought: 10 x 0.50 - 4.00. Sold: 2.40 that would have been paid 4 x 0.50. Together 6 x 0.50 + 2.40 - 4.00.
    assert await ends(trading) == [("WON", "VOID", D("1.00")), ("WON", "VOID", D("0.40"))]
    assert (await trading.capital())["realised_usd"] == "1.40"
    assert await audit(trading) == []


async def test_a_void_that_is_told_of_an_order_that_has_ended_otherwise_changes_nothing_until_a_human_says_so(
    trading: Desk,
) -> None:
    order = await bought(trading, fill("10", "0.60", state="final"))
    await resolved_by_the_platform(trading, order, outcome="WON")
    before = await ends(trading), await trading.capital()
    answer = await trading.call("lt_settle_market", VOID)
    assert (answer["won"], answer["lost"], answer["contradicted"]) == (0, 0, [order["lt_order_id"]])
    assert (await ends(trading), await trading.capital()) == before
    # His word is a row: the order keeps the platform's, and is worth what its market pays.
    await trading.execute(
        "insert into public.lt_void_markets (condition_id, payout) values (%(c)s, 0.5)", c=CONDITION
    )
    assert [end[0] for end in await ends(trading)] == ["WON"]
    assert (await trading.capital())["realised_usd"] == "-1.00"
    assert await audit(trading) == []


async def test_a_void_that_is_told_after_a_winner_gives_no_loser_his_money_back(trading: Desk) -> None:
    order = await bought(trading, fill("10", "0.50", state="final"))
    await trading.call(
        "lt_settle_market", WON | {"winning_token_id": TOKEN[:-1] + "0", "winning_label": "No"}
    )
    lost = await trading.capital()
    assert lost["realised_usd"] == "-5.00"
    assert (await trading.call("lt_settle_market", VOID))["contradicted"] == [order["lt_order_id"]]
    assert await trading.capital() == lost


async def test_a_winner_that_is_told_after_a_void_settles_nothing_that_was_waiting(trading: Desk) -> None:
    order = await bought(trading, fill("10", "0.50"))
    assert (await trading.call("lt_settle_market", VOID))["waiting"] == 1
    answer = await trading.call("lt_settle_market", WON)
    assert (answer["won"], answer["waiting"], answer["contradicted"]) == (0, 0, [order["lt_order_id"]])
    assert (await ends(trading))[0][0] == "OPEN"


async def test_a_winner_that_is_told_of_a_void_market_changes_nothing_and_is_a_contradiction(
    trading: Desk,
) -> None:
    order = await bought(trading, fill("10", "0.40", state="final"))
    await trading.call("lt_settle_market", VOID)
    before = await ends(trading), await trading.capital()
    answer = await trading.call("lt_settle_market", WON)
    assert (answer["won"], answer["contradicted"]) == (0, [order["lt_order_id"]])
    assert (await ends(trading), await trading.capital()) == before


async def test_what_a_void_market_pays_awaits_its_redemption_where_redemptions_are_recorded(
    database: str,
) -> None:
    desk = await Desk.open(database, mode="live")
    await desk.strategy(cooldown_hours=0)
    await desk.ready()
    await desk.execute("update public.lt_config set value = 'recorded' where key = 'redemption'")
    await bought(desk, fill("10", "0.60", state="final"))
    await desk.call("lt_settle_market", VOID | {"mode": "live"})
    assert (await desk.capital())["awaiting_redeem_usd"] == "5.00"
    told = {"wallet_address": WALLET, "condition_id": CONDITION, "redeemed_at": "2026-11-22T00:00:00Z"}
    await desk.call("lt_redeemed", told | {"reference": "0xtx"})
    after = await desk.capital()
    assert (after["awaiting_redeem_usd"], after["available_usd"]) == ("0.00", "999.00")
    await desk.close()
