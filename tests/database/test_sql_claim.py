"""The claim: granted once, refused with a reason and the numbers, whatever runs beside it."""

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.desk import TOKEN, USER, WALLET, Desk, Row, fill, order_id
from tests.support.eventually import eventually
from worker.orders.reasons import SkipReason


async def refused(desk: Desk, signal: str, **changes: Any) -> Row:
    answer = await desk.claim(signal, **changes)
    assert answer["granted"] is False
    SkipReason(answer["reason"])  # a word that the worker knows
    return answer


async def test_a_granted_claim_writes_order_attempt_and_decision_in_one_go(trading: Desk) -> None:
    signal = await trading.signal(source_trade_id="0xtrade")
    answer = await trading.claim(signal)
    assert (answer["granted"], answer["replayed"], answer["attempt_no"]) == (True, False, 1)

    order = await trading.order(answer["lt_order_id"])
    assert {
        key: order[key] for key in ("status", "outcome", "side", "token_id", "is_shadow", "order_id")
    } == {
        "status": "PENDING",
        "outcome": "OPEN",
        "side": "BUY",
        "token_id": TOKEN,
        "is_shadow": True,
        "order_id": answer["exchange_order_id"],
    }
    assert (order["ft_order_id"], str(order["user_id"]), order["source_trade_id"]) == (
        signal,
        USER,
        "paper:0xtrade",
    )
    assert (order["signal_price"], order["signal_size_usd"]) == (Decimal("0.5"), Decimal(6))
    executed = (
        "executed_price",
        "executed_size_usd",
        "shares_bought",
        "fill_rate",
        "first_fill_at",
        "fully_filled_at",
    )
    assert [order[column] for column in executed] == [None] * len(executed)

    attempt = await trading.row("select * from public.lt_order_attempts")
    assert (attempt["state"], attempt["closed_at"], attempt["wallet_address"]) == ("submitting", None, WALLET)
    decision = await trading.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["reason"]) == ("executed", "executed")
    assert (
        decision["received_at"] < decision["decided_at"] < decision["prepared_at"] <= decision["claimed_at"]
    )
    assert await trading.work_ids() == []


async def test_the_answer_holds_the_capital_after_the_reservation(trading: Desk) -> None:
    answer = await trading.claim(await trading.signal(), order={"reserve_usd": "6.12"})
    assert answer["capital"] == await trading.capital()
    assert answer["capital"]["available_usd"] == "993.88"
    assert answer["capital"]["exposure_usd"] == answer["capital"]["locked_usd"] == "6.12"


async def test_a_claim_asked_again_with_the_same_id_gets_the_same_answer(trading: Desk) -> None:
    signal, exchange_order_id = await trading.signal(), order_id()
    first = await trading.claim(signal, exchange_order_id=exchange_order_id)
    await trading.execute("update public.lt_strategies set is_paused = true")
    again = await trading.claim(signal, exchange_order_id=exchange_order_id)
    assert (again["granted"], again["replayed"]) == (True, True)
    assert (again["lt_order_id"], again["attempt_no"]) == (first["lt_order_id"], 1)
    assert again["capital"] == first["capital"]


async def test_another_id_for_the_same_pair_is_refused(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.claim(signal)
    again = await refused(trading, signal)
    assert (again["reason"], again["recorded"]) == ("already_executed", False)


async def test_one_id_cannot_serve_two_pairs(trading: Desk) -> None:
    exchange_order_id = order_id()
    await trading.claim(await trading.signal(), exchange_order_id=exchange_order_id)
    with pytest.raises(psycopg.errors.RaiseException, match="was claimed for"):
        await trading.claim(await trading.signal(), exchange_order_id=exchange_order_id)


async def test_two_strategies_each_execute_the_same_signal_once(trading: Desk) -> None:
    await trading.strategy("LT_TWO")
    signal = await trading.signal()
    first, second = await trading.claim(signal), await trading.claim(signal, "LT_TWO")
    assert (first["granted"], second["granted"]) == (True, True)
    assert first["lt_order_id"] != second["lt_order_id"]


@dataclass(frozen=True)
class Refusal:
    """What the claim must answer after `change` was made, or when it is asked with other keys than the right ones."""

    reason: str
    value: str | None
    change: LiteralString = "select"
    claim: Row = field(default_factory=dict)
    recorded: bool = True


def switched(action: LiteralString, scope: LiteralString) -> LiteralString:
    columns: LiteralString = "insert into public.lt_controls (scope, action, reason, actor) values "
    return columns + "('" + scope + "', '" + action + "', 'test', 'pytest')"


REFUSALS = [
    Refusal("kill_switch", "global", switched("kill", "global")),
    Refusal("kill_switch", "strategy:LT_ONE", switched("kill", "strategy:LT_ONE")),
    Refusal("kill_switch", f"wallet:{WALLET}", switched("kill", "wallet:" + WALLET)),
    Refusal("strategy_paused", "global", switched("pause", "global")),
    Refusal("strategy_paused", "strategy", "update public.lt_strategies set is_paused = true"),
    Refusal("strategy_inactive", None, "update public.lt_strategies set is_active = false"),
    Refusal(
        "breaker_active",
        "0.2500",
        "update public.lt_strategies set circuit_breaker_active = true, current_drawdown_pct = 0.25",
    ),
    Refusal("ft_not_open", "WON", "update public.ft_orders set outcome = 'WON'"),
    Refusal("ft_not_open", "missing", "delete from public.ft_orders", recorded=False),
    Refusal(
        "signal_changed",
        '{"entry_price": "0.5200"}',
        "update public.ft_orders set entry_price = 0.52",
        recorded=False,
    ),
    Refusal("signal_changed", '{"side": "BUY"}', claim={"expected": {"side": "SELL"}}, recorded=False),
    Refusal("signal_changed", '{"size": "6.00"}', claim={"expected": {"size": None}}, recorded=False),
    Refusal(
        "wallet_mismatch", WALLET, "update public.lt_strategies set wallet_address = '0x' || repeat('e', 40)"
    ),
    Refusal("above_max_order_size", "6.00", "update public.lt_strategies set max_order_size_usd = 5.99"),
    Refusal("max_position_size", "6.00", "update public.lt_strategies set max_position_size_usd = 5.99"),
    Refusal("max_total_exposure", "6.00", "update public.lt_strategies set max_total_exposure_usd = 5.99"),
    Refusal("insufficient_capital", "6.00", "update public.lt_strategies set initial_capital = 5.99"),
    Refusal("wallet_insufficient_balance", "6.00", "update public.lt_wallets set collateral_usd = 5.99"),
    Refusal("lease_lost", "worker-a 1", claim={"worker": "worker-b"}, recorded=False),
    Refusal("lease_lost", "worker-a 1", claim={"fence": 2}, recorded=False),
    Refusal("lease_lost", "worker-a 1", claim={"fence": None}, recorded=False),
    Refusal("lease_lost", "worker-a 1", "update public.lt_leases set expires_at = now()", recorded=False),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.reason}-{refusal.value}")
async def test_a_claim_is_refused_with_its_reason_and_number(trading: Desk, refusal: Refusal) -> None:
    signal = await trading.signal()
    await trading.execute(refusal.change)
    answer = await refused(trading, signal, **refusal.claim)
    assert (answer["reason"], answer["value"], answer["recorded"]) == (
        refusal.reason,
        refusal.value,
        refusal.recorded,
    )
    assert answer["capital"] == await trading.capital()
    assert (
        await trading.rows("select from public.lt_orders union all select from public.lt_order_attempts")
        == []
    )
    decision = await trading.decision(signal)
    if not refusal.recorded:
        assert decision is None
        return
    assert decision is not None
    assert (decision["state"], decision["reason"]) == ("skipped", refusal.reason)
    assert (decision["value"], decision["limit_value"]) == (answer["value"], answer["limit"])


@pytest.mark.parametrize(
    "limit", ["max_order_size_usd", "max_position_size_usd", "max_total_exposure_usd", "initial_capital"]
)
async def test_a_limit_is_met_exactly_and_null_means_no_limit(trading: Desk, limit: str) -> None:
    await trading.connection.execute(f"update public.lt_strategies set {limit} = 6.00")  # noqa: S608
    assert (await trading.claim(await trading.signal()))["granted"]
    if limit != "initial_capital":
        await trading.connection.execute(f"update public.lt_strategies set {limit} = null")  # noqa: S608
        assert (await trading.claim(await trading.signal()))["granted"]


async def test_shadow_strategies_trade_on_paper_only(database: str) -> None:
    for mode, granted in (("paper", True), ("live", False)):
        desk = await Desk.open(database, mode=mode)
        if mode == "paper":
            await desk.strategy(shadow_mode=True)
        await desk.execute("delete from public.lt_leases")
        await desk.ready()
        answer = await desk.claim(await desk.signal())
        assert answer["granted"] is granted
        assert answer.get("reason") == (None if granted else "shadow_mode")
        await desk.close()


async def test_an_unknown_or_stale_balance_is_no_balance(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.execute("update public.lt_wallets set as_of = now() - interval '61 seconds'")
    answer = await refused(trading, signal)
    assert (answer["reason"], answer["recorded"]) == ("wallet_balance_unknown", False)
    assert (await trading.claim(signal, balance_max_age_s="90"))["granted"]


async def test_a_refusal_for_money_may_be_decided_again_once(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set max_total_exposure_usd = 4")
    signal = await trading.signal()
    first = await refused(trading, signal, may_redecide=True)
    assert (first["reason"], first["limit"], first["recorded"]) == ("max_total_exposure", "4.00", False)
    assert (await trading.claim(signal, bet="4.00"))["granted"]


async def test_an_earlier_skip_stands_and_answers_with_its_own_reason(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.decide(signal, reason="price_moved", value="0.61")
    answer = await refused(trading, signal)
    assert (answer["reason"], answer["value"], answer["recorded"]) == ("price_moved", "0.61", False)


async def test_a_deferred_pair_may_be_claimed(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.decide(signal, state="deferred", reason="market_not_ready", retry_at="2026-01-01T00:00:00Z")
    assert (await trading.claim(signal))["granted"]
    decision = await trading.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["retry_at"], decision["tries"]) == ("executed", None, 2)


async def test_an_order_takes_the_side_of_its_signal_or_is_a_mistake(trading: Desk) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="a SELL order for the BUY signal"):
        await trading.claim(await trading.signal(), order={"side": "SELL"})


async def test_a_reservation_that_does_not_cover_its_order_is_a_mistake(trading: Desk) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="reserve_covers_order"):
        await trading.claim(await trading.signal(), order={"reserve_usd": "5.99"})
    assert await trading.work_ids() != []  # nothing of it stayed


async def test_a_strategy_that_is_gone_is_refused_without_a_trace(trading: Desk) -> None:
    answer = await refused(trading, await trading.signal(), strategy_id="LT_GONE")
    assert (answer["reason"], answer["value"], answer["recorded"]) == ("strategy_inactive", "missing", False)
    assert answer["capital"]["available_usd"] == "0.00"


async def test_a_strategy_does_not_trade_the_signals_of_a_wallet_it_left(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.ft_wallet("FT_TWO")
    await trading.execute("update public.lt_strategies set ft_wallet_id = 'FT_TWO'")
    assert (await refused(trading, signal))["reason"] == "strategy_inactive"


async def test_a_position_is_counted_per_market_over_all_signals(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set max_position_size_usd = 10")
    other_market = "0x" + "c1" * 32
    await trading.claim(await trading.signal())
    assert (
        await trading.claim(
            await trading.signal(condition_id=other_market), expected={"condition_id": other_market}
        )
    )["granted"]
    answer = await refused(trading, await trading.signal())
    assert (answer["reason"], answer["value"], answer["limit"]) == ("max_position_size", "12.00", "10.00")


async def test_a_row_of_another_program_for_the_pair_counts_as_executed(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.execute(
        "insert into public.lt_orders (strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id, condition_id,"
        " token_id, token_label, signal_price, signal_size_usd, order_id, is_shadow)"
        " select 'LT_ONE', %(user)s, order_id::text, wallet_id, source_trade_id, condition_id, '1', 'Yes', 0.5, 6, '0xold', true"
        " from public.ft_orders",
        user=USER,
    )
    answer = await refused(trading, signal)
    assert (answer["reason"], answer["value"]) == ("already_executed", "0xold")
    decision = await trading.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["reason"]) == ("executed", "already_executed")


async def test_a_force_test_that_borrowed_the_trade_does_not_block_it(database: str) -> None:
    desk = await Desk.open(database, mode="live")
    await desk.strategy()
    await desk.ready()
    signal = await desk.signal(source_trade_id="borrowed")
    await desk.execute(
        "insert into public.lt_orders (strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id, condition_id,"
        " token_id, token_label, signal_price, signal_size_usd, is_force_test)"
        " values ('LT_ONE', %(user)s, %(id)s, 'FT_ONE', 'borrowed', '0x', '1', 'Yes', 0.5, 5, true)",
        user=USER,
        id=signal,
    )
    answer = await desk.claim(signal)
    assert answer["granted"]
    order = await desk.order(answer["lt_order_id"])
    assert (order["source_trade_id"], order["is_shadow"]) == (f"ft:{signal}", False)
    await desk.close()


async def test_a_signal_without_a_trade_id_is_named_after_itself(trading: Desk) -> None:
    signal = await trading.signal(source_trade_id=None)
    order = await trading.order((await trading.claim(signal))["lt_order_id"])
    assert order["source_trade_id"] == f"paper:ft:{signal}"


async def test_one_trade_under_two_id_schemes_is_one_order(trading: Desk) -> None:
    same: Row = {"order_time": "2026-11-22T12:00:00Z"}
    first = await trading.signal(source_trade_id="agg-c0c0c0c0c0-Yes", **same)
    await trading.claim(first)
    answer = await refused(trading, await trading.signal(**same))
    assert (answer["reason"], answer["value"]) == ("duplicate_signal", first)


@pytest.mark.parametrize(
    "difference",
    [
        {"source_trade_id": "0x" + "2" * 64},  # the same scheme: another fill of one transaction
        {"source_trade_id": "agg-x", "entry_price": "0.5016", "expected": {"entry_price": "0.5016"}},
        {"source_trade_id": "agg-x", "order_time": "2026-11-22T12:00:06Z"},
        {"source_trade_id": "agg-x", "trader_address": "0x" + "11" * 20},
    ],
)
async def test_trades_that_merely_look_alike_are_both_executed(trading: Desk, difference: Row) -> None:
    same: Row = {"order_time": "2026-11-22T12:00:00Z"}
    await trading.claim(await trading.signal(source_trade_id="0x" + "1" * 64, **same))
    expected = difference.pop("expected", {}) if "expected" in difference else {}
    answer = await trading.claim(await trading.signal(**same | difference), expected=expected)
    assert answer["granted"]


# --- concurrency


async def test_two_parallel_reservations_of_6_on_10_dollars_grant_exactly_one(
    trading: Desk, database: str
) -> None:
    await trading.execute("update public.lt_strategies set initial_capital = 10")
    answers = await claims_at_once(trading, database, [await trading.signal() for _ in range(2)])
    assert sorted(answer["granted"] for answer in answers) == [False, True]
    (lost,) = (answer for answer in answers if not answer["granted"])
    assert (lost["reason"], lost["value"], lost["limit"]) == ("insufficient_capital", "6.00", "4.00")


async def test_two_strategies_cannot_spend_the_same_dollars_of_their_wallet(
    trading: Desk, database: str
) -> None:
    await trading.strategy("LT_TWO")
    await trading.balance("10")
    signal = await trading.signal()
    other = await Desk.open(database)
    other.fence = trading.fence
    answers = await asyncio.gather(trading.claim(signal), other.claim(signal, "LT_TWO"))
    assert sorted(answer["granted"] for answer in answers) == [False, True]
    assert {answer.get("reason") for answer in answers} == {None, "wallet_insufficient_balance"}
    await other.close()


async def test_ten_claims_of_one_pair_at_once_make_one_order(trading: Desk, database: str) -> None:
    signal = await trading.signal()
    answers = await claims_at_once(trading, database, [signal] * 10)
    assert sum(answer["granted"] for answer in answers) == 1
    assert {answer.get("reason") for answer in answers} == {None, "already_executed"}
    assert len(await trading.rows("select 1 from public.lt_order_attempts")) == 1


async def test_a_claim_told_twice_at_once_is_granted_once_and_replayed_once(
    trading: Desk, database: str
) -> None:
    signal, exchange_order_id = await trading.signal(), order_id()
    other = await Desk.open(database)
    other.fence = trading.fence
    answers = await asyncio.gather(
        *(desk.claim(signal, exchange_order_id=exchange_order_id) for desk in (trading, other))
    )
    assert [answer["granted"] for answer in answers] == [True, True]
    assert sorted(answer["replayed"] for answer in answers) == [False, True]
    await other.close()


async def claims_at_once(trading: Desk, database: str, signals: list[str]) -> list[Row]:
    desks = [await Desk.open(database) for _ in signals]
    for desk in desks:
        desk.fence = trading.fence
    try:
        return await asyncio.gather(
            *(desk.claim(signal) for desk, signal in zip(desks, signals, strict=True))
        )
    finally:
        for desk in desks:
            await desk.close()


async def test_a_takeover_of_the_lease_waits_for_a_claim_and_then_sees_its_attempt(
    trading: Desk, database: str
) -> None:
    signal = await trading.signal()
    other = await Desk.open(database)
    await trading.execute(
        "update public.lt_leases set expires_at = clock_timestamp() + interval '300 milliseconds'"
    )

    async def lapsed() -> bool:
        return bool(await trading.rows("select from public.lt_leases where expires_at < clock_timestamp()"))

    async with trading.connection.transaction():
        assert (await trading.claim(signal))["granted"]
        takeover = asyncio.create_task(other.lease(worker="worker-b"))
        await eventually(trading.somebody_waits)
        await eventually(lapsed)
        assert not takeover.done()
    assert (await takeover)["fence"] == 2
    attempts = await other.call("lt_open_attempts", {"mode": "paper", "wallets": [WALLET], "limit": 10})
    assert [attempt["state"] for attempt in attempts["attempts"]] == ["submitting"]
    await other.close()


# --- the wallet's own money


async def test_a_balance_counts_reservations_and_fills_it_has_not_seen_and_no_others(trading: Desk) -> None:
    await trading.balance("20")
    first = await trading.claim(await trading.signal())
    assert (await refused(trading, await trading.signal(), bet="14.01", order={"reserve_usd": "14.01"}))[
        "limit"
    ] == "14.00"

    bought = fill("10", state="final")  # 5.00 of the 6.00
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[bought])
    assert (await refused(trading, await trading.signal(), bet="15.01"))["limit"] == "15.00"

    await trading.balance("15")  # the exchange shows the fill now
    assert (await refused(trading, await trading.signal(), bet="15.01"))["limit"] == "15.00"


async def test_a_provisional_fill_is_never_taken_for_seen(trading: Desk) -> None:
    await trading.balance("20")
    first = await trading.claim(await trading.signal())
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[fill("10")])
    await trading.balance("20")
    assert (await refused(trading, await trading.signal(), bet="15.01"))["limit"] == "15.00"


# --- exits


async def bought(desk: Desk, *, state: str) -> None:
    claimed = await desk.claim(await desk.signal())
    await desk.record(claimed["exchange_order_id"], "matched", closed=True, fills=[fill("12", state=state)])


async def sell(desk: Desk, shares: str) -> Row:
    signal = await desk.signal(side="SELL")
    order = {
        "side": "SELL",
        "amount_usd": None,
        "shares": shares,
        "reserve_usd": "0",
        "reserve_shares": shares,
    }
    return await desk.claim(signal, expected={"side": "SELL"}, order=order)


async def test_only_confirmed_shares_are_sold_and_only_once(trading: Desk) -> None:
    assert (await sell(trading, "1"))["reason"] == "sell_no_position"
    await bought(trading, state="provisional")
    unsettled = await sell(trading, "12")
    assert (unsettled["reason"], unsettled["recorded"]) == ("position_unsettled", False)
    await bought(trading, state="final")
    assert (await sell(trading, "8"))["granted"]
    assert (await sell(trading, "5"))["reason"] == "position_unsettled"
    assert (await sell(trading, "4"))["granted"]
    assert (await sell(trading, "24"))["reason"] == "position_unsettled"  # whether it is sold is not known yet
    assert (await sell(trading, "25"))["reason"] == "sell_no_position"


async def test_limits_and_breakers_never_block_an_exit(trading: Desk) -> None:
    await bought(trading, state="final")
    await trading.execute(
        "update public.lt_strategies set circuit_breaker_active = true, max_order_size_usd = 0.01,"
        " max_total_exposure_usd = 0, initial_capital = 0"
    )
    await trading.execute("update public.lt_wallets set as_of = now() - interval '1 day'")
    assert (await sell(trading, "12"))["granted"]


# --- further attempts of one order


async def test_a_retake_is_a_further_attempt_of_the_same_order(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "killed")
    assert (await trading.order(first["lt_order_id"]))["status"] == "CANCELLED"
    second = await trading.claim(signal, lt_order_id=first["lt_order_id"])
    assert (second["granted"], second["attempt_no"], second["lt_order_id"]) == (True, 2, first["lt_order_id"])
    order = await trading.order(first["lt_order_id"])
    assert (order["status"], order["outcome"]) == ("PENDING", "OPEN")
    assert order["order_id"] == first["exchange_order_id"]  # set once
    assert (await trading.capital())["locked_usd"] == "6.00"


async def test_a_retake_waits_for_the_attempt_that_may_still_trade(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "unknown")
    answer = await refused(trading, signal, lt_order_id=first["lt_order_id"])
    assert (answer["reason"], answer["value"], answer["recorded"]) == (
        "already_executed",
        first["exchange_order_id"],
        False,
    )


async def test_a_retake_of_a_settled_order_is_refused(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[fill("4")])
    await trading.execute("update public.lt_orders set outcome = 'WON', pnl = 2, resolved_at = now()")
    answer = await refused(trading, signal, lt_order_id=first["lt_order_id"])
    assert (answer["reason"], answer["value"]) == ("already_executed", "WON")


async def test_all_attempts_of_an_order_share_its_limit(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set max_order_size_usd = 6")
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[fill("6")])  # 3.00
    answer = await refused(trading, signal, lt_order_id=first["lt_order_id"], bet="3.01")
    assert (answer["reason"], answer["value"], answer["recorded"]) == ("above_max_order_size", "6.01", False)
    assert (await trading.claim(signal, lt_order_id=first["lt_order_id"], bet="3.00"))["granted"]


async def test_a_further_attempt_needs_an_order_of_the_same_pair(trading: Desk) -> None:
    first = await trading.claim(await trading.signal())
    with pytest.raises(psycopg.errors.RaiseException, match="has no attempt for"):
        await trading.claim(await trading.signal(), lt_order_id=first["lt_order_id"])
