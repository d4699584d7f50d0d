"""The claim: granted once, refused with a reason and the numbers, whatever runs beside it."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import LiteralString

import psycopg
import pytest

from tests.support.desk import TOKEN, USER, WALLET, Desk, Row, fill, order_id
from worker.orders.strategy import Strategy, parse_strategy


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
    again = await trading.refused(signal)
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
        "lost",
        "insert into public.lt_controls (scope, action, mode, reason, actor) values"
        " ('strategy:LT_ONE', 'breaker', 'paper', 'lost', 'pytest')",
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
    answer = await trading.refused(signal, **refusal.claim)
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


async def test_what_a_bet_rests_on_must_be_what_the_table_says(trading: Desk) -> None:
    signal = await trading.signal(trader_win_rate="0.6100")
    decided_on = {"trader_win_rate": "0.61"}
    for change in (
        "trader_win_rate = 0.62",
        "edge_pct = 0.1085",
        "conviction = 1.50",
        "model_probability = 0.5800",
        "trader_win_rate = null",
    ):
        async with trading.connection.transaction(force_rollback=True):
            await trading.connection.execute(f"update public.ft_orders set {change}")  # noqa: S608
            answer = await trading.refused(signal, expected=decided_on)
            assert (answer["reason"], answer["recorded"]) == ("signal_changed", False)
            assert change.split()[0] in answer["value"]
    # What cannot be a rate was no number to whoever decided.
    await trading.execute(
        "update public.ft_orders set edge_pct = 1.5, model_probability = 5.8, conviction = -1"
    )
    assert (await trading.claim(signal, expected=decided_on))["granted"]


async def test_a_refusal_for_money_may_be_decided_again_once(trading: Desk) -> None:
    await trading.execute("update public.lt_strategies set max_total_exposure_usd = 4")
    signal = await trading.signal()
    first = await trading.refused(signal, may_redecide=True)
    assert (first["reason"], first["limit"], first["recorded"]) == ("max_total_exposure", "4.00", False)
    assert (await trading.claim(signal, bet="4.00"))["granted"]


async def test_an_earlier_skip_stands_and_answers_with_its_own_reason(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.decide(signal, reason="price_moved", value="0.61")
    answer = await trading.refused(signal)
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
    answer = await trading.refused(await trading.signal(), strategy_id="LT_GONE")
    assert (answer["reason"], answer["value"], answer["recorded"]) == ("strategy_inactive", "missing", False)
    assert answer["capital"]["available_usd"] == "0.00"


async def test_a_strategy_does_not_trade_the_signals_of_a_wallet_it_left(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.ft_wallet("FT_TWO")
    await trading.execute("update public.lt_strategies set ft_wallet_id = 'FT_TWO'")
    assert (await trading.refused(signal))["reason"] == "strategy_inactive"


async def test_a_row_of_another_program_for_the_pair_counts_as_executed(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.execute(
        "insert into public.lt_orders (strategy_id, user_id, ft_order_id, ft_wallet_id, source_trade_id, condition_id,"
        " token_id, token_label, signal_price, signal_size_usd, order_id, is_shadow)"
        " select 'LT_ONE', %(user)s, order_id::text, wallet_id, source_trade_id, condition_id, '1', 'Yes', 0.5, 6, '0xold', true"
        " from public.ft_orders",
        user=USER,
    )
    answer = await trading.refused(signal)
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
    answer = await trading.refused(await trading.signal(**same))
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
    answer = await trading.refused(signal, lt_order_id=first["lt_order_id"])
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
    answer = await trading.refused(signal, lt_order_id=first["lt_order_id"])
    assert (answer["reason"], answer["value"]) == ("already_executed", "WON")


async def test_all_attempts_of_an_order_share_its_limit(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "matched", closed=True, fills=[fill("6")])  # 3.00
    await trading.execute("update public.lt_strategies set max_order_size_usd = 5.99")
    answer = await trading.refused(signal, lt_order_id=first["lt_order_id"], bet="3.00")
    assert (answer["reason"], answer["value"], answer["recorded"]) == ("above_max_order_size", "6.00", False)
    await trading.execute("update public.lt_strategies set max_order_size_usd = 6")
    assert (await trading.claim(signal, lt_order_id=first["lt_order_id"], bet="3.00"))["granted"]


async def test_a_further_attempt_needs_an_order_of_the_same_pair(trading: Desk) -> None:
    first = await trading.claim(await trading.signal())
    with pytest.raises(psycopg.errors.RaiseException, match="has no attempt for"):
        await trading.claim(await trading.signal(), lt_order_id=first["lt_order_id"])


@pytest.mark.parametrize("typed", ["FOK\n", "\tfok ", "\r\nFoK\f\v"])
async def test_blanks_around_an_order_type_are_no_change_of_it(trading: Desk, typed: str) -> None:
    await trading.execute("update public.lt_strategies set order_type = %(typed)s", typed=typed)
    loaded = await trading.row("select public.lt_strategies_load('paper') -> 'strategies' -> 0 as row")
    strategy = parse_strategy(loaded["row"])
    assert isinstance(strategy, Strategy)
    assert (await trading.claim(await trading.signal(), settings={"order_type": strategy.order_type}))[
        "granted"
    ]
