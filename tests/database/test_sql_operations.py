"""Leases, balances, switches and the questions an operator asks."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.desk import CONDITION, TOKEN, USER, WALLET, Desk, Row


async def lapse(desk: Desk) -> None:
    await desk.execute("update public.lt_leases set expires_at = clock_timestamp()")


# --- leases


async def test_a_lease_is_taken_renewed_and_kept_from_others(desk: Desk) -> None:
    taken = await desk.lease(worker="a")
    renewed = await desk.lease(worker="a", ttl_s="60")
    assert (taken["held"], taken["fence"], renewed["fence"]) == (True, 1, 1)
    assert renewed["expires_at"] > taken["expires_at"]
    refused = await desk.lease(worker="b")
    assert (refused["held"], refused["holder"], refused["holder_mode"]) == (False, "a", "paper")
    assert refused["expires_at"] == renewed["expires_at"]


async def test_the_fence_grows_with_every_change_of_the_holder(desk: Desk) -> None:
    fences = []
    for worker in ("a", "b", "a"):
        fences.append((await desk.lease(worker=worker))["fence"])
        await lapse(desk)
    assert fences == [1, 2, 3]
    assert (await desk.lease(worker="a"))["fence"] == 3  # nobody had it in between


async def test_a_released_lease_is_free_and_its_fence_is_not_given_out_again(desk: Desk) -> None:
    lease = await desk.lease(worker="a")
    release = {"wallet_address": WALLET, "worker": "a", "fence": lease["fence"]}
    assert (await desk.call("lt_lease_release", release | {"fence": 9}))["released"] is False
    assert (await desk.call("lt_lease_release", release))["released"] is True
    assert (await desk.call("lt_lease_release", release))["released"] is False
    assert (await desk.lease(worker="b"))["fence"] == 2


async def test_a_wallet_is_leased_in_one_mode_at_a_time(desk: Desk, database: str) -> None:
    live = await Desk.open(database, mode="live")
    await desk.lease(worker="a")
    refused = await live.lease(worker="a")
    assert (refused["held"], refused["holder_mode"]) == (False, "paper")
    await lapse(desk)
    assert (await live.lease(worker="a"))["fence"] == 2
    await live.close()


async def test_of_many_workers_at_once_one_gets_the_lease(desk: Desk, database: str) -> None:
    desks = [await Desk.open(database) for _ in range(6)]
    answers = await asyncio.gather(*(each.lease(worker=f"w{n}") for n, each in enumerate(desks)))
    assert sum(answer["held"] for answer in answers) == 1
    holders = {answer["holder"] for answer in answers if not answer["held"]}
    assert len(holders) == 1
    for each in desks:
        await each.close()


async def renew(desk: Desk, *wallets: str, worker: str) -> dict[str, Row]:
    asked = {"wallets": wallets, "mode": desk.mode, "worker": worker, "ttl_s": "60"}
    answer = await desk.call("lt_leases", asked)
    return {lease["wallet_address"]: lease for lease in answer["leases"]}


async def test_one_call_renews_what_is_ours_and_tells_who_has_the_rest(desk: Desk) -> None:
    own, foreign, free, lapsed = ("0x" + digits * 20 for digits in ("01", "02", "03", "04"))
    taken = await desk.lease(own, worker="a")
    await desk.lease(lapsed, worker="b")
    await lapse(desk)
    await desk.lease(foreign, worker="b")
    told = await renew(desk, own.upper().replace("0X", "0x"), foreign, free, lapsed, worker="a")
    assert set(told) == {own, foreign}
    assert (told[own]["held"], told[own]["fence"]) == (True, taken["fence"])
    assert told[own]["expires_at"] > taken["expires_at"]
    assert (told[foreign]["held"], told[foreign]["holder"], told[foreign]["holder_mode"]) == (
        False,
        "b",
        "paper",
    )
    assert (await desk.lease(own, worker="b"))["held"] is False


async def test_a_claim_that_takes_its_time_holds_up_no_other_lease(desk: Desk, database: str) -> None:
    busy, quiet = "0x" + "01" * 20, "0x" + "02" * 20
    for wallet in (busy, quiet):
        await desk.lease(wallet, worker="a")
    claiming = await Desk.open(database)
    async with claiming.connection.transaction():
        await claiming.rows("select from public.lt_leases where wallet_address = %(w)s for share", w=busy)
        assert set(await renew(desk, busy, quiet, worker="a")) == {quiet}
    assert set(await renew(desk, busy, quiet, worker="a")) == {busy, quiet}
    await claiming.close()


async def test_addresses_are_one_whatever_their_case(desk: Desk) -> None:
    await desk.lease(WALLET.upper().replace("0X", "0x"), worker="a")
    assert (await desk.lease(worker="b"))["held"] is False


# --- balances


async def test_an_older_balance_never_replaces_a_newer_one(desk: Desk) -> None:
    assert (await desk.balance("10", age_s=1))["applied"] == 1
    assert (await desk.balance("20", age_s=5))["applied"] == 0
    assert (await desk.balance("30"))["applied"] == 1
    assert (await desk.row("select collateral_usd::text as usd from public.lt_wallets"))["usd"] == "30"


# --- switches


async def switch(desk: Desk, action: str, scope: str = "global") -> Row:
    return await desk.call(
        "lt_control", {"scope": scope, "action": action, "reason": "why", "actor": "operator"}
    )


async def test_a_switch_is_set_once_and_cleared_once(desk: Desk) -> None:
    first, second = await switch(desk, "pause"), await switch(desk, "pause")
    assert (first["changed"], second["changed"]) == (True, False)
    cleared, again = await switch(desk, "resume"), await switch(desk, "resume")
    assert (cleared["changed"], cleared["control_ids"], again["changed"]) == (
        True,
        first["control_ids"],
        False,
    )
    row = await desk.row(
        "select reason, actor, cleared_by, cleared_at > created_at as ordered from public.lt_controls"
    )
    assert row == {"reason": "why", "actor": "operator", "cleared_by": "operator", "ordered": True}


async def test_resume_does_not_arm_and_a_scope_does_not_clear_another(desk: Desk) -> None:
    await switch(desk, "kill")
    await switch(desk, "pause", "strategy:LT_ONE")
    assert (await switch(desk, "resume"))["changed"] is False
    assert (await switch(desk, "arm", "strategy:LT_ONE"))["changed"] is False
    assert (await switch(desk, "arm"))["changed"] is True


@pytest.mark.parametrize("scope", ["", "strategy:", "wallet:nobody", "everything"])
async def test_a_scope_that_would_hold_for_nothing_is_refused(desk: Desk, scope: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="scope_known"):
        await switch(desk, "kill", scope)


async def test_an_unknown_action_is_refused(desk: Desk) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="unknown action"):
        await switch(desk, "explode")


# --- what the worker loads


async def test_strategies_come_with_wallet_switches_and_capital(desk: Desk) -> None:
    await desk.strategy(max_total_exposure_usd="250")
    await desk.strategy("LT_TWO")
    await desk.strategy("LT_OFF", is_active=False)
    for scope, action in (("global", "pause"), ("strategy:LT_TWO", "kill"), ("wallet:0xee", "kill")):
        await switch(desk, action, scope)
    first, second = (await desk.call("lt_strategies_load", "paper"))["strategies"]
    assert (first["strategy_id"], first["controls"], second["controls"]) == (
        "LT_ONE",
        ["pause"],
        ["kill", "pause"],
    )
    assert (first["max_total_exposure_usd"], first["slippage_tolerance_pct"]) == ("250.00", "3.000")
    assert (first["max_hold_hours"], first["ft_wallet"]["bet_size"]) == (None, "1.20")
    assert first["capital"]["available_usd"] == "1000.00"


async def test_rows_of_another_program_are_reported_and_our_own_are_not(trading: Desk) -> None:
    await trading.claim(await trading.signal())
    assert (await trading.call("lt_foreign_writers", {"window_s": "300"}))["count"] == 0
    await trading.execute(
        "insert into public.lt_orders (lt_order_id, strategy_id, user_id, ft_wallet_id, source_trade_id, condition_id,"
        " token_id, token_label, signal_price, signal_size_usd, created_at) values"
        " ('fresh', 'LT_ONE', %(u)s, 'FT_ONE', 'x', %(c)s, %(t)s, 'Yes', 0.5, 5, now()),"
        " ('old', 'LT_ONE', %(u)s, 'FT_ONE', 'y', %(c)s, %(t)s, 'Yes', 0.5, 5, now() - interval '1 hour')",
        u=USER,
        c=CONDITION,
        t=TOKEN,
    )
    answer = await trading.call("lt_foreign_writers", {"window_s": "300"})
    assert (answer["count"], [order["lt_order_id"] for order in answer["orders"]]) == (1, ["fresh"])
    # The old executor tries a refused order again in the row that it has.
    await trading.execute("update public.lt_orders set order_placed_at = now() where lt_order_id = 'old'")
    answer = await trading.call("lt_foreign_writers", {"window_s": "300"})
    assert {order["lt_order_id"] for order in answer["orders"]} == {"fresh", "old"}


async def test_a_canary_is_a_row_and_old_ones_are_swept_away(desk: Desk) -> None:
    first = (await desk.call("lt_canary_send", {"worker": "a"}))["canary_id"]
    await desk.execute("update public.lt_canary set sent_at = now() - interval '61 minutes'")
    second = (await desk.call("lt_canary_send", {"worker": "a"}))["canary_id"]
    assert second > first
    assert await desk.rows("select canary_id, worker from public.lt_canary") == [
        {"canary_id": second, "worker": "a"}
    ]


async def test_times_cross_in_utc_whatever_zone_the_server_keeps(desk: Desk) -> None:
    await desk.connection.execute("set timezone = 'Asia/Kolkata'")
    await desk.strategy()
    await desk.signal()
    (item,) = (await desk.work())["work"]
    inserted = datetime.fromisoformat(item["signal"]["created_at"])
    assert inserted.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - inserted) < timedelta(minutes=1)


async def test_now_is_the_time_of_the_answer_and_not_of_the_transaction(desk: Desk) -> None:
    async with desk.connection.transaction():
        first = await desk.call("lt_capital", {"mode": "paper", "strategy_id": "x"})
        await desk.rows("select pg_sleep(0.02)")
        second = await desk.call("lt_capital", {"mode": "paper", "strategy_id": "x"})
    elapsed = datetime.fromisoformat(second["now"]) - datetime.fromisoformat(first["now"])
    assert elapsed >= timedelta(milliseconds=20)
