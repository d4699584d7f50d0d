"""Trades and what they leave of a reservation: booked once, moved forward, and freed once."""

from decimal import Decimal

import psycopg
import pytest

from tests.support.attempts import FINAL, LOST_BY_HAND, claimed, put
from tests.support.desk import Desk, Row, fill


@pytest.mark.parametrize("state", [state for state in FINAL if state not in {"matched", "cancelled"}])
async def test_a_reservation_is_freed_once_when_the_attempt_is_over(trading: Desk, state: str) -> None:
    attempt = await claimed(trading)
    assert (await trading.capital())["available_usd"] == "994.00"
    await put(trading, attempt["exchange_order_id"], state)
    for _ in range(2):
        assert (await trading.record(attempt["exchange_order_id"], state))["closed"] is True
        assert (await trading.capital())["available_usd"] == "1000.00"


@pytest.mark.parametrize("state", ["matched", "cancelled"])
async def test_a_reservation_is_held_until_every_trade_is_booked(trading: Desk, state: str) -> None:
    attempt = await claimed(trading)
    await put(trading, attempt["exchange_order_id"], state)
    await trading.record(attempt["exchange_order_id"], state, fills=[fill("4")])
    assert (await trading.capital())["locked_usd"] == "6.00"
    await trading.record(attempt["exchange_order_id"], state, closed=True)
    assert (await trading.capital())["locked_usd"] == "2.00"


async def test_a_closed_attempt_is_never_opened_again(trading: Desk) -> None:
    attempt = await claimed(trading)
    await trading.record(attempt["exchange_order_id"], "killed")
    with pytest.raises(psycopg.errors.RaiseException, match="stays closed"):
        await trading.execute("update public.lt_order_attempts set closed_at = null")


async def test_trades_only_move_forward(trading: Desk) -> None:
    attempt = await claimed(trading)
    trade = fill("12")

    async def tell(state: str, **keys: str) -> Row:
        told = trade | {"state": state} | keys
        return await trading.record(attempt["exchange_order_id"], "matched", fills=[told])

    async def booked() -> list[Row]:
        return await trading.rows(
            "select state, shares, fee_usd, settled_at is not null as settled from public.lt_fills"
        )

    assert (await tell("provisional"))["changed"]
    assert (await tell("provisional", fee_usd="0.02"))["changed"]  # the fee is known later
    assert (await tell("final", fee_usd="0.02"))["changed"]
    settled = [{"state": "final", "shares": Decimal(12), "fee_usd": Decimal("0.02"), "settled": True}]
    assert await booked() == settled
    stale = await tell("provisional")
    assert (stale["changed"], stale["conflicts"]) == (False, [])
    contradiction = await tell("reversed")
    assert (contradiction["changed"], contradiction["conflicts"]) == (False, [trade["trade_id"]])
    assert await booked() == settled


@pytest.mark.parametrize("told", [{"shares": "11"}, {"price": "0.49"}, {"fee_usd": "0.5"}])
async def test_a_final_trade_that_is_told_with_other_numbers_contradicts_the_books(
    trading: Desk, told: Row
) -> None:
    attempt = await claimed(trading)
    trade = fill("12", state="final")
    await trading.record(attempt["exchange_order_id"], "matched", fills=[trade])
    for news, conflicts in (
        (trade, []),
        (trade | {"fee_usd": None}, []),
        (trade | {"shares": "12.000"}, []),
        (trade | told, [trade["trade_id"]]),
    ):
        answer = await trading.record(attempt["exchange_order_id"], "matched", fills=[news])
        assert (answer["changed"], answer["conflicts"]) == (False, conflicts)
    (kept,) = await trading.rows("select price, shares, fee_usd from public.lt_fills")
    assert kept == {"price": Decimal("0.5"), "shares": Decimal(12), "fee_usd": Decimal(0)}


@pytest.mark.parametrize("told", [{"side": "SELL"}, {"token_id": "999"}])
async def test_a_trade_of_another_side_or_token_is_not_booked(trading: Desk, told: Row) -> None:
    attempt = await claimed(trading)
    strange = fill("12", state="final") | told
    answer = await trading.record(attempt["exchange_order_id"], "matched", fills=[strange])
    assert (answer["changed"], answer["conflicts"]) == (True, [strange["trade_id"]])  # the state is news
    assert await trading.rows("select from public.lt_fills") == []


async def test_a_trade_at_a_worse_price_than_the_limit_is_booked_and_told(trading: Desk) -> None:
    attempt = await claimed(trading)
    at_limit, worse = fill("4", "0.51"), fill("4", "0.52")
    answer = await trading.record(attempt["exchange_order_id"], "matched", fills=[at_limit, worse])
    assert (answer["worse"], answer["conflicts"]) == ([worse["trade_id"]], [])
    assert len(await trading.rows("select from public.lt_fills")) == 2


async def test_a_reversed_trade_is_taken_out_of_the_order_and_its_capital_comes_back(trading: Desk) -> None:
    attempt = await claimed(trading)
    kept, undone = fill("4"), fill("8")
    await trading.record(attempt["exchange_order_id"], "matched", closed=True, fills=[kept, undone])
    assert (await trading.capital())["locked_usd"] == "6.00"
    answer = await trading.record(
        attempt["exchange_order_id"], "matched", fills=[undone | {"state": "reversed"}]
    )
    assert (answer["status"], answer["changed"]) == ("PARTIAL", True)
    order = await trading.order(attempt["lt_order_id"])
    assert (order["shares_bought"], order["executed_size_usd"]) == (Decimal(4), Decimal(2))
    assert (await trading.capital())["locked_usd"] == "2.00"


async def test_one_trade_with_two_roles_is_two_fills(trading: Desk) -> None:
    attempt = await claimed(trading)
    trade = fill("6")
    await trading.record(
        attempt["exchange_order_id"], "matched", fills=[trade, trade | {"role": "MAKER"}, trade]
    )
    assert len(await trading.rows("select 1 from public.lt_fills")) == 2


async def test_a_fill_of_a_lost_order_is_booked_after_all(trading: Desk) -> None:
    attempt = await claimed(trading)
    await put(trading, attempt["exchange_order_id"], "lost")
    assert (await trading.capital())["available_usd"] == "1000.00"
    answer = await trading.record(
        attempt["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="final")]
    )
    assert (answer["status"], answer["closed"]) == ("FILLED", True)
    assert (await trading.order(attempt["lt_order_id"]))["outcome"] == "OPEN"
    assert (await trading.capital())["locked_usd"] == "6.00"


async def test_an_order_that_was_settled_keeps_its_outcome(trading: Desk) -> None:
    attempt = await claimed(trading)
    trade = fill("12")
    await trading.record(attempt["exchange_order_id"], "matched", closed=True, fills=[trade])
    await trading.execute(
        "update public.lt_orders set outcome = 'WON', pnl = 6, resolved_at = now() - interval '4 hours'"
    )
    await trading.record(attempt["exchange_order_id"], "matched", fills=[trade | {"state": "final"}])
    assert (await trading.order(attempt["lt_order_id"]))["outcome"] == "WON"
    capital = await trading.capital()
    assert (capital["realised_usd"], capital["locked_usd"], capital["available_usd"]) == (
        "6.00",
        "0.00",
        "1006.00",
    )


async def test_proceeds_cool_down_before_they_are_available(trading: Desk) -> None:
    attempt = await claimed(trading)
    await trading.record(
        attempt["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="final")]
    )
    await trading.execute("update public.lt_orders set outcome = 'WON', pnl = 6, resolved_at = now()")
    capital = await trading.capital()
    assert (capital["realised_usd"], capital["cooldown_usd"], capital["available_usd"]) == (
        "6.00",
        "12.00",
        "994.00",
    )


async def test_a_sale_frees_average_cost_and_realises_the_rest(trading: Desk) -> None:
    for price in ("0.40", "0.50"):
        attempt = await claimed(trading)
        await trading.record(
            attempt["exchange_order_id"], "matched", closed=True, fills=[fill("10", price, state="final")]
        )
    signal = await trading.signal(side="SELL")
    order = {"side": "SELL", "amount_usd": None, "shares": "10", "reserve_usd": "0", "reserve_shares": "10"}
    sale = await trading.claim(signal, expected={"side": "SELL"}, order=order)
    sold = fill("10", "0.60", side="SELL", fee_usd="0.10")
    await trading.record(sale["exchange_order_id"], "matched", closed=True, fills=[sold])
    capital = await trading.capital()
    assert capital["locked_usd"] == "4.50"  # ten shares are left at the average of 0.45
    assert capital["realised_usd"] == "1.40"  # 6.00 - 0.10 - 4.50
    assert (capital["cooldown_usd"], capital["available_usd"]) == ("5.90", "991.00")
    assert (await trading.order(sale["lt_order_id"]))["slippage_bps"] == -2000  # better than the base


async def test_capital_adds_up_after_every_step(trading: Desk) -> None:
    async def holds() -> None:
        capital = {key: Decimal(value) for key, value in (await trading.capital()).items()}
        parts = (
            capital["locked_usd"]
            + capital["cooldown_usd"]
            + capital["awaiting_redeem_usd"]
            + capital["available_usd"]
        )
        assert parts == capital["initial_usd"] + capital["realised_usd"]

    attempts = [await claimed(trading) for _ in range(4)]
    await holds()
    trade = fill("7", "0.49")
    steps: list[tuple[int, str, Row]] = [
        (0, "live", {"fills": [trade]}),
        (0, "cancelling", {}),
        (0, "cancelled", {"closed": True, "fills": [trade | {"state": "final"}]}),
        (1, "killed", {}),
        (2, "unknown", {}),
        (2, "lost", LOST_BY_HAND),
        (3, "matched", {"fills": [fill("12")]}),
        (3, "matched", {"closed": True}),
    ]
    for number, state, keys in steps:
        await trading.record(attempts[number]["exchange_order_id"], state, **keys)
        await holds()
    await trading.execute(
        "update public.lt_orders set outcome = 'LOST', pnl = -3.43, resolved_at = now() where status = 'PARTIAL'"
    )
    await holds()
    assert (await trading.capital())["realised_usd"] == "-3.43"
