"""The equation: what came in is what became of it, and whatever went missing or astray shows."""

import pytest

from tests.support.desk import Desk, ago


async def test_seen_is_the_sum_of_what_became_of_it(trading: Desk) -> None:
    executed, skipped, deferred = [await trading.signal() for _ in range(3)]
    await trading.signal()
    old = await trading.signal(created_at=ago(minutes=1))
    await trading.claim(executed)
    await trading.decide(skipped)
    await trading.decide(deferred, state="deferred", retry_at=ago(seconds=1))
    answer = await trading.equation()
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
    assert (await trading.equation())["total"]["holds"] is True


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
    assert (await trading.equation())["total"]["holds"] is True
    await trading.execute("delete from public.lt_decisions")
    total = (await trading.equation())["total"]
    assert (total["missed"], total["holds"]) == (1, False)


@pytest.mark.parametrize("signal_at", ["null", "now()"])
async def test_a_stray_decision_unbalances_the_equation(trading: Desk, signal_at: str) -> None:
    await trading.decide(await trading.signal())
    assert (await trading.equation())["total"]["holds"] is True
    await trading.connection.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"  # noqa: S608
        f" values ('LT_ONE', gen_random_uuid(), 'paper', 'skipped', 'stray', {signal_at})"
    )
    total = (await trading.equation())["total"]
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
        assert (await desk.equation())["total"]["holds"]
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
    assert (await trading.equation())["total"]["holds"] is False


async def test_one_lost_decision_and_one_stray_do_not_make_up_for_each_other(trading: Desk) -> None:
    lost = await trading.signal()
    for signal in (lost, await trading.signal()):
        await trading.decide(signal)
    await trading.execute("delete from public.lt_decisions where ft_order_id = %(id)s", id=lost)
    await trading.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"
        " values ('LT_ONE', gen_random_uuid(), 'paper', 'skipped', 'stray', now())"
    )
    total = (await trading.equation())["total"]
    assert total["seen"] != total["executed"] + total["skipped"] + total["deferred"] + total["undecided"]


async def test_the_platforms_execution_log_is_a_view_of_the_decisions(trading: Desk) -> None:
    await trading.claim(await trading.signal())
    for reason in ("price_moved", "price_moved", "market_closed"):
        await trading.decide(await trading.signal(), reason=reason)
    rows = await trading.rows("select * from public.lt_execution_log")
    assert sum(row["ft_orders_checked"] for row in rows) == 4
    assert sum(row["executed"] for row in rows) == 1
    assert sum(row["skip_reasons"].get("price_moved", 0) for row in rows) == 2
