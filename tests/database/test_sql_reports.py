"""The figures that all screens share: equal to hand-written SQL, told once, and read by index however much there is."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import sql

from tests.support.desk import WALLET, Desk, Row, fill

PAPER = {"mode": "paper"}


async def lately(desk: Desk) -> str:
    """A signal that whoever has not decided it has missed, however fast this machine is."""
    return await desk.signal(created_at=datetime.now(UTC) - timedelta(seconds=30))


async def trade(
    desk: Desk, *, state: str = "matched", shares: str = "12", strategy_id: str = "LT_ONE", **keys: Any
) -> str:
    """An order of 6 dollars that came to this; returns its id on the exchange."""
    claimed = await desk.claim(await lately(desk), strategy_id)
    now = datetime.now(UTC).isoformat()
    fills = [fill(shares)] if state == "matched" else []
    record = {"sent_at": now, "answered_at": now, "closed": True, "fills": fills} | keys
    await desk.record(claimed["exchange_order_id"], state, **record)
    return str(claimed["exchange_order_id"])


# --- the funnel


@pytest.fixture
async def busy(trading: Desk) -> Desk:
    """Two strategies on one paper wallet, a day's worth of everything, and something older."""
    desk = trading
    await desk.strategy("LT_TWO")
    await trade(desk)
    await trade(desk, shares="4")
    await trade(desk, state="killed")
    await trade(desk, state="rejected", strategy_id="LT_TWO", note="not enough balance")
    for reason in ("price_moved", "price_moved", "signal_too_old"):
        await desk.decide(await lately(desk), reason=reason)
    later = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    await desk.decide(
        await lately(desk), state="deferred", reason="market_not_ready", retry_at=later, expires_at=later
    )
    await desk.decide(
        await desk.signal(created_at=datetime.now(UTC) - timedelta(hours=20)), reason="kill_switch"
    )
    return desk


async def test_the_funnel_is_what_hand_written_sql_counts(busy: Desk) -> None:
    told = await busy.call("lt_funnel", PAPER | {"window_s": "3600"})
    by_state = await busy.rows(
        "select state, count(*) as n from public.lt_decisions where signal_at > now() - interval '1 hour' group by state"
    )
    total = told["total"]
    assert {row["state"]: row["n"] for row in by_state} == {
        name: total[name] for name in ("executed", "skipped", "deferred")
    }
    pairs = await busy.row(
        "select count(*) as n from public.ft_orders, public.lt_strategies where ft_orders.created_at > now() - interval '1 hour'"
    )
    assert (
        total["seen"]
        == pairs["n"]
        == total["executed"] + total["skipped"] + total["deferred"] + total["undecided"]
    )
    assert {one["reason"]: (one["count"], one["share"]) for one in total["skipped_by"]} == {
        "price_moved": (2, "0.6667"),
        "signal_too_old": (1, "0.3333"),
    }
    assert total["deferred_for"] == [{"reason": "market_not_ready", "count": 1}]
    assert total["too_old_share"] == f"{1 / pairs['n']:.4f}"


async def test_the_platforms_own_status_query_gives_the_same_figures(busy: Desk) -> None:
    rows = await busy.rows(
        """
        SELECT
          status,
          COUNT(*) as count,
          ROUND(AVG(EXTRACT(EPOCH FROM (fully_filled_at - order_placed_at))/60), 2) as avg_fill_time_minutes
        FROM lt_orders
        WHERE order_placed_at > NOW() - INTERVAL '1 hour'
        GROUP BY status
        """
    )
    orders = (await busy.call("lt_funnel", PAPER | {"window_s": "3600"}))["total"]["orders"]
    assert {row["status"]: row["count"] for row in rows} == {
        w: n for w, n in orders["by_status"].items() if n
    }
    (filled,) = [row for row in rows if row["status"] == "FILLED"]
    assert orders["average_fill_minutes"] == str(filled["avg_fill_time_minutes"])
    assert (orders["placed"], orders["filled_share"], orders["pending_share"]) == (4, "0.2500", "0.0000")
    assert (orders["bet_usd"], orders["filled_usd"], orders["fill_rate_usd"]) == ("24.00", "8.00", "0.3333")


async def test_the_parts_of_the_strategies_make_the_whole_and_one_can_be_asked_for_alone(busy: Desk) -> None:
    told = await busy.call("lt_funnel", PAPER)
    alone = await busy.call("lt_funnel", PAPER | {"strategy_id": "LT_TWO"})
    (two,) = [one for one in told["strategies"] if one["strategy_id"] == "LT_TWO"]
    assert {name: two[name] for name in alone["total"]} == alone["total"]
    for name in ("seen", "executed", "skipped", "deferred", "undecided", "missed"):
        assert told["total"][name] == sum(one[name] for one in told["strategies"])
    assert told["total"]["orders"]["placed"] == sum(one["orders"]["placed"] for one in told["strategies"])
    assert told["total"]["skipped"] == sum(one["count"] for one in told["total"]["skipped_by"])


async def test_a_decision_that_vanishes_shows_in_the_funnel(busy: Desk) -> None:
    before = (await busy.call("lt_funnel", PAPER))["total"]
    await busy.connection.execute("reset role")
    await busy.execute("delete from public.lt_decisions where reason = 'kill_switch'")
    await busy.connection.execute("set role service_role")
    after = (await busy.call("lt_funnel", PAPER))["total"]
    assert (after["skipped"], after["undecided"]) == (before["skipped"] - 1, before["undecided"] + 1)
    assert (after["missed"], after["holds"]) == (before["missed"] + 1, False)


async def test_latencies_are_of_stages_that_were_reached(busy: Desk) -> None:
    latency = (await busy.call("lt_funnel", PAPER))["latency_ms"]
    assert latency["decided"] == {
        "count": 4, "p50_ms": "100.0", "p95_ms": latency["decided"]["p95_ms"], "p99_ms": latency["decided"]["p99_ms"],
        "max_ms": latency["decided"]["max_ms"],
    }  # fmt: skip
    assert (latency["sent"]["count"], latency["filled"]["count"]) == (4, 2)
    assert "settled" not in latency


# --- status


async def test_what_needs_a_human_is_told_with_what_to_do(trading: Desk) -> None:
    desk = trading
    assert (await desk.call("lt_status", PAPER))["needs_human"] == []
    doubtful = (await desk.claim(await desk.signal()))["exchange_order_id"]
    await desk.record(doubtful, "unknown", note="no answer")
    lost = await trade(desk, state="unknown", closed=False)
    await desk.connection.execute("reset role")
    await desk.execute("alter table public.lt_order_attempts disable trigger lt_order_attempts_guard")
    await desk.execute(
        "update public.lt_order_attempts set state_changed_at = now() - interval '1 hour', sent_at = null"
    )
    await desk.execute(
        "update public.lt_order_attempts set state = 'lost', closed_at = now() where exchange_order_id = %(id)s",
        id=lost,
    )
    await desk.connection.execute("set role service_role")
    await desk.call("lt_control", {"scope": "global", "action": "kill", "reason": "why", "actor": "me"})
    await desk.decide(await desk.signal(), reason="strategy_invalid", value="order_type is 'MARKET'")
    await desk.execute("update public.lt_leases set expires_at = now()")
    told = await desk.call("lt_status", PAPER)
    needs = {one["what"]: one for one in told["needs_human"]}
    assert set(needs) == {"order_unknown", "order_lost", "killed", "settings", "no_worker"}
    assert needs["order_unknown"]["fix"] == f"polycopy-worker resolve {doubtful}"
    assert (needs["killed"]["thing"], needs["killed"]["fix"]) == ("global", "polycopy-worker arm")
    assert (told["standing"], told["attempts"]["unknown"]) == ("down", 1)


async def test_each_strategy_stands_by_the_strongest_of_its_switches(trading: Desk) -> None:
    async def standing() -> str:
        (one,) = (await trading.call("lt_switchboard", PAPER | {"scope": "strategy:LT_ONE"}))["strategies"]
        return str(one["standing"])

    async def switch(action: str, scope: str) -> None:
        await trading.call("lt_control", {"scope": scope, "action": action, "reason": "why", "actor": "me"})

    assert await standing() == "trading"
    await switch("pause", "strategy:LT_ONE")
    assert await standing() == "paused"
    await switch("kill", "global")
    assert await standing() == "killed"
    await switch("resume", "strategy:LT_ONE")
    await switch("arm", "global")
    await trading.execute("update public.lt_leases set expires_at = now()")
    assert await standing() == "no_worker"
    await trading.execute("update public.lt_strategies set is_active = false")
    assert await standing() == "inactive"


# --- orders


async def test_open_and_failed_orders_are_told_apart_however_many_failed(busy: Desk) -> None:
    await trade(busy, closed=False)  # over, and not all of its trades are read
    waiting = await busy.claim(await busy.signal())
    await busy.execute("update public.lt_orders set created_at = now() - interval '9 days' where order_id = %(id)s",
                       id=waiting["exchange_order_id"])  # fmt: skip
    (one,) = (await busy.call("lt_order_list", PAPER | {"which": "open"}))["orders"]
    assert (one["order_id"], one["status"], one["state"]) == (
        waiting["exchange_order_id"],
        "PENDING",
        "submitting",
    )
    assert one["pending_s"] is not None
    attempts = (await busy.call("lt_status", PAPER))["attempts"]
    assert (attempts["open"], attempts["unbooked"]) == (1, 1)
    failed = (await busy.call("lt_order_list", PAPER | {"which": "failed"}))["orders"]
    assert [(order["status"], order["why"]) for order in failed] == [
        ("REJECTED", "not enough balance"),
        ("CANCELLED", ""),
    ]
    page = await busy.call("lt_order_list", PAPER | {"limit": 3})
    assert (len(page["orders"]), page["more"]) == (3, True)
    unbooked, *_ = [order for order in page["orders"] if order["status"] == "FILLED"]
    assert unbooked["pending_s"] is None
    assert not (await busy.call("lt_order_list", {"mode": "live"} | {"strategy_id": "LT_NONE"}))["orders"]


# --- the feed


async def look(desk: Desk, mark: Row | None, **keys: Any) -> tuple[list[tuple[str, str]], Row]:
    """(event, state) of all that is new, and the cursor for the next look."""
    answer = await desk.call("lt_feed", PAPER | {"cursor": mark} | keys)
    return [(one["event"], one["state"]) for one in answer["events"]], answer["cursor"]


async def test_each_event_is_told_once_and_in_order(trading: Desk) -> None:
    news, mark = await look(trading, None)
    assert news == []
    order = await trade(trading)
    news, mark = await look(trading, mark)
    assert news == [("order.decided", "executed"), ("fill.booked", "provisional")]
    (kept,) = await trading.rows("select trade_id, shares::text as shares from public.lt_fills")
    await trading.record(
        order, "matched", fills=[fill(kept["shares"], state="final", trade_id=kept["trade_id"])]
    )
    await trade(trading, state="killed")
    news, mark = await look(trading, mark)
    assert news == [("fill.settled", "final"), ("order.decided", "executed"), ("order.closed", "killed")]
    assert (await look(trading, mark))[0] == []


async def test_what_is_stamped_first_and_committed_last_is_told_all_the_same(
    trading: Desk, database: str
) -> None:
    slow = await Desk.open(database)
    first, second = await trading.signal(), await trading.signal()
    _, mark = await look(trading, None)
    async with slow.connection.transaction():
        await slow.decide(first)
        await trading.decide(second)
        news, mark = await look(trading, mark)
        assert len(news) == 1
    news, mark = await look(trading, mark)
    assert len(news) == 1
    assert (await look(trading, mark))[0] == []
    await slow.close()


async def test_pages_of_the_feed_leave_nothing_out_while_more_comes(trading: Desk) -> None:
    _, mark = await look(trading, None)
    for _ in range(5):
        await trading.decide(await trading.signal())
    seen = []
    for _ in range(5):
        answer = await trading.call("lt_feed", PAPER | {"cursor": mark, "limit": 2})
        seen += [one["ft_order_id"] for one in answer["events"]]
        mark = answer["cursor"]
        if len(seen) == 2:
            await trading.decide(await trading.signal())
    decided = await trading.rows(
        "select ft_order_id::text as id from public.lt_decisions order by updated_at"
    )
    assert seen == [row["id"] for row in decided]


async def test_the_numbers_of_transactions_are_told_apart_across_their_turn(desk: Desk) -> None:
    known = await desk.row(
        """select public.lt_xid8(pg_current_xact_id()::xid, pg_snapshot_xmax(pg_current_snapshot()))::text as now,
                  pg_current_xact_id()::text as is,
                  public.lt_xid8('4294967290', '8589934600')::text as before_the_turn,
                  public.lt_xid8('7', '8589934600')::text as after_it"""
    )
    assert known["now"] == known["is"]
    assert (known["before_the_turn"], known["after_it"]) == (str(2**33 - 6), str(2**33 + 7))


# --- what it costs

CALLS = {
    "lt_feed": {},
    "lt_status": {},
    "lt_order_list": {},
    "lt_explain": {"ft_order_id": "00000000"},
    "lt_funnel": {"window_s": "3600"},
    "lt_metrics": {"window_s": "3600"},
    "lt_execution_audit": {"window_s": "3600"},
}


async def pages(desk: Desk) -> dict[str, int]:
    """How many pages each look touches, when it is asked a second time."""
    touched = {}
    for function, keys in CALLS.items():
        query = sql.SQL("explain (analyze, buffers, format json) select public.{}(%s::jsonb)").format(
            sql.Identifier(function)
        )
        for _ in range(2):
            asked = [json.dumps(PAPER | keys)]
            explained = await (await desk.connection.execute(query, asked)).fetchone()
            assert explained is not None
            plan = explained["QUERY PLAN"][0]["Plan"]
            touched[function] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched


async def test_looks_are_bounded_by_indexes_and_not_by_what_was_ever_decided(trading: Desk) -> None:
    await trading.decide(await trading.signal())
    few = await pages(trading)
    await trading.connection.execute("reset role")
    await trading.connection.execute("set session_replication_role = replica")  # no notices of these
    await trading.execute(
        """insert into public.ft_orders (wallet_id, side, condition_id, token_label, order_time, created_at)
           select 'FT_ONE', 'BUY', '0x01', 'Yes', now(), now() - interval '3 days' - n * interval '1 s'
           from generate_series(1, 20000) n"""
    )
    await trading.execute(
        """insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at, updated_at)
           select 'LT_ONE', order_id, 'paper', 'skipped', 'price_moved', created_at, created_at
           from public.ft_orders where created_at < now() - interval '2 days'"""
    )
    await trading.execute(
        """insert into public.lt_order_attempts (exchange_order_id, lt_order_id, strategy_id, ft_order_id, wallet_address,
             mode, attempt_no, state, order_type, side, token_id, condition_id, limit_price, amount_usd, reserve_usd,
             reserve_shares, exchange_version, signed_body, worker, fence, created_at, closed_at)
           select order_id, order_id, 'LT_ONE', order_id, %(wallet)s, 'paper', 1, 'killed', 'FAK', 'BUY', '7', '0x01', 0.5, 6,
             6, 0, 'std', '{}', 'w', 1, created_at, created_at
           from public.ft_orders where created_at < now() - interval '2 days'""",
        wallet=WALLET,
    )
    await trading.execute("vacuum analyze public.ft_orders, public.lt_decisions, public.lt_order_attempts")
    many = await pages(trading)
    assert {name: count for name, count in many.items() if count > 2 * few[name] + 100} == {}, (few, many)
