"""Scopes: which signals are a strategy's, by the times for which it answered for a wallet."""

from datetime import timedelta

import psycopg
import pytest

from tests.support.desk import Desk, Row, ago


async def scopes(desk: Desk) -> list[Row]:
    return await desk.rows("select * from public.lt_scopes order by scope_id")


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
    assert (await desk.equation())["total"]["seen"] == 0


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
    assert (await desk.equation())["total"]["seen"] == 1


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
    assert (await desk.equation())["total"]["seen"] == 1


async def test_a_scope_opened_long_ago_is_cut_at_the_horizon(desk: Desk) -> None:
    await desk.strategy(is_active=False)
    await desk.execute(
        "insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, reason, opened_at)"
        " values ('LT_ONE', 'FT_ONE', now() - interval '30 days', 'test', now() - interval '8 days')"
    )
    await desk.signal(created_at=ago(days=7, minutes=1))
    near = await desk.signal(created_at=ago(days=6, hours=23))
    assert await desk.work_ids() == [near]
