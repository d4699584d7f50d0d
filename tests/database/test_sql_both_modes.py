"""One call serves the wallets of money and the purses of shadows: what a worker asks every second it asks once."""

from tests.database.test_sql_shadow import PURSE, claimed, live, switch
from tests.support.desk import TOKEN, WALLET, WORKER, Desk, Row, fill

__all__ = ["live"]  # a fixture

BOTH = {"mode": "live", "wallets": [WALLET, PURSE], "limit": 10}
RESTS = {"order_type": "GTC", "amount_usd": None, "shares": "10", "limit_price": "0.5", "reserve_usd": "6"}


async def test_what_is_asked_about_a_wallet_and_a_purse_is_told_of_each_in_its_own_mode(live: Desk) -> None:
    with_money = await claimed(live, await live.signal(), "live", order=RESTS)
    await switch(live, shadow=True)
    on_paper = await claimed(live, await live.signal(), "paper", order=RESTS)
    told = {with_money["exchange_order_id"]: "live", on_paper["exchange_order_id"]: "paper"}
    for order_id in told:
        await live.record(order_id, "live")

    opened = await live.call("lt_open_attempts", BOTH)
    resting = await live.call("lt_resting", {**BOTH, "older_than_s": "0", "paused": True})
    leases = await live.call("lt_leases", {**BOTH, "worker": WORKER, "ttl_s": "30"})
    assert {row["exchange_order_id"]: row["mode"] for row in opened["attempts"]} == told
    assert {row["exchange_order_id"]: row["mode"] for row in resting["resting"]} == told
    assert {row["wallet_address"]: row["held"] for row in leases["leases"]} == {WALLET: True, PURSE: True}

    for order_id, mode in told.items():
        await live.call("lt_call_off", {"mode": mode, "exchange_order_id": order_id, "why": "reprice"})
        await live.record(order_id, "cancelled", closed=True)
    within = {"fresh_s": "60", "reprice_within_s": "60", "unsent_s": "60"}
    policy = {"retakes_most": 3, "reprices_most": 3, **within}
    left = await live.call("lt_remainders", {**BOTH, **policy})
    assert {row["wallet_address"]: row["mode"] for row in left["remainders"]} == {
        WALLET: "live",
        PURSE: "paper",
    }


async def test_a_kill_of_the_wallet_calls_off_what_rests_for_a_shadow_that_names_it(live: Desk) -> None:
    await switch(live, shadow=True)
    on_paper = await claimed(live, await live.signal(), "paper", order=RESTS)
    await live.record(on_paper["exchange_order_id"], "live")
    ask = {**BOTH, "older_than_s": "3600", "paused": True}
    assert (await live.call("lt_resting", ask))["resting"] == []
    switched = {"scope": f"wallet:{WALLET}", "action": "kill", "reason": "wrong", "actor": "operator"}
    await live.call("lt_control", {"mode": "live", **switched})
    (resting,) = (await live.call("lt_resting", ask))["resting"]
    assert (resting["wallet_address"], resting["halt"]) == (PURSE, "kill")


async def test_who_holds_the_wallet_and_not_the_purse_still_decides_what_was_there_before(live: Desk) -> None:
    before = await live.signal()
    await switch(live, shadow=True)
    within = await live.signal()
    purse, wallet = ({"strategy_id": "LT_ONE", "mode": mode} for mode in ("paper", "live"))
    for bounds in ({"window_s": "900"}, {}):
        assert await live.work_ids(without=[purse], **bounds) == [before]
        assert await live.work_ids(without=[wallet], **bounds) == [within]
        assert await live.work_ids(without=[wallet, purse], **bounds) == []


async def test_live_shares_of_a_strategy_that_became_a_shadow_need_a_human(live: Desk) -> None:
    bought = await claimed(live, await live.signal(), "live")
    await live.record(bought["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="final")])

    async def stranded() -> list[Row]:
        needs = (await live.call("lt_status", {"mode": "live"}))["needs_human"]
        return [one for one in needs if one["what"] == "stranded"]

    assert await stranded() == []
    await switch(live, shadow=True)
    (told,) = await stranded()
    assert told["why"].startswith('12.00 live shares of Yes in "0x')
    assert TOKEN in told["why"]
    # What a human may do about it, and what comes of each.
    for words in (
        "set shadow_mode = false where strategy_id = 'LT_ONE'",
        "until the market ends: nothing",
        f"sell them on the exchange's website from wallet {WALLET}",
    ):
        assert words in told["fix"]
