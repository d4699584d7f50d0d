"""The wallet of a claim: what its balance does not show yet is not spent twice."""

from tests.support.desk import Desk, fill


async def test_a_balance_counts_reservations_and_fills_it_has_not_seen_and_no_others(trading: Desk) -> None:
    await trading.balance("20")
    first = await trading.claim(await trading.signal())
    assert (await trading.refused(await trading.signal(), bet="14.01", order={"reserve_usd": "14.01"}))[
        "limit"
    ] == "14.00"

    bought = fill("10", state="final")  # 5.00 of the 6.00
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[bought])
    assert (await trading.refused(await trading.signal(), bet="15.01"))["limit"] == "15.00"

    await trading.balance("15")  # the exchange shows the fill now
    assert (await trading.refused(await trading.signal(), bet="15.01"))["limit"] == "15.00"


async def test_a_provisional_fill_is_never_taken_for_seen(trading: Desk) -> None:
    await trading.balance("20")
    first = await trading.claim(await trading.signal())
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[fill("10")])
    await trading.balance("20")
    assert (await trading.refused(await trading.signal(), bet="15.01"))["limit"] == "15.00"


async def test_an_unknown_or_stale_balance_is_no_balance(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.execute("update public.lt_wallets set as_of = now() - interval '61 seconds'")
    answer = await trading.refused(signal, balance_max_age_s="60")
    assert (answer["reason"], answer["recorded"]) == ("wallet_balance_unknown", False)
    assert (await trading.claim(signal, balance_max_age_s="90"))["granted"]


async def test_a_clock_that_is_ahead_outdates_nothing_that_is_seen_later(trading: Desk) -> None:
    await trading.balance("1000", age_s=-86_400)
    assert (await trading.balance("7"))["applied"] == 1
    refused = await trading.refused(await trading.signal(), bet="7.01")
    assert (refused["reason"], refused["limit"]) == ("wallet_insufficient_balance", "7.00")
