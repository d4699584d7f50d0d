"""Older work: what a deferral leaves behind, and what a scope would bring if it were opened."""

from tests.support.desk import Desk, Row, ago


async def defer(desk: Desk, signal: str, reason: str) -> None:
    answer = await desk.decide(
        signal, state="deferred", reason=reason, retry_at=ago(seconds=1), decided_at=ago()
    )
    assert answer["written"] == 1


async def test_due_work_says_how_often_and_for_what_it_was_put_off(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_TWO")
    signal = await desk.signal()
    await defer(desk, signal, "market_not_ready")
    await defer(desk, signal, "exchange_disabled")
    (work,) = (await desk.work())["work"]
    assert work["strategy_ids"] == ["LT_ONE", "LT_TWO"]
    assert work["deferrals"] == {"LT_ONE": {"tries": 2, "reason": "exchange_disabled"}}


async def test_the_history_of_a_deferral_has_one_entry_for_each_spell_of_a_reason(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    for reason in (*["market_not_ready"] * 3, *["exchange_disabled"] * 2):
        await defer(desk, signal, reason)
    await desk.decide(signal, reason="signal_stale")
    row = await desk.decision(signal)
    assert row is not None
    assert (row["state"], row["reason"], row["tries"]) == ("skipped", "signal_stale", 6)
    assert [(spell["reason"], spell["tries"]) for spell in row["history"]] == [
        ("market_not_ready", 3),
        ("exchange_disabled", 5),
    ]


async def test_no_writer_can_forget_the_history(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await defer(desk, signal, "market_not_ready")
    await defer(desk, signal, "exchange_disabled")
    await desk.execute("update public.lt_decisions set history = '[]'")
    row = await desk.decision(signal)
    assert row is not None
    assert len(row["history"]) == 1


async def test_a_preview_shows_the_work_of_a_scope_that_it_does_not_open(desk: Desk) -> None:
    await desk.strategy()
    old = [await desk.signal(created_at=ago(days=2, minutes=number)) for number in range(7)]
    scopes = await _scopes(desk)
    preview = {"mode": desk.mode, "limit": 3, "scope": {"since": ago(days=3), "reason": "a look"}}
    seen: list[str] = []
    bookmark = None
    while True:
        answer = await desk.call("lt_work_preview", preview | {"bookmark": bookmark})
        seen += [work["signal"]["order_id"] for work in answer["work"]]
        bookmark = answer["bookmark"]
        if bookmark is None:
            break
    assert seen == old
    assert await _scopes(desk) == scopes
    assert await desk.work_ids() == []


async def test_a_preview_walks_through_every_wallet_once(desk: Desk) -> None:
    for name in ("ONE", "TWO", "THREE"):
        await desk.strategy(f"LT_{name}", ft_wallet_id=f"FT_{name}")
    wanted = {
        await desk.signal(wallet_id=f"FT_{name}", created_at=ago(days=2, minutes=number))
        for name in ("ONE", "TWO", "THREE")
        for number in range(4)
    }
    preview = {"mode": desk.mode, "limit": 3, "scope": {"since": ago(days=3), "reason": "a look"}}
    seen: list[str] = []
    bookmark = None
    for _ in range(20):
        answer = await desk.call("lt_work_preview", preview | {"bookmark": bookmark})
        seen += [work["signal"]["order_id"] for work in answer["work"]]
        bookmark = answer["bookmark"]
        if bookmark is None:
            break
    assert bookmark is None
    assert sorted(seen) == sorted(wanted)


async def test_opening_a_scope_tells_for_how_many_strategies(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_IDLE", is_active=False)
    for scope, opened in (({}, 1), ({"strategy_id": "LT_IDLE"}, 1), ({"strategy_id": "LT_NONE"}, 0)):
        answer = await desk.call("lt_scope_open", {"since": ago(days=3), "reason": "on purpose"} | scope)
        assert answer["opened"] == opened


async def _scopes(desk: Desk) -> list[Row]:
    return await desk.rows("select * from public.lt_scopes order by scope_id")
