"""Whoever is asked about the day, the command, the API, the dashboard or the tables themselves, tells the same totals."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from tests.day.stage import Day
from tests.day.traffic import AT_ORDERS, ENDS, SHADOW, SIGNALS
from worker.orders.reasons import SkipReason
from worker.orders.terms import OrderType
from worker.verbs.words import NOTHING, counted, percent, said, took, usd

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("day")]

FAILED = {"CANCELLED", "REJECTED", "LOST"}
ALIVE = {"submitting", "live", "delayed", "unmatched", "unknown", "cancelling"}
LISTS = ("open_orders", "pending_orders", "failed_orders", "closed_orders")
SAMPLES = 5
TIMES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
SLIPPAGE = ("median_slippage_bps", "p95_slippage_bps")
PURSE = ("available", "locked", "cooldown", "realised", "realised_today")
CAPITAL = ("available", "locked", "cooling down")


@pytest.fixture
def command(day: Day) -> Mapping[str, Any]:
    return dict(day.told["command"])


@pytest.fixture
def api(day: Day) -> Mapping[str, Any]:
    return dict(day.told["api"])


@pytest.fixture
def pages(day: Day) -> Mapping[str, Any]:
    return dict(day.told["pages"])


@pytest.fixture
def by_hand(day: Day) -> Mapping[str, Any]:
    return dict(day.told["sql"])


Told = Mapping[str, Any]


def by_reason(counted: Iterable[Told]) -> dict[str, int]:
    return {one["reason"]: one["count"] for one in counted}


def by_id(orders: Iterable[Told]) -> dict[str, str]:
    return {one["lt_order_id"]: one["status"] for one in orders}


def known(counted: Told) -> dict[str, Any]:
    """Without the words of which there is none."""
    return {word: number for word, number in counted.items() if number}


def check(api: Told, category: str) -> Told:
    (one,) = [each for each in api["diagnostic"]["results"] if each["category"] == category]
    return dict(one)


def summed(points: Iterable[tuple[str, float, str]]) -> Decimal:
    """Of the bars of a chart."""
    return sum((Decimal(str(value)) for _, value, _ in points), Decimal(0))


def test_the_day_has_every_reason_every_type_of_order_and_every_fault(day: Day, by_hand: Told) -> None:
    assert by_hand["signals"] == SIGNALS
    assert {one.reason for one in day.seen} >= set(SkipReason)
    assert set(by_hand["types"]) == {*OrderType, "unknown"}  # the old executor's orders have no attempt
    assert set(by_hand["status"]) == {"FILLED", "PARTIAL", "PENDING", *FAILED}
    assert set(by_hand["states"]) == {"executed", "skipped", "deferred"}
    assert set(by_hand["fills"]) == {"provisional", "final", "reversed"}
    assert set(by_hand["ends"]) >= ENDS
    assert set(day.told["struck"]) >= AT_ORDERS


def test_every_signal_counts_once_for_each_strategy_whoever_counts(
    command: Told, api: Told, pages: Told, by_hand: Told
) -> None:
    total, summary, states = command["audit"]["total"], api["execution-audit"]["summary"], by_hand["states"]
    seen = sum(by_hand["seen"].values())
    assert seen == total["seen"] == summary["total_ft_orders"] == check(api, "FT Orders")["details"]["seen"]
    assert states == {word: total[word] for word in states}
    assert seen == sum(states.values())
    assert total["holds"] is summary["holds"] is True
    assert summary["already_executed"] == states["executed"]
    assert summary["eligible"] == states["deferred"] == command["status"]["deferred"]
    assert summary["skipped"] + summary["too_old"] == states["skipped"]
    assert check(api, "Pending Execution")["details"]["deferred"] == states["deferred"]
    assert f"{states['executed']} of {seen} signals" in pages["tiles"]["executed"]
    assert percent(total["executed_share"]) in pages["tiles"]["executed"]
    bars = pages["charts"]["execution"]
    assert {word: summed(bars[word]) for word in states} == states
    assert command["status"]["last_hour"]["seen"] == by_hand["seen_lately"] < seen
    assert command["audit"]["unknown_insert_time"] == by_hand["timeless"] == 1


def test_the_reasons_are_counted_alike(command: Told, api: Told, pages: Told, by_hand: Told) -> None:
    audit, reasons = command["audit"]["total"], by_hand["reasons"]
    table = {row["key"]: int(row["count"]) for row in pages["tables"]["reasons"]}
    assert reasons == by_reason(audit["skipped_by"]) == api["execution-audit"]["skip_reasons"] == table
    assert reasons["signal_too_old"] == api["execution-audit"]["summary"]["too_old"] > 1
    assert by_hand["deferred_for"] == by_reason(audit["deferred_for"])


def test_each_strategy_is_counted_alike(command: Told, api: Told, pages: Told, by_hand: Told) -> None:
    counted: dict[str, Counter[str]] = {}
    for one in command["audit"]["strategies"]:
        of_it = counted.setdefault(one["strategy_id"], Counter())
        of_it.update({word: one[word] for word in ("seen", "executed", "skipped")})
        of_it["placed"] += one["orders"]["placed"]
    for word in ("seen", "executed", "skipped", "placed"):
        assert known({name: of_it[word] for name, of_it in counted.items()}) == by_hand[word]
    told = {(one["strategy_id"], one["mode"]): one for one in command["audit"]["strategies"]}
    assert {mode for name, mode in told if name == SHADOW} == {"live", "paper"}  # it was none two hours ago
    for one in api["execution-audit"]["strategies"]:
        same = told.pop((one["strategy_id"], one["mode"]))
        parts = one["breakdown"]
        assert (one["total_ft_orders"], one["already_executed"]) == (same["seen"], same["executed"])
        assert parts["skipped"] + parts["too_old"] == same["skipped"]
        assert one["total_ft_orders"] == sum(parts.values())
        (row,) = [each for each in pages["tables"]["by-strategy"] if each["key"] == f"{one['strategy_id']} ({one['mode']})"]  # fmt: skip
        assert (row["seen"], row["placed"]) == (str(same["seen"]), str(same["orders"]["placed"]))
        assert row["executed_share"] == percent(same["executed_share"])
    assert not told


def test_every_order_is_told_with_one_status_wherever_it_is_listed(
    command: Told, api: Told, pages: Told, by_hand: Told
) -> None:
    orders, statuses = by_hand["orders"], by_hand["status"]
    assert by_id(command["orders"]["orders"]) == by_id(api["recent-activity"]["orders"]) == orders
    assert command["orders"]["more"] is api["recent-activity"]["more"] is False
    audit = command["audit"]["total"]["orders"]
    assert known(audit["by_status"]) == statuses == known(check(api, "LT Orders")["details"]["by_status"])
    assert audit["placed"] == len(orders)
    assert f"of {len(orders)} orders" in pages["tiles"]["filled"]
    assert percent(audit["filled_share"]) in pages["tiles"]["filled"]
    assert check(api, "Failed Orders")["details"] == {word: statuses[word] for word in FAILED}
    live = [row for row in pages["tables"]["live"] if row["status"].isupper()]
    listed = {_pair(one): one["status"] for one in command["orders"]["orders"]}
    assert [listed[row["key"]] for row in live] == [row["status"] for row in live] != []


def _pair(one: Told) -> str:
    return f"{one['strategy_id']} {one['mode']} {one['ft_order_id']}"


def test_every_order_of_a_strategy_stands_in_one_list_and_its_figures_are_those_of_the_tables(
    api: Told, by_hand: Told
) -> None:
    listed: list[Told] = []
    for strategy_id, told in api["strategies"].items():
        lists = {name: told[name] for name in LISTS}
        own = [one for each in lists.values() for one in each]
        listed += own
        stats, words = told["stats"], Counter(one["status"] for one in own)
        assert len(own) == stats["attempts"] == by_hand["placed"][strategy_id]
        assert (stats["filled"], stats["partial"]) == (words["FILLED"], words["PARTIAL"])
        assert all(one["status"] in FAILED for one in lists["failed_orders"])
        assert all(one["status"] in {"FILLED", "PARTIAL"} for one in lists["open_orders"])
        assert all(one["why"] for one in lists["failed_orders"] if one["status"] != "CANCELLED")
    assert len(listed) == len(by_id(listed))
    assert by_id(listed) == by_hand["orders"]
    stats = [told["stats"] for told in api["strategies"].values()]
    assert sum(Decimal(one["total_signal_usd"]) for one in stats) == Decimal(by_hand["bet_usd"])
    assert sum(Decimal(one["total_executed_usd"]) for one in stats) == Decimal(by_hand["bought_usd"])
    ours = [one for one in listed if one["state"] is not None]
    shares = sum((Decimal(one["shares_bought"] or 0) for one in ours), Decimal(0))
    assert shares == Decimal(by_hand["bought_shares"])


def test_what_may_still_trade_is_counted_alike(command: Told, api: Told, pages: Told, by_hand: Told) -> None:
    alive = sum(count for state, count in by_hand["attempts"].items() if state in ALIVE)
    attempts = command["status"]["attempts"]
    assert alive == len(command["open"]["orders"]) == attempts["open"] > 0
    assert attempts["by_state"] == by_hand["attempts"]
    assert attempts["unbooked"] == sum(by_hand["attempts"].values()) - alive
    assert f" {alive} " in pages["tiles"]["open"]
    assert check(api, "Order Events")["message"].startswith(
        f"{counted(alive, 'order is', 'orders are')} open"
    )
    of_strategies = {one["strategy_id"]: one["open_orders"] for one in command["status"]["strategies"]}
    listed = Counter(one["strategy_id"] for one in command["open"]["orders"])
    assert known(of_strategies) == listed
    pending = Counter(
        one["strategy_id"]
        for told in api["strategies"].values()
        for one in told["pending_orders"]
        if one["state"] is not None  # the old executor's, of which nobody knows whether it may
    )
    assert pending == listed


def test_dollars_and_types_of_orders_are_counted_alike(command: Told, pages: Told, by_hand: Told) -> None:
    audit = command["audit"]
    orders, bars = audit["total"]["orders"], pages["charts"]["fills"]
    assert (orders["bet_usd"], orders["filled_usd"]) == (by_hand["bet_usd"], by_hand["filled_usd"])
    assert f"{usd(by_hand['filled_usd'])} of {usd(by_hand['bet_usd'])}" in pages["tiles"]["dollars"]
    assert (summed(bars["bet"]), summed(bars["filled"])) == (
        Decimal(by_hand["bet_usd"]),
        Decimal(by_hand["filled_usd"]),
    )
    assert orders["average_fill_minutes"] == by_hand["fill_minutes"]
    types = {one["order_type"]: one["orders"] for one in audit["order_types"]}
    table = {row["key"]: row for row in pages["tables"]["by-order-type"]}
    placed = {word: one["placed"] for word, one in types.items()}
    assert (
        known(placed) == by_hand["types"] == known({word: int(row["placed"]) for word, row in table.items()})
    )
    for word, filled_usd in by_hand["filled_types"].items():
        assert types[word]["filled_usd"] == filled_usd
        assert table[word]["filled_usd"] == usd(filled_usd)


def test_what_was_timed_and_what_needs_a_human_is_counted_alike(
    command: Told, api: Told, pages: Told, by_hand: Told
) -> None:
    latency = command["audit"]["latency_ms"]
    timed = {name: one["count"] for name, one in latency.items()}
    table = {row["key"]: row for row in pages["tables"]["latency"]}
    assert {name: int(row["count"]) for name, row in table.items()} == timed == by_hand["timed"]
    assert timed["insert_to_sent"] + timed.get("insert_to_sent_late", 0) == by_hand["sent"]
    assert {name: [one[key] for key in TIMES] for name, one in latency.items()} == by_hand["latency"]
    for name, times in by_hand["latency"].items():
        assert [table[name][key] for key in TIMES] == list(map(took, times))
    p50, _, p99, _ = by_hand["latency"]["insert_to_sent"]
    assert f"{took(p50)} p50; p99 {took(p99)}" in pages["tiles"]["wire"]
    needs = command["status"]["needs_human"]
    assert len(needs) == len(api["diagnostic"]["recommended_actions"])
    assert f" {len(needs)} " in pages["tiles"]["human"]
    assert sum(one["what"] == "order_lost" for one in needs) == by_hand["ends"]["lost"]


def test_slippage_and_markouts_are_told_alike(command: Told, api: Told, pages: Told, by_hand: Told) -> None:
    audit, tables = command["audit"], pages["tables"]
    orders = {f"{one['strategy_id']} ({one['mode']})": one["orders"] for one in audit["strategies"]}
    orders |= {one["order_type"]: one["orders"] for one in audit["order_types"]}
    table = {row["key"]: row for row in (*tables["by-strategy"], *tables["by-order-type"])}
    assert any(median for median, _ in by_hand["slippage"].values())
    for name, slippage in by_hand["slippage"].items():
        assert [orders[name][key] for key in SLIPPAGE] == slippage
        assert [table[name][key] for key in SLIPPAGE] == list(map(said, slippage))
    for strategy_id, percents in by_hand["percent_slippage"].items():
        stats = api["strategies"][strategy_id]["stats"]
        assert [stats["avg_slippage_pct"], stats["max_slippage_pct"]] == percents
    marks = [one for one in audit["markout"] if one["order_type"] is not None]
    told = {f"{one['order_type']} {one['after_s']}": one["median_bps"] for one in marks}
    assert told == by_hand["markout"] != {}
    for row in tables["by-order-type"]:
        known = {after_s: told.get(f"{row['key']} {after_s}") for after_s in (60, 300)}
        of_it = [f"{bps} bps after {after_s} s" for after_s, bps in known.items() if bps is not None]
        assert row["markout"] == (", ".join(of_it) or NOTHING)


def test_the_capital_of_each_strategy_is_told_alike(command: Told, pages: Told, by_hand: Told) -> None:
    charts, told = pages["charts"]["strategies"], set()
    for one in command["status"]["strategies"]:
        name = f"{one['strategy_id']} ({one['mode']})"
        if name not in by_hand["capital"]:
            continue  # nothing was ever entered
        told.add(name)
        capital = by_hand["capital"][name]
        assert [Decimal(one["capital"][f"{key}_usd"]) for key in PURSE] == list(map(Decimal, capital)), name
        available, locked, cooling, realised, today = map(usd, capital)
        card = pages["strategies"].partition(f" {name} ")[2].partition(" peak equity ")[0]
        assert card.endswith(
            f" available {available} locked {locked} cooling down {cooling} realised {realised} today {today}"
        )
        drawn = [next(text for _, of, text in charts[title] if of == name) for title in CAPITAL]
        assert drawn == [available, locked, cooling]
    assert len(told) > len(OrderType)


def test_the_samples_and_the_advice_come_from_what_was_decided(api: Told, by_hand: Told) -> None:
    audit = api["execution-audit"]
    for one in audit["strategies"]:
        breakdown = one["breakdown"]
        assert len(one["sample_skipped"]) == min(SAMPLES, breakdown["skipped"] + breakdown["too_old"])
        assert len(one["sample_eligible"]) == min(SAMPLES, breakdown["eligible"])
        for sample in (*one["sample_skipped"], *one["sample_eligible"]):
            assert by_hand["decisions"][f"{one['strategy_id']} {sample['ft_order_id']}"] == sample["reason"]
        assert {sample["state"] for sample in one["sample_eligible"]} <= {"deferred"}
    issues = " ".join(one["issue"] for one in audit["recommendations"])
    advised = {word: count for word, count in audit["skip_reasons"].items() if f"as {word}: " in issues}
    silent = audit["skip_reasons"].keys() - advised
    assert min(advised.values()) >= max(audit["skip_reasons"][word] for word in silent) > 0
    (old,) = [one for one in audit["recommendations"] if "signal_too_old" in one["issue"]]
    assert "signal.max_age_s at least" in old["solution"]
