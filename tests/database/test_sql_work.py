"""The work left: every signal in scope without a final decision, and nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.desk import Desk, ago


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


async def test_a_signal_without_a_time_hides_no_other_one_of_its_wallet_from_a_narrow_sweep(
    desk: Desk,
) -> None:
    await desk.strategy()
    new = await desk.signal()
    await desk.signal(created_at=None)
    assert await desk.work_ids(window_s="60") == [new]


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
    answer = await desk.equation()
    assert (answer["unknown_insert_time"], answer["total"]["seen"]) == (1, 0)


@pytest.mark.parametrize("id_", ["no-such", "00000000-0000-4000-8000-000000000000"])
async def test_a_signal_that_does_not_exist_is_null_and_nobodys_work(desk: Desk, id_: str) -> None:
    answer = await desk.call("lt_signal", {"mode": "paper", "ft_order_id": id_})
    assert (answer["signal"], answer["strategy_ids"]) == (None, [])
