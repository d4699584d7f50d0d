"""Scope, work left and decisions: no signal falls between them, and none is decided twice."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.desk import Desk, Row


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat()


async def scopes(desk: Desk) -> list[Row]:
    return await desk.rows("select * from public.lt_scopes order by scope_id")


async def equation(desk: Desk) -> Row:
    return await desk.call("lt_equation", {"mode": desk.mode})


# --- scope


async def test_activation_opens_a_scope_that_looks_back_by_its_setting(desk: Desk) -> None:
    await desk.strategy(is_active=False)
    assert await scopes(desk) == []
    await desk.execute("update public.lt_strategies set is_active = true")
    (scope,) = await scopes(desk)
    assert (scope["strategy_id"], scope["ft_wallet_id"], scope["reason"]) == ("LT_ONE", "FT_ONE", "activated")
    assert abs(scope["opened_at"] - scope["scope_from"] - timedelta(hours=24)) < timedelta(seconds=1)
    assert scope["scope_to"] is None


async def test_deactivation_closes_the_scope_and_pausing_does_not(desk: Desk) -> None:
    await desk.strategy()
    await desk.execute("update public.lt_strategies set is_paused = true, shadow_mode = true")
    assert [scope["scope_to"] for scope in await scopes(desk)] == [None]
    await desk.execute("update public.lt_strategies set is_active = false")
    (scope,) = await scopes(desk)
    assert scope["scope_to"] is not None


async def test_another_wallet_is_another_scope_and_does_not_inherit_the_past(desk: Desk) -> None:
    await desk.strategy()
    await desk.ft_wallet("FT_TWO")
    await desk.execute("update public.lt_strategies set ft_wallet_id = 'FT_TWO'")
    old, new = await scopes(desk)
    assert (old["ft_wallet_id"], new["ft_wallet_id"], new["reason"]) == ("FT_ONE", "FT_TWO", "wallet changed")
    assert (old["scope_to"] is None, new["scope_to"]) == (False, None)


async def test_a_scope_is_immutable_but_for_its_closing_once(desk: Desk) -> None:
    await desk.strategy()
    for change in ("scope_from = now()", "ft_wallet_id = 'FT_X'", "reason = 'x'"):
        with pytest.raises(psycopg.errors.RaiseException, match="immutable"):
            await desk.connection.execute(f"update public.lt_scopes set {change}")  # noqa: S608
    await desk.execute("update public.lt_scopes set scope_to = now()")
    with pytest.raises(psycopg.errors.RaiseException, match="immutable"):
        await desk.execute("update public.lt_scopes set scope_to = null")
    with pytest.raises(psycopg.errors.RaiseException, match="are kept"):
        await desk.execute("delete from public.lt_scopes")


async def test_a_deleted_strategy_leaves_no_work_behind(desk: Desk) -> None:
    await desk.strategy()
    await desk.signal()
    await desk.execute("delete from public.lt_strategies")
    assert await desk.work_ids() == []
    assert [scope["scope_to"] is None for scope in await scopes(desk)] == [False]
    assert (await equation(desk))["total"]["seen"] == 0


async def test_scope_goes_by_insert_time_and_not_by_the_traders_time(desk: Desk) -> None:
    await desk.strategy()
    late = await desk.signal(order_time=ago(days=3))
    await desk.signal(created_at=ago(hours=25))
    assert await desk.work_ids() == [late]


async def test_backfill_opens_the_past_on_purpose_even_beyond_the_horizon(desk: Desk) -> None:
    await desk.strategy()
    old = await desk.signal(created_at=ago(days=9))
    assert await desk.work_ids() == []
    answer = await desk.call(
        "lt_scope_open", {"strategy_id": None, "since": ago(days=10), "reason": "look back"}
    )
    assert answer["opened"] == 1
    assert await desk.work_ids() == [old]
    assert (await equation(desk))["total"]["seen"] == 1


async def test_backfill_of_one_strategy_leaves_the_others_alone(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_TWO")
    await desk.signal(created_at=ago(days=2))
    await desk.call("lt_scope_open", {"strategy_id": "LT_TWO", "since": ago(days=3)})
    (item,) = (await desk.work())["work"]
    assert item["strategy_ids"] == ["LT_TWO"]


async def test_scopes_that_overlap_count_a_signal_once(desk: Desk) -> None:
    await desk.strategy()
    await desk.signal(created_at=ago(hours=1))
    for days in (1, 2, 3):
        await desk.call("lt_scope_open", {"strategy_id": "LT_ONE", "since": ago(days=days)})
    (item,) = (await desk.work())["work"]
    assert item["strategy_ids"] == ["LT_ONE"]
    assert (await equation(desk))["total"]["seen"] == 1


async def test_a_scope_opened_long_ago_is_cut_at_the_horizon(desk: Desk) -> None:
    await desk.strategy(is_active=False)
    await desk.execute(
        "insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, reason, opened_at)"
        " values ('LT_ONE', 'FT_ONE', now() - interval '30 days', 'test', now() - interval '8 days')"
    )
    await desk.signal(created_at=ago(days=7, minutes=1))
    near = await desk.signal(created_at=ago(days=6, hours=23))
    assert await desk.work_ids() == [near]


# --- work


async def test_work_is_every_undecided_pair_newest_first(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_TWO")
    old, new = await desk.signal(created_at=ago(minutes=5)), await desk.signal()
    await desk.strategy("LT_ELSEWHERE", ft_wallet_id="FT_TWO")
    await desk.decide(old, "LT_ONE")
    work = (await desk.work())["work"]
    assert [(item["signal"]["order_id"], item["strategy_ids"]) for item in work] == [
        (new, ["LT_ONE", "LT_TWO"]),
        (old, ["LT_TWO"]),
    ]


async def test_a_signal_crosses_with_every_column_and_exact_numbers(desk: Desk) -> None:
    await desk.strategy()
    await desk.signal(entry_price="0.5100", size="100.00", trader_win_rate="0.6125", trader_resolved_count=31)
    (item,) = (await desk.work())["work"]
    signal = item["signal"]
    assert (signal["entry_price"], signal["size"], signal["trader_win_rate"]) == (
        "0.5100",
        "100.00",
        "0.6125",
    )
    assert (signal["trader_resolved_count"], signal["conviction"]) == (31, None)
    assert datetime.fromisoformat(signal["created_at"]).utcoffset() == timedelta(0)
    columns = await desk.rows(
        "select attname from pg_attribute where attrelid = 'public.ft_orders'::regclass and attnum > 0"
    )
    assert set(signal) == {column["attname"] for column in columns}


async def test_work_is_paged_and_says_that_there_is_more(desk: Desk) -> None:
    await desk.strategy()
    ids = [await desk.signal(created_at=ago(seconds=10 * n)) for n in range(3)]
    assert (await desk.work_ids(limit=2), (await desk.work(limit=2))["more"]) == (ids[:2], True)
    assert (await desk.work_ids(limit=3), (await desk.work(limit=3))["more"]) == (ids, False)


async def test_a_narrow_sweep_sees_new_signals_and_due_deferrals_only(desk: Desk) -> None:
    await desk.strategy()
    old, deferred, new = (
        await desk.signal(created_at=ago(hours=1)),
        await desk.signal(created_at=ago(hours=2)),
        await desk.signal(),
    )
    await desk.decide(deferred, state="deferred", reason="market_not_ready", retry_at=ago(seconds=1))
    assert await desk.work_ids(window_s="60") == [new, deferred]
    assert await desk.work_ids() == [new, old, deferred]


async def test_a_deferred_pair_is_work_when_it_is_due_or_expired(desk: Desk) -> None:
    await desk.strategy()
    soon, due, expired = [await desk.signal() for _ in range(3)]
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await desk.decide(soon, state="deferred", retry_at=later, expires_at=later)
    await desk.decide(due, state="deferred", retry_at=ago(seconds=1), expires_at=later)
    await desk.decide(expired, state="deferred", retry_at=later, expires_at=ago(seconds=1))
    assert set(await desk.work_ids()) == {due, expired}
    for signal, expected in ((soon, []), (due, ["LT_ONE"])):
        answer = await desk.call("lt_signal", {"mode": "paper", "ft_order_id": signal})
        assert (answer["signal"]["order_id"], answer["strategy_ids"]) == (signal, expected)


async def test_signals_of_an_inactive_strategy_from_its_active_days_are_still_work(desk: Desk) -> None:
    await desk.strategy()
    before = await desk.signal()
    await desk.execute("update public.lt_strategies set is_active = false")
    await desk.signal()
    assert await desk.work_ids() == [before]


async def test_paper_and_live_decide_apart(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await desk.decide(signal)
    assert await desk.work_ids() == []
    assert await desk.work_ids(mode="live") == [signal]


async def test_a_signal_without_insert_time_is_out_of_scope_and_reported(desk: Desk) -> None:
    await desk.strategy()
    await desk.signal(created_at=None)
    assert await desk.work_ids() == []
    answer = await equation(desk)
    assert (answer["unknown_insert_time"], answer["total"]["seen"]) == (1, 0)


@pytest.mark.parametrize("id_", ["no-such", "00000000-0000-4000-8000-000000000000"])
async def test_a_signal_that_does_not_exist_is_null_and_nobodys_work(desk: Desk, id_: str) -> None:
    answer = await desk.call("lt_signal", {"mode": "paper", "ft_order_id": id_})
    assert (answer["signal"], answer["strategy_ids"]) == (None, [])


# --- decisions


async def test_a_late_skip_never_overwrites_an_execution(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.claim(signal)
    assert (await trading.decide(signal))["written"] == 0
    decision = await trading.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["reason"]) == ("executed", "executed")
    with pytest.raises(psycopg.errors.RaiseException, match="executed and final"):
        await trading.execute("update public.lt_decisions set state = 'skipped'")


async def test_a_skip_is_final(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    assert (await desk.decide(signal, reason="price_moved"))["written"] == 1
    assert (await desk.decide(signal, reason="market_closed"))["written"] == 0
    decision = await desk.decision(signal)
    assert decision is not None
    assert (decision["reason"], decision["value"], decision["limit_value"]) == ("price_moved", "0.61", "0.51")


async def test_a_deferral_may_change_and_its_tries_count_each_telling_once(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    first = {
        "state": "deferred",
        "reason": "market_not_ready",
        "retry_at": ago(seconds=9),
        "decided_at": ago(seconds=10),
    }
    second = first | {"retry_at": ago(seconds=1), "decided_at": ago(seconds=2)}
    written = [
        (await desk.decide(signal, received_at=ago(seconds=n), **told))["written"]
        for n, told in enumerate((first, first, second))
    ]
    assert written == [1, 0, 1]
    decision = await desk.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["tries"]) == ("deferred", 2)
    assert (await desk.decide(signal))["written"] == 1
    final = await desk.decision(signal)
    assert final is not None
    assert (final["state"], final["retry_at"], final["expires_at"], final["tries"]) == (
        "skipped",
        None,
        None,
        3,
    )
    assert final["received_at"] == decision["received_at"]


async def test_what_is_unknown_is_counted_and_fails_nobody_elses_decision(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    told = {"state": "skipped", "reason": "price_moved"}
    pairs = [("LT_ONE", signal), ("LT_GONE", signal), ("LT_ONE", str(uuid.uuid4())), ("LT_ONE", "garbage")]
    decisions = [told | {"strategy_id": strategy, "ft_order_id": order} for strategy, order in pairs]
    answer = await desk.call("lt_decide", {"mode": "paper", "decisions": decisions})
    assert (answer["written"], answer["ignored"]) == (1, 3)


async def test_a_pair_that_is_in_no_scope_gets_no_decision(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_ELSEWHERE", ft_wallet_id="FT_TWO")
    signal, ancient = await desk.signal(), await desk.signal(created_at=ago(days=3))
    for strategy_id, ft_order_id in (("LT_ELSEWHERE", signal), ("LT_ONE", ancient)):
        answer = await desk.decide(ft_order_id, strategy_id)
        assert (answer["written"], answer["ignored"]) == (0, 1)
    assert await desk.rows("select from public.lt_decisions") == []


async def test_a_deferral_comes_to_its_end_though_its_scope_did(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await desk.decide(signal, state="deferred", retry_at=ago(seconds=1))
    await desk.connection.execute("reset role")
    await desk.execute("update public.lt_config set value = '0 seconds' where key = 'horizon'")
    await desk.execute("update public.lt_strategies set is_active = false")
    assert await desk.work_ids() == [signal]
    assert (await desk.decide(signal))["written"] == 1


async def test_of_two_words_on_a_pair_in_one_batch_the_last_counts(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    told = {"strategy_id": "LT_ONE", "ft_order_id": signal, "state": "skipped"}
    decisions = [told | {"reason": "price_moved"}, told | {"reason": "market_closed"}]
    answer = await desk.call("lt_decide", {"mode": "paper", "decisions": decisions})
    assert (answer["written"], answer["ignored"]) == (1, 0)
    decision = await desk.decision(signal)
    assert decision is not None
    assert decision["reason"] == "market_closed"


async def test_lt_decide_cannot_execute(desk: Desk) -> None:
    await desk.strategy()
    with pytest.raises(psycopg.errors.RaiseException, match="skipped and deferred only"):
        await desk.decide(await desk.signal(), state="executed")


async def test_batches_that_overlap_do_not_deadlock(desk: Desk, database: str) -> None:
    await desk.strategy()
    signals = [await desk.signal() for _ in range(40)]
    told = [
        {"strategy_id": "LT_ONE", "ft_order_id": signal, "state": "skipped", "reason": "price_moved"}
        for signal in signals
    ]
    desks = [await Desk.open(database) for _ in range(4)]
    answers = await asyncio.gather(
        *(
            each.call("lt_decide", {"mode": "paper", "decisions": told[::step]})
            for each, step in zip(desks, (1, -1, 1, -1), strict=True)
        )
    )
    assert sum(answer["written"] for answer in answers) == 40
    for each in desks:
        await each.close()


# --- the equation


async def test_seen_is_the_sum_of_what_became_of_it(trading: Desk) -> None:
    executed, skipped, deferred = [await trading.signal() for _ in range(3)]
    await trading.signal()
    old = await trading.signal(created_at=ago(minutes=1))
    await trading.claim(executed)
    await trading.decide(skipped)
    await trading.decide(deferred, state="deferred", retry_at=ago(seconds=1))
    answer = await equation(trading)
    (funnel,) = answer["strategies"]
    counts = {
        "seen": 5,
        "executed": 1,
        "skipped": 1,
        "deferred": 1,
        "undecided": 2,
        "missed": 1,
        "holds": False,
    }
    assert funnel == {"strategy_id": "LT_ONE", "mode": "paper"} | counts
    assert answer["total"] == counts
    await trading.decide(old)
    assert (await equation(trading))["total"]["holds"] is True


async def test_since_cuts_every_count_alike(trading: Desk) -> None:
    await trading.decide(await trading.signal(created_at=ago(hours=2)))
    await trading.decide(await trading.signal())
    answer = await trading.call("lt_equation", {"mode": "paper", "since": ago(hours=1)})
    assert {key: answer["total"][key] for key in ("seen", "skipped", "holds")} == {
        "seen": 1,
        "skipped": 1,
        "holds": True,
    }


async def test_a_decision_that_vanished_is_missed(trading: Desk) -> None:
    signal = await trading.signal(created_at=ago(minutes=1))
    await trading.decide(signal)
    assert (await equation(trading))["total"]["holds"] is True
    await trading.execute("delete from public.lt_decisions")
    total = (await equation(trading))["total"]
    assert (total["missed"], total["holds"]) == (1, False)


@pytest.mark.parametrize("signal_at", ["null", "now()"])
async def test_a_stray_decision_unbalances_the_equation(trading: Desk, signal_at: str) -> None:
    await trading.decide(await trading.signal())
    assert (await equation(trading))["total"]["holds"] is True
    await trading.connection.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"  # noqa: S608
        f" values ('LT_ONE', gen_random_uuid(), 'paper', 'skipped', 'stray', {signal_at})"
    )
    total = (await equation(trading))["total"]
    assert total["seen"] != total["executed"] + total["skipped"] + total["deferred"] + total["undecided"]
    assert total["holds"] is False


async def test_the_equation_costs_in_proportion_to_the_signals_even_before_there_are_statistics(
    desk: Desk,
) -> None:
    """A run that has just begun: no table has been analysed, and the planner has only its guesses."""
    await desk.strategy()
    touched: list[int] = []
    for more in (500, 1500):
        await desk.execute(
            """
            with signal as (
              insert into public.ft_orders (order_id, wallet_id, order_time, source_trade_id)
              select gen_random_uuid(), 'FT_ONE', now(), gen_random_uuid()::text
              from generate_series(1, %(more)s)
              returning order_id, created_at
            )
            insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)
            select 'LT_ONE', order_id, %(mode)s, 'skipped', 'price_moved', created_at from signal
            """,
            more=more,
            mode=desk.mode,
        )
        assert (await equation(desk))["total"]["holds"]
        explained = await desk.row(
            "explain (analyze, buffers, format json) select public.lt_equation(jsonb_build_object('mode', %(mode)s::text))",
            mode=desk.mode,
        )
        touched.append(explained["QUERY PLAN"][0]["Plan"]["Shared Hit Blocks"])
    assert (
        touched[1] < 8 * touched[0]
    )  # four times the signals; a quadratic plan touches sixteen times as much


async def test_a_stray_decision_of_a_strategy_that_nobody_knows_unbalances_the_equation(
    trading: Desk,
) -> None:
    await trading.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"
        " values ('LT_NOBODY', gen_random_uuid(), 'paper', 'skipped', 'stray', now())"
    )
    assert (await equation(trading))["total"]["holds"] is False


async def test_one_lost_decision_and_one_stray_do_not_make_up_for_each_other(trading: Desk) -> None:
    lost = await trading.signal()
    for signal in (lost, await trading.signal()):
        await trading.decide(signal)
    await trading.execute("delete from public.lt_decisions where ft_order_id = %(id)s", id=lost)
    await trading.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"
        " values ('LT_ONE', gen_random_uuid(), 'paper', 'skipped', 'stray', now())"
    )
    total = (await equation(trading))["total"]
    assert total["seen"] != total["executed"] + total["skipped"] + total["deferred"] + total["undecided"]


async def test_the_platforms_execution_log_is_a_view_of_the_decisions(trading: Desk) -> None:
    await trading.claim(await trading.signal())
    for reason in ("price_moved", "price_moved", "market_closed"):
        await trading.decide(await trading.signal(), reason=reason)
    rows = await trading.rows("select * from public.lt_execution_log")
    assert sum(row["ft_orders_checked"] for row in rows) == 4
    assert sum(row["executed"] for row in rows) == 1
    assert sum(row["skip_reasons"].get("price_moved", 0) for row in rows) == 2
