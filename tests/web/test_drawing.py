"""What the dashboard makes of figures before they are drawn, and of a cookie before it is believed."""

from collections.abc import Mapping
from decimal import Decimal
from time import time
from typing import Any

import pytest

from worker.orders.reasons import SkipReason
from worker.verbs.audit import STAGES
from worker.verbs.words import NOTHING, percent, took
from worker.web.dashboard import charts, session
from worker.web.dashboard.breakdown import LATE, titled
from worker.web.dashboard.look import WINDOWS, Choice
from worker.web.dashboard.office import Visitor
from worker.web.dashboard.words import fill_sentence, no_row, order_row

TOKEN, OTHER = "t" * 40, "o" * 40
NOW_S = 1_764_000_000


def bucket(minute: int, **keys: object) -> dict[str, object]:
    empty = {
        "seen": 0,
        "executed": 0,
        "skipped": 0,
        "deferred": 0,
        "executed_share": None,
        "orders": {"placed": 0},
    }
    return (
        {"at": f"2026-11-23T03:{minute:02}:00+00:00", "sent_p50_ms": None, "sent_p99_ms": None} | empty | keys
    )


def test_a_bucket_in_which_nothing_came_is_a_gap_in_a_rate_and_an_empty_bar() -> None:
    series = [bucket(0), bucket(1, seen=4, executed=3, skipped=1, executed_share="0.7500")]
    *bars, rate = charts.execution_over_time(series)["series"]
    assert [point[1] for point in rate["data"]] == [None, 75.0]
    assert {bar["name"]: [point[1] for point in bar["data"]] for bar in bars} == {
        "executed": [0, 3], "skipped": [0, 1], "deferred": [0, 0],
    }  # fmt: skip
    assert rate["data"][1][0] == series[1]["at"]
    assert not rate.get("connectNulls")


def test_a_tooltip_says_of_a_point_what_the_command_says_of_the_figure() -> None:
    """Also where a browser would round the other way, and where it would show no unit that fits."""
    orders = {"placed": 2, "bet_usd": "1234.5", "filled_usd": "0", "fill_rate_usd": "0.1225"}
    series = [
        bucket(0),
        bucket(1, executed_share="0.1225", orders=orders, sent_p50_ms="17.4", sent_p99_ms="12600000"),
    ]
    rate = charts.execution_over_time(series)["series"][-1]
    assert said(rate) == [NOTHING, percent("0.1225")] == [NOTHING, "12.2 %"]
    bet, filled, share = charts.fills_over_time(series)["series"]
    assert (said(bet), said(filled)) == (["$0.00", "$1,234.50"], ["$0.00", "$0.00"])
    assert said(share) == [NOTHING, "12.2 %"]
    middle, slow = charts.wire_over_time(series)["series"]
    assert (said(middle)[1], said(slow)[1]) == ("17 ms", took("12600000")) == ("17 ms", "3.5 h")


def test_dots_and_bars_say_their_figures_too() -> None:
    times = {"p50_ms": "0.44", "p95_ms": "2140", "p99_ms": None}
    drawn = charts.stages({"sent": times}, [("sent", "to the wire")])
    assert [one["data"][0][1:] for one in drawn["series"]] == [
        ["to the wire", "0.4 ms"],
        ["to the wire", "2.1 s"],
        ["to the wire", NOTHING],
    ]
    purse = {"available_usd": "990.004", "locked_usd": "-10"}
    available, locked, *_ = charts.capital([{"strategy_id": "LT_ONE", "mode": "live", "capital": purse}])[
        "series"
    ]
    assert available["data"] == [[990.004, "LT_ONE (live)", "$990.00"]]
    assert said(locked) == ["-$10.00"]


def said(series: Mapping[str, Any]) -> list[str]:
    """What is shown of each point, by the member that the series names."""
    return [point[series["encode"]["tooltip"]] for point in series["data"]]


def test_a_point_with_nothing_beside_it_is_seen_and_none_of_many_crowds_the_others() -> None:
    lonely = [bucket(0), bucket(1, seen=1, executed=1, executed_share="1.0000"), bucket(2)]
    crowd = [bucket(n, seen=1, executed=1, executed_share="1.0000") for n in range(60)]
    large, small = (charts.execution_over_time(series)["series"][-1] for series in (lonely, crowd))
    assert large["symbolSize"] > small["symbolSize"] > 0
    assert (large["showAllSymbol"], large["clip"]) == (True, False)  # also at 100 %, on the chart's edge


def test_dollars_are_drawn_as_they_were_counted() -> None:
    orders = {"placed": 2, "bet_usd": "12.00", "filled_usd": "8.5", "fill_rate_usd": "0.7083"}
    bet, filled, rate = charts.fills_over_time([bucket(0, orders=orders)])["series"]
    assert (bet["data"][0][1], filled["data"][0][1], rate["data"][0][1]) == (12.0, 8.5, pytest.approx(70.83))


def test_the_commonest_reasons_stand_on_top_and_no_chart_grows_without_end() -> None:
    told = [{"reason": reason, "count": 100 - n} for n, reason in enumerate(SkipReason)]
    drawn = charts.reasons(told)
    assert len(drawn["yAxis"]["data"]) == charts.REASONS_MOST < len(told)
    assert drawn["yAxis"]["data"][-1] == told[0]["reason"]  # from the bottom up
    assert drawn["series"][0]["data"][-1] == 100


def test_every_stage_has_a_name_of_its_own() -> None:
    titles = [title for _, title in titled()]
    assert len(set(titles)) == len(STAGES)
    assert all(title.endswith("once put off") for name, title in titled() if name.endswith(LATE))


@pytest.mark.parametrize("window", WINDOWS, ids=lambda one: one.word)
def test_a_window_is_cut_into_whole_steps_and_found_by_its_address(window: object) -> None:
    (known,) = [one for one in WINDOWS if one is window]
    assert known.buckets * known.step == known.span
    choice = Choice.of(known.word, "LT_ONE")
    assert (choice.window, choice.address) == (known, f"/?window={known.word}&strategy=LT_ONE")


def test_an_order_is_a_line_with_its_status_and_what_it_came_to() -> None:
    order = {
        "strategy_id": "LT_ONE", "mode": "live", "ft_order_id": "89320a8b", "status": "PARTIAL", "side": "BUY",
        "order_type": "FAK", "signal_size_usd": "10.00", "executed_price": "0.51", "executed_size_usd": "5.00",
        "slippage_bps": 12, "fill_rate": "0.5000", "token_label": "Yes", "market_title": "Will it rain?",
        "created_at": "2026-11-23T03:04:05.678+00:00", "execution_latency_ms": 17,
    }  # fmt: skip
    row = order_row(order)
    assert (row["time"], row["status"], row["what"]) == ("03:04:05", "PARTIAL", "FAK BUY $10.00")
    assert (row["detail"], row["latency"]) == ("50.0 % filled, $5.00 at 0.51, +12 bps", "17 ms")
    assert row["href"] == "/signal/89320a8b"
    sale = order_row(order | {"side": "SELL", "signal_size_usd": "0.00"})
    assert sale["what"] == "FAK SELL"
    waiting = order_row(order | {"status": "PENDING", "executed_price": None, "limit_price": "0.52"})
    assert waiting["detail"] == "limit 0.52"
    slow = order_row(order | {"executed_price": "0.510000", "execution_latency_ms": 63_825})
    assert (slow["latency"], slow["detail"]) == ("63.8 s", row["detail"])


def test_a_no_is_a_line_with_the_number_that_failed() -> None:
    event = {
        "state": "skipped",
        "reason": "price_moved",
        "value": "0.61",
        "limit": "0.51",
        "at": "2026-11-23T03:04:05+00:00",
    }
    assert no_row(event)["detail"] == "price_moved: 0.61, limit 0.51"
    assert no_row(event | {"value": "", "limit": ""})["detail"] == "price_moved"


def test_a_fill_is_said_in_one_sentence() -> None:
    event = {
        "strategy_id": "LT_ONE",
        "side": "BUY",
        "shares": Decimal(12),
        "token_label": "Yes",
        "price": "0.51",
    }
    assert fill_sentence(event) == "LT_ONE: BUY 12 Yes at 0.51 - -"


def test_a_cookie_holds_for_its_token_and_its_time_alone() -> None:
    value = session.stamp(TOKEN, NOW_S)
    assert session.until_s(value, TOKEN) == NOW_S + session.LASTS_S
    later = f"{NOW_S * 2}.{value.partition('.')[2]}"
    for forged in (None, "", "nonsense", later, f"{value}0", value.partition(".")[0]):
        assert session.until_s(forged, TOKEN) == 0
    assert session.until_s(value, OTHER) == session.until_s(value, None) == 0
    assert TOKEN not in value


def test_a_page_that_is_left_open_acts_no_longer_than_the_token_is_remembered() -> None:
    now_s = int(time())
    assert Visitor(now_s + 60, reads_need_token=True, may_sign_in=True).may_read
    over = Visitor(now_s - 1, reads_need_token=True, may_sign_in=True)
    assert not over.may_act
    assert not over.may_read
    assert Visitor(0, reads_need_token=False, may_sign_in=True).may_read


def test_an_id_is_one_step_of_an_address_whatever_it_holds() -> None:
    assert no_row({"ft_order_id": "../login?a=#b"})["href"] == "/signal/..%2Flogin%3Fa%3D%23b"
