"""Which orders have something left, and to whom the claim gives another attempt."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.support.desk import WALLET, Desk, Row, fill

ASKED = {
    "wallets": [WALLET],
    "limit": 100,
    "retakes_most": 3,
    "fresh_s": 120,
    "reprices_most": 2,
    "reprice_within_s": 300,
    "unsent_s": 86400,
}


async def remainders(desk: Desk, **changes: Any) -> list[Row]:
    answer = await desk.call("lt_remainders", {"mode": desk.mode, **ASKED, **changes})
    found: list[Row] = answer["remainders"]
    return found


async def killed(desk: Desk) -> Row:
    claimed = await desk.claim(await desk.signal())
    await desk.record(claimed["exchange_order_id"], "killed")
    return claimed


async def test_a_killed_order_has_all_of_its_target_left_until_another_attempt_is_made(trading: Desk) -> None:
    first = await killed(trading)
    (left,) = await remainders(trading)
    assert (left["lt_order_id"], left["attempt_no"], left["attempts"]) == (first["lt_order_id"], 1, 1)
    assert (left["left"], left["left_usd"], left["limit_price"]) == ("6.00", "6.00", "0.51")
    assert await remainders(trading, without=[first["lt_order_id"]]) == []
    assert await remainders(trading, retakes_most=0) == []
    assert await remainders(trading, fresh_s=0) == []
    assert await remainders(trading, wallets=["0x" + "77" * 20]) == []
    signal = left["signal"]["order_id"]
    second = await trading.claim(signal, lt_order_id=first["lt_order_id"], after_attempt=1)
    assert (second["granted"], second["attempt_no"]) == (True, 2)
    assert await remainders(trading) == []
    await trading.record(second["exchange_order_id"], "killed")
    (left,) = await remainders(trading)
    assert (left["attempt_no"], left["attempts"]) == (2, 2)
    late = await trading.refused(signal, lt_order_id=first["lt_order_id"], after_attempt=1)
    assert (late["reason"], late["value"]) == ("already_executed", second["exchange_order_id"])


async def test_nobody_goes_on_buying_what_its_trader_has_sold_of_since(trading: Desk) -> None:
    bought_at = datetime.now(UTC) - timedelta(minutes=3)
    purchase = await trading.signal(order_time=bought_at)
    first = await trading.claim(purchase)
    await trading.record(first["exchange_order_id"], "killed")
    sale: Row = {"side": "SELL", "order_time": bought_at + timedelta(seconds=1)}
    for other in ({"order_time": bought_at - timedelta(seconds=1)}, {"trader_address": "0x" + "99" * 20}):
        await trading.signal(**sale | other)
    (left,) = await remainders(trading)
    assert left["lt_order_id"] == first["lt_order_id"]
    await trading.signal(**sale)
    assert await remainders(trading) == []
    late = await trading.refused(purchase, lt_order_id=first["lt_order_id"], after_attempt=1)
    assert (late["reason"], late["value"]) == ("already_executed", "its trader has sold")


async def test_an_order_that_was_refused_for_its_tick_has_all_of_it_left_once(trading: Desk) -> None:
    purchase = await trading.signal()
    first = await trading.claim(purchase)
    words = {"note": "tick_size: breaks minimum tick size", "closed": True}
    await trading.record(first["exchange_order_id"], "rejected", **words)
    (left,) = await remainders(trading)
    assert (left["left"], left["left_usd"], left["is_off_tick"]) == ("6.00", "6.00", True)
    assert (left["attempt_no"], left["attempts"]) == (1, 0)
    second = await trading.claim(purchase, lt_order_id=first["lt_order_id"], after_attempt=1)
    await trading.record(second["exchange_order_id"], "rejected", **words)
    assert await remainders(trading) == []


async def test_an_order_of_which_nothing_went_out_has_used_nothing_up_and_is_all_left_for_a_day(
    trading: Desk,
) -> None:
    purchase = await trading.signal()
    claimed = await trading.claim(purchase)
    lt_order_id = claimed["lt_order_id"]
    await trading.record(claimed["exchange_order_id"], "abandoned", note="restarting: service not ready")
    assert await remainders(trading, unsent_s=0) == []
    for no in (1, 2):  # however often: the exchange has seen none of it
        (left,) = await remainders(trading, fresh_s=0, retakes_most=0)
        assert (left["lt_order_id"], left["attempt_no"], left["attempts"]) == (lt_order_id, no, 0)
        assert (left["left"], left["left_usd"], left["is_unsent"]) == ("6.00", "6.00", True)
        again = await trading.claim(purchase, lt_order_id=lt_order_id, after_attempt=no)
        assert (again["granted"], again["attempt_no"]) == (True, no + 1)
        await trading.record(again["exchange_order_id"], "abandoned")
    await trading.execute("update public.ft_orders set created_at = created_at - interval '25 hours'")
    assert await remainders(trading) == []


async def test_a_further_attempt_that_never_went_out_is_made_again_only_while_the_signal_is_fresh(
    trading: Desk,
) -> None:
    first = await killed(trading)
    signal = (await remainders(trading))[0]["signal"]["order_id"]
    second = await trading.claim(signal, lt_order_id=first["lt_order_id"], after_attempt=1)
    await trading.record(second["exchange_order_id"], "abandoned")
    assert await remainders(trading, fresh_s=0) == []
    assert await remainders(trading, retakes_most=0) == []
    (left,) = await remainders(trading)
    assert (left["attempt_no"], left["attempts"], left["is_unsent"]) == (2, 1, False)


@pytest.mark.parametrize("state", ["rejected", "unknown"])
async def test_an_order_whose_last_attempt_did_not_end_on_the_book_has_nothing_left(
    trading: Desk, state: str
) -> None:
    claimed = await trading.claim(await trading.signal())
    await trading.record(claimed["exchange_order_id"], state)
    assert await remainders(trading) == []


async def test_what_may_still_turn_up_or_was_ended_by_a_human_is_not_tried_again(trading: Desk) -> None:
    await killed(trading)
    await trading.execute("update public.lt_order_attempts set decided_by = 'somebody'")
    assert await remainders(trading) == []
    await trading.execute("update public.lt_order_attempts set decided_by = null")
    assert len(await remainders(trading)) == 1
    await trading.execute("update public.lt_orders set outcome = 'LOST'")
    assert await remainders(trading) == []


async def test_on_paper_what_was_filled_in_part_is_not_taken_again(trading: Desk) -> None:
    """Its offers still stand in the real book."""
    claimed = await trading.claim(await trading.signal())
    fills = [fill("6", state="final")]
    await trading.record(claimed["exchange_order_id"], "matched", closed=True, fills=fills)
    assert await remainders(trading) == []


async def test_a_trade_that_the_chain_refused_leaves_its_dollars_to_be_spent_again(trading: Desk) -> None:
    claimed = await trading.claim(await trading.signal())
    order_id = claimed["exchange_order_id"]
    await trading.record(order_id, "matched", closed=True, fills=[one := fill("12")])
    assert await remainders(trading) == []
    await trading.record(order_id, "matched", closed=True, fills=[one | {"state": "reversed"}])
    (left,) = await remainders(trading)
    assert (left["left"], left["left_usd"]) == ("6.00", "6.00")


GTC = {"order_type": "GTC", "amount_usd": None, "shares": "100", "reserve_usd": "51", "bet_usd": "51"}


async def test_a_further_attempt_is_in_the_unit_of_the_first(trading: Desk) -> None:
    """The strategy's order type may have changed between the two."""
    signal = await trading.signal()
    first = await trading.claim(signal, order=GTC)
    await trading.record(first["exchange_order_id"], "live")
    bought = [fill("10", state="final")]
    await trading.record(first["exchange_order_id"], "cancelled", closed=True, fills=bought)
    further = {"lt_order_id": first["lt_order_id"], "after_attempt": 1}
    refused = await trading.refused(signal, bet="40.00", **further)
    assert refused["value"] == "its target is in shares"
    again = GTC | {"shares": "90", "reserve_usd": "46"}
    assert (await trading.claim(signal, order=again, **further))["granted"]


async def test_attempts_together_may_not_cost_more_than_the_first_one_might(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal, order=GTC)
    await trading.record(first["exchange_order_id"], "live")
    bought = [fill("10", state="final")]  # 5 of 51 dollars
    await trading.record(first["exchange_order_id"], "cancelled", closed=True, fills=bought)
    dearer = GTC | {"shares": "90", "limit_price": "0.511", "reserve_usd": "46.01"}
    further = {"lt_order_id": first["lt_order_id"], "after_attempt": 1}
    refused = await trading.refused(signal, order=dearer, **further)
    assert refused["value"] == "5.00 of 51.00 USD is spent"
    assert (await trading.claim(signal, order=dearer | {"reserve_usd": "46"}, **further))["granted"]


@pytest.mark.parametrize("state", ["abandoned", "rejected"])
async def test_where_nothing_was_taken_another_attempt_may_not_cost_more_than_the_bet_nor_ask_for_more(
    trading: Desk, state: str
) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], state, note="restarting", closed=True)
    further = {"lt_order_id": first["lt_order_id"], "after_attempt": 1}
    assert (await trading.refused(signal, bet="60.00", **further))["value"] == "0.00 of 6.00 USD is spent"
    more = await trading.refused(signal, order={"amount_usd": "6.01", "reserve_usd": "6.00"}, **further)
    assert more["value"] == "0.00 of 6.00 is filled"
    in_shares = await trading.refused(signal, order=GTC, **further)
    assert in_shares["value"] == "its target is in dollars"
    assert (await trading.claim(signal, **further))["granted"]


async def test_an_order_in_shares_of_which_nothing_was_taken_may_buy_more_of_them_for_its_bet(
    trading: Desk,
) -> None:
    """It is decided anew on the tick of now: the same dollars, at a lower price."""
    signal = await trading.signal()
    first = await trading.claim(signal, order=GTC)
    await trading.record(first["exchange_order_id"], "rejected", note="tick_size: no", closed=True)
    further = {"lt_order_id": first["lt_order_id"], "after_attempt": 1}
    lower = GTC | {"shares": "102", "limit_price": "0.5"}
    refused = await trading.refused(signal, order=lower | {"reserve_usd": "51.01"}, **further)
    assert refused["value"] == "0.00 of 51.00 USD is spent"
    assert (await trading.claim(signal, order=lower, **further))["granted"]


@pytest.mark.parametrize("state", ["abandoned", "rejected"])
async def test_a_trade_that_stands_counts_whatever_was_said_of_its_attempt(trading: Desk, state: str) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    bought = [fill("4", state="final")]  # 2 of 6 dollars
    await trading.record(first["exchange_order_id"], state, closed=True, fills=bought)
    further = {"lt_order_id": first["lt_order_id"], "after_attempt": 1}
    assert (await trading.refused(signal, **further))["value"] == "2.00 of 6.00 USD is spent"
    assert (await trading.claim(signal, bet="4.00", **further))["granted"]


async def test_a_new_price_that_never_goes_out_is_tried_no_longer_than_its_call_off_and_its_signal_allow(
    trading: Desk,
) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal, order=GTC)
    await trading.record(first["exchange_order_id"], "live")
    called_off = {"exchange_order_id": first["exchange_order_id"], "why": "reprice"}
    assert (await trading.call("lt_call_off", {"mode": trading.mode, **called_off}))["allowed"]
    await trading.record(first["exchange_order_id"], "cancelled", closed=True)
    (over,) = await remainders(trading)
    for no in (1, 2):
        (left,) = await remainders(trading)
        assert (left["attempt_no"], left["attempts"], left["closed_at"]) == (no, 1, over["closed_at"])
        further = {"lt_order_id": first["lt_order_id"], "after_attempt": no}
        again = await trading.claim(signal, order=GTC, **further)
        await trading.record(again["exchange_order_id"], "abandoned", note="restarting: service not ready")
    assert len(await remainders(trading)) == 1
    await trading.execute("update public.ft_orders set created_at = created_at - interval '25 hours'")
    assert await remainders(trading) == []
    await trading.execute("update public.ft_orders set created_at = created_at + interval '25 hours'")
    assert len(await remainders(trading)) == 1
    since = await trading.row("select max(closed_at) - min(closed_at) as over from public.lt_order_attempts")
    assert await remainders(trading, reprice_within_s=since["over"].total_seconds()) == []


async def test_an_attempt_that_others_came_after_costs_next_to_nothing(trading: Desk) -> None:
    signal = await trading.signal()
    claimed = await trading.claim(signal)
    await trading.record(claimed["exchange_order_id"], "abandoned")
    lt_order_id, touched = claimed["lt_order_id"], []
    for tries in (range(1, 8), range(8, 32)):
        for no in tries:
            claimed = await trading.claim(signal, lt_order_id=lt_order_id, after_attempt=no)
            await trading.record(claimed["exchange_order_id"], "abandoned")
        assert len(await remainders(trading)) == 1
        plans = await trading.rows(
            "explain (analyze, buffers, format json) select public.lt_remainders(%(p)s)",
            p=Jsonb({"mode": trading.mode, **ASKED}),
        )
        plan = plans[0]["QUERY PLAN"][0]["Plan"]
        touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    assert touched[1] < 5 * touched[0], touched
