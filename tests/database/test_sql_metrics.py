"""The figures over time: cut out of the same rows as the funnel beside them, and what the market did after a trade.

One day is written and asked about once, for all tests of a process.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.desk import TOKEN, Desk, Row, fill
from worker.sandbox.postgres import Postgres

PAPER = {"mode": "paper"}
COUNTS = ("seen", "executed", "skipped", "deferred")
HOURS = 6
WINDOW = PAPER | {"window_s": str(HOURS * 3600), "buckets": HOURS}


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def order(
    desk: Desk,
    shares: str | None,
    *,
    inserted: float,
    strategy_id: str = "LT_ONE",
    order_type: str = "FAK",
    token_id: str = TOKEN,
) -> None:
    """A purchase of 6 dollars that ended, for a signal of so many hours ago."""
    signal = await desk.signal(created_at=hours_ago(inserted))
    kind = {"order_type": order_type, "token_id": token_id}
    claimed = await desk.claim(signal, strategy_id, order=kind)
    fills = [] if shares is None else [fill(shares, token_id=token_id)]
    times = dict.fromkeys(("sent_at", "answered_at"), datetime.now(UTC).isoformat())
    state = "matched" if fills else "killed"
    await desk.record(claimed["exchange_order_id"], state, closed=True, fills=fills, **times)
    await desk.execute(
        "update public.lt_orders set created_at = %(at)s where lt_order_id = %(id)s",
        at=hours_ago(inserted),
        id=claimed["lt_order_id"],
    )


async def marked(desk: Desk, token_id: str, mids: Mapping[float, str]) -> None:
    """The middle of the book, so many seconds after the trade of this token."""
    traded = await desk.row(
        "select matched_at from public.lt_fills where token_id = %(token_id)s", token_id=token_id
    )
    half = Decimal("0.01")
    marks = [
        {
            "token_id": token_id,
            "taken_at": (traded["matched_at"] + timedelta(seconds=after_s)).isoformat(),
            "best_bid": str(Decimal(mid) - half),
            "best_ask": str(Decimal(mid) + half),
        }
        for after_s, mid in mids.items()
    ]
    await desk.call("lt_mark", {"marks": marks})


async def write(desk: Desk) -> None:
    """Orders of two types and of two strategies, and noes, over five hours."""
    await desk.strategy(order_type="FOK")
    await desk.strategy("LT_TWO", order_type="IOC")
    await desk.ready()
    await order(desk, "12", inserted=0.2)
    await order(desk, "4", inserted=3.4, token_id="3")
    await order(desk, None, inserted=3.5, strategy_id="LT_TWO", order_type="FOK")
    await order(desk, "12", inserted=1.5, order_type="FOK", token_id="2")
    for inserted, reason in ((0.1, "price_moved"), (3.3, "signal_too_old"), (4.9, "price_moved")):
        await desk.decide(await desk.signal(created_at=hours_ago(inserted)), reason=reason)
    later = hours_ago(-1).isoformat()
    put_off = {"state": "deferred", "reason": "market_not_ready", "retry_at": later, "expires_at": later}
    await desk.decide(await desk.signal(created_at=hours_ago(2.2)), **put_off)
    await marked(desk, TOKEN, {0: "0.49", 61: "0.51", 70: "0.90", 301: "0.45"})
    await marked(desk, "2", {62: "0.53"})


@dataclass(frozen=True, slots=True)
class Day:
    """What was answered: `funnel` by itself, since the same moment as `whole`."""

    whole: Row
    funnel: Row
    parts: Mapping[str, Row]

    @property
    def series(self) -> list[Row]:
        return list(self.whole["series"])


@pytest.fixture(scope="module")
def day(cluster: Postgres, migrated_template: str) -> Day:
    async def live() -> Day:
        async with cluster.database(template=migrated_template) as name:
            desk = await Desk.open(cluster.dsn(name))
            try:
                await write(desk)
                whole = await desk.call("lt_metrics", WINDOW)
                since = {"since": whole["since"]}
                parts = {
                    one: await desk.call("lt_metrics", PAPER | since | {"strategy_id": one})
                    for one in ("LT_ONE", "LT_TWO")
                }
                return Day(whole, await desk.call("lt_funnel", PAPER | since), parts)
            finally:
                await desk.close()

    return asyncio.run(live())


def test_the_buckets_of_a_series_add_up_to_the_funnel_beside_them(day: Day) -> None:
    funnel, series = day.whole["funnel"], day.series
    total = funnel["total"]
    for name in COUNTS:
        assert sum(one[name] for one in series) == total[name]
    placed = [one["orders"] for one in series if one["orders"]["placed"]]
    assert sum(one["placed"] for one in placed) == total["orders"]["placed"] == 4
    for money in ("bet_usd", "filled_usd"):
        assert sum(Decimal(one[money]) for one in placed) == Decimal(total["orders"][money])
    assert sum(one["sent_count"] for one in series) == funnel["latency_ms"]["insert_to_sent"]["count"]


def test_every_bucket_has_its_place_whether_something_came_or_not(day: Day) -> None:
    assert len(day.series) in {HOURS, HOURS + 1}  # the moment of the answer may lie in one bucket more
    assert [datetime.fromisoformat(one["at"]) for one in day.series] == [
        datetime.fromisoformat(day.whole["since"]) + n * timedelta(seconds=float(day.whole["bucket_s"]))
        for n in range(len(day.series))
    ]
    empty, third = day.series[0], day.series[2]
    assert (empty["seen"], empty["executed_share"], empty["sent_p50_ms"]) == (0, None, None)
    # Three to four hours ago; each signal is one for both strategies.
    assert {name: third[name] for name in COUNTS} == {"seen": 6, "executed": 2, "skipped": 1, "deferred": 0}
    assert third["executed_share"] == "0.3333"
    assert (third["orders"]["placed"], third["orders"]["fill_rate_usd"]) == (2, "0.1667")


def test_the_funnel_beside_a_series_is_the_one_that_all_other_screens_show(day: Day) -> None:
    assert day.whole["funnel"] | {"now": None} == day.funnel | {"now": None}


def test_the_series_of_the_strategies_make_the_whole(day: Day) -> None:
    for name in COUNTS:
        shown = sum(one[name] for part in day.parts.values() for one in part["series"])
        assert shown == day.funnel["total"][name]
    placed = {name: part["funnel"]["total"]["orders"]["placed"] for name, part in day.parts.items()}
    assert placed == {"LT_ONE": 3, "LT_TWO": 1}


def test_orders_count_by_the_type_that_they_were_sent_with_and_signals_by_the_strategys(day: Day) -> None:
    types = {one["order_type"]: one for one in day.funnel["order_types"]}
    assert types["FAK"]["orders"]["placed"] == 2  # LT_ONE sent them, before somebody set it to FOK
    assert (types["FOK"]["orders"]["placed"], types["FOK"]["orders"]["filled_share"]) == (2, "0.5000")
    assert (types["FOK"]["executed"], types["FAK"]["executed"]) == (3, 1)  # an IOC is a FAK
    assert types["FOK"]["seen"] == types["FAK"]["seen"] == 8


def test_mark_outs_are_told_of_all_trades_and_by_the_type_that_each_was_sent_with(day: Day) -> None:
    told = {(one["order_type"], one["after_s"]): one for one in day.funnel["markout"]}
    assert told[None, 60] == {
        "order_type": None, "after_s": 60, "count": 2, "median_bps": "400.0", "mean_bps": "400.0", "usd": "0.48",
    }  # fmt: skip
    assert told["FAK", 60]["mean_bps"] == "200.0"
    assert told["FAK", 300] == {
        "order_type": "FAK", "after_s": 300, "count": 1, "median_bps": "-1000.0", "mean_bps": "-1000.0", "usd": "-0.60",
    }  # fmt: skip
    assert ("FOK", 300) not in told
