"""Marks after trades, the moments of each attempt, and what pruning may forget."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import pytest

from tests.support.desk import TOKEN, WALLET, Desk, Row, fill

PAPER = {"mode": "paper"}
ASKED = PAPER | {"wallets": [WALLET]}


async def as_if(desk: Desk, statement: LiteralString, **values: object) -> None:
    """Time passed, or something was otherwise: past the triggers that hold every other writer."""
    await desk.connection.execute("reset role")
    await desk.connection.execute("set session_replication_role = replica")
    await desk.execute(statement, **values)
    await desk.connection.execute("reset session_replication_role")
    await desk.connection.execute("set role service_role")


async def traded(desk: Desk, *, s_ago: float, token_id: str = TOKEN) -> str:
    """An order that traded then; returns its id on the exchange."""
    claimed = await desk.claim(await desk.signal(), order={"token_id": token_id})
    order_id = str(claimed["exchange_order_id"])
    now = datetime.now(UTC).isoformat()
    trade = fill("12", token_id=token_id)
    await desk.record(order_id, "matched", sent_at=now, answered_at=now, closed=True, fills=[trade])
    await passes(desk, s_ago, order_id)
    return order_id


async def passes(desk: Desk, seconds: float, order_id: str) -> None:
    """So much time, for the trades of an order."""
    await as_if(
        desk,
        "update public.lt_fills set booked_at = booked_at - make_interval(secs => %(s)s),"
        " matched_at = matched_at - make_interval(secs => %(s)s) where exchange_order_id = %(id)s",
        s=seconds,
        id=order_id,
    )


async def due(desk: Desk, **keys: Any) -> tuple[list[str], float | None]:
    answer = await desk.call("lt_marks_due", ASKED | keys)
    wait = answer["next_in_s"]
    return answer["token_ids"], None if wait is None else float(wait)


async def look(desk: Desk, *, bid: str | None = "0.52", ask: str | None = "0.54") -> Row:
    now = datetime.now(UTC).isoformat()
    mark = {"token_id": TOKEN, "taken_at": now, "best_bid": bid, "best_ask": ask}
    return await desk.call("lt_mark", {"marks": [mark]})


async def marks(desk: Desk) -> list[tuple[int, str | None]]:
    rows = await desk.rows("select after_s, markout_bps from public.lt_marks order by fill_seq, after_s")
    return [(row["after_s"], row["markout_bps"] and str(row["markout_bps"])) for row in rows]


# --- marks


async def test_a_trade_is_marked_a_minute_after_it_and_again_after_five(trading: Desk) -> None:
    order_id = await traded(trading, s_ago=30)
    nothing, wait_s = await due(trading)
    assert nothing == []
    assert wait_s == pytest.approx(30, abs=20)
    for seconds, next_one, bid in ((40, 230, "0.52"), (240, None, "0.40")):
        await passes(trading, seconds, order_id)
        await as_if(
            trading, "update public.lt_market_snapshots set taken_at = taken_at - interval '4 minutes'"
        )
        for wanted in ([TOKEN], []):
            found, wait_s = await due(trading)
            assert found == wanted
            assert wait_s == (next_one and pytest.approx(next_one, abs=20))
            await look(trading, bid=bid, ask="0.54")
    assert await marks(trading) == [(60, "600.0"), (300, "-600.0")]


async def test_whoever_comes_too_late_for_a_mark_takes_none(trading: Desk) -> None:
    for s_ago in (95, 370):
        await traded(trading, s_ago=s_ago)
    await look(trading)
    assert (await due(trading))[0] == []
    assert {bps for _, bps in await marks(trading)} == {None}


async def test_only_trades_of_ones_own_wallets_are_marked(trading: Desk) -> None:
    await traded(trading, s_ago=65)
    assert await due(trading, wallets=["0x" + "11" * 20]) == ([], None)
    assert await due(trading, wallets=[]) == ([], None)


async def test_the_most_pressing_tokens_come_first_and_a_page_is_a_page(trading: Desk) -> None:
    for token_id, s_ago in (("1", 61), ("2", 70), ("2", 61)):
        await traded(trading, s_ago=s_ago, token_id=token_id)
    assert (await due(trading))[0] == ["2", "1"]
    assert (await due(trading, limit=1))[0] == ["2"]


async def test_of_half_a_book_nobody_knows_the_middle_and_it_is_not_asked_for_again(trading: Desk) -> None:
    await traded(trading, s_ago=65)
    await look(trading, ask=None)
    assert (await due(trading))[0] == []
    assert {bps for _, bps in await marks(trading)} == {None}


async def test_a_look_that_is_told_twice_is_one(trading: Desk) -> None:
    now = datetime.now(UTC).isoformat()
    told = {"marks": [{"token_id": TOKEN, "taken_at": now, "best_bid": "0.5", "best_ask": "0.6"}]}
    assert [(await trading.call("lt_mark", told))["written"] for _ in range(2)] == [1, 0]


# --- the moments of an attempt


async def test_every_attempt_has_each_of_its_moments(trading: Desk) -> None:
    signal = await trading.signal()
    claimed = await trading.claim(signal)
    sent = datetime.now(UTC)
    await trading.record(
        claimed["exchange_order_id"],
        "matched",
        sent_at=sent.isoformat(),
        answered_at=(sent + timedelta(milliseconds=40)).isoformat(),
        closed=True,
        fills=[fill("12", state="final")],
    )
    (one,) = await trading.rows("select * from public.lt_attempt_stages")
    moments = [
        one[f"{stage}_at"]
        for stage in ("traded", "inserted", "received", "decided", "prepared", "claimed", "sent", "answered")
    ]
    assert None not in moments
    assert moments[0] < moments[1]
    assert moments[2:] == sorted(moments[2:])
    assert one["filled_at"] is not None
    assert one["settled_at"] is not None
    (whole,) = await trading.rows("select * from public.lt_stages")
    assert {name: whole[name] for name in ("sent_at", "answered_at", "filled_at", "settled_at")} == {
        name: one[name] for name in ("sent_at", "answered_at", "filled_at", "settled_at")
    }


async def test_an_order_is_settled_when_the_last_of_its_attempts_is(trading: Desk) -> None:
    signal = await trading.signal()
    claimed = await trading.claim(signal)
    now = datetime.now(UTC).isoformat()
    half = {"sent_at": now, "answered_at": now, "closed": True}
    await trading.record(claimed["exchange_order_id"], "matched", fills=[fill("6", state="final")], **half)
    again = await trading.claim(signal, lt_order_id=claimed["lt_order_id"], bet="3.00", last_attempt_no=1)
    assert again["granted"], again
    await trading.record(again["exchange_order_id"], "matched", fills=[fill("6")], **half)
    attempts = await trading.rows("select * from public.lt_attempt_stages order by attempt_no")
    (whole,) = await trading.rows("select * from public.lt_stages")
    assert [one["settled_at"] is None for one in (*attempts, whole)] == [False, True, True]
    assert whole["sent_at"] == attempts[0]["sent_at"]
    assert whole["filled_at"] == attempts[0]["filled_at"]
    assert attempts[1]["decided_at"] is not None


# --- pruning


async def skipped(desk: Desk, *, days_ago: float, reason: str = "price_moved") -> str:
    signal = await desk.signal()
    await desk.decide(signal, reason=reason)
    await as_if(
        desk,
        "update public.lt_decisions set signal_at = now() - make_interval(secs => %(s)s),"
        " updated_at = now() - make_interval(secs => %(s)s) where ft_order_id = %(id)s",
        s=days_ago * 86400,
        id=signal,
    )
    await desk.execute(
        "update public.ft_orders set created_at = now() - make_interval(secs => %(s)s) where order_id = %(id)s",
        s=days_ago * 86400,
        id=signal,
    )
    return signal


async def kept(desk: Desk) -> set[str]:
    return {str(row["ft_order_id"]) for row in await desk.rows("select ft_order_id from public.lt_decisions")}


@pytest.fixture
async def old(trading: Desk) -> Desk:
    """A year of everything: money that is open, money that is settled, skips, marks."""
    desk = trading
    await desk.execute("update public.lt_strategies set is_active = false")
    await desk.execute("update public.lt_strategies set is_active = true")
    await traded(desk, s_ago=65)
    await look(desk)
    by_shares = {"order_type": "GTC", "amount_usd": None, "shares": "11"}
    resting = await desk.claim(await desk.signal(), order=by_shares)
    assert resting["granted"], resting
    await as_if(
        desk,
        "update public.lt_decisions set signal_at = now() - interval '1 year', updated_at = now() - interval '1 year'",
    )
    await as_if(desk, "update public.ft_orders set created_at = now() - interval '1 year'")
    for days in (0, 8, 40, 50, 60):
        await skipped(desk, days_ago=days)
    return desk


async def books(desk: Desk) -> list[Row]:
    """Everything that money and the equation are read from."""
    return [
        *await desk.rows("select * from public.lt_capital_now order by strategy_id, mode"),
        *await desk.rows("select * from public.lt_positions order by strategy_id, token_id"),
        *await desk.rows("select * from public.lt_attempt_totals order by exchange_order_id"),
        *await desk.rows("select * from public.lt_stages where state = 'executed' order by ft_order_id"),
        *(await desk.call("lt_equation", PAPER))["strategies"],
        (await desk.call("lt_funnel", PAPER | {"window_s": str(7 * 86400)}))["total"],
    ]


async def test_pruning_forgets_old_skips_and_changes_no_book_and_no_equation(old: Desk) -> None:
    before, decisions = await books(old), await kept(old)
    answer = await old.call("lt_prune", {})
    assert (answer["decisions"], answer["marks"], answer["more"]) == (3, 0, False)
    assert await books(old) == before
    assert len(decisions - await kept(old)) == 3
    assert await old.rows("select from public.lt_decisions where state = 'executed'")
    assert (await old.call("lt_work", PAPER | {"limit": 100, "window_s": "60", "pairs": 1000}))["work"] == []


async def test_pruning_goes_in_small_steps_until_nothing_is_left(old: Desk) -> None:
    steps = [await old.call("lt_prune", {"limit": 2}) for _ in range(3)]
    assert [(step["decisions"], step["more"]) for step in steps] == [(2, True), (1, False), (0, False)]


async def test_what_a_scope_still_covers_is_kept_or_it_would_be_work_again(old: Desk) -> None:
    since = (datetime.now(UTC) - timedelta(days=45)).isoformat()
    await old.call("lt_scope_open", PAPER | {"strategy_id": "LT_ONE", "since": since})
    assert (await old.call("lt_prune", {}))["decisions"] == 2
    assert (await old.call("lt_work", PAPER | {"limit": 100}))["work"] == []


async def test_nothing_is_forgotten_before_the_horizon_whatever_the_retention_says(old: Desk) -> None:
    await old.execute("update public.lt_config set value = '1 hour' where key = 'retention'")
    await old.execute("update public.lt_config set value = '45 days' where key = 'horizon'")
    assert (await old.call("lt_prune", {}))["decisions"] == 2


async def test_old_marks_are_forgotten_too(old: Desk) -> None:
    await old.execute("update public.lt_market_snapshots set taken_at = now() - interval '31 days'")
    assert (await old.call("lt_prune", {}))["marks"] == 1


# --- the platform's log


async def test_the_execution_log_has_exactly_the_shape_that_the_platform_asked_for(trading: Desk) -> None:
    await trading.claim(await trading.signal())
    await trading.decide(await trading.signal(), reason="price_moved")
    rows = await trading.rows('select * from public.lt_execution_log order by "timestamp"')
    assert {tuple(row) for row in rows} == {
        ("strategy_id", "timestamp", "ft_orders_checked", "executed", "skip_reasons")
    }
    assert all(row["timestamp"].second == 0 for row in rows)
