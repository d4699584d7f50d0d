"""The sweep: the round through the horizon loses nothing, and costs the same however much has been decided."""

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import pytest

from tests.support.desk import Desk, Row, ago
from worker.sandbox.postgres import Postgres

Pair = tuple[str, str]

# What is left to do, in the words of the protocol and none of the product's.
LEFT_TO_DO: LiteralString = """
select s.strategy_id, o.order_id::text
from public.lt_scopes s
join public.ft_orders o on o.wallet_id = s.ft_wallet_id
  and o.created_at >= s.scope_from and (s.scope_to is null or o.created_at < s.scope_to)
left join public.lt_decisions d
  on d.strategy_id = s.strategy_id and d.ft_order_id = o.order_id and d.mode = 'paper'
where d.state is null or d.state = 'deferred' and least(d.retry_at, d.expires_at) <= now()
"""


async def left_to_do(desk: Desk) -> set[Pair]:
    return {(row["strategy_id"], row["order_id"]) for row in await desk.rows(LEFT_TO_DO)}


def pairs_of(answer: Row) -> list[Pair]:
    return [
        (strategy, item["signal"]["order_id"]) for item in answer["work"] for strategy in item["strategy_ids"]
    ]


async def one_round(desk: Desk, *, decide: bool = False, **keys: Any) -> list[Row]:
    """Every answer of one round, from no bookmark to none. With `decide`, each is worked off before the next."""
    answers: list[Row] = []
    bookmark: Row | None = None
    while not answers or bookmark is not None:
        answers.append(answer := await desk.work(bookmark=bookmark, **keys))
        bookmark = answer["bookmark"]
        assert len(answers) < 1000
        for strategy_id, ft_order_id in pairs_of(answer) if decide else []:
            await desk.decide(ft_order_id, strategy_id)
    return answers


async def history(desk: Desk, signals: int, *, wallet_id: str = "FT_ONE", decided: bool = True) -> None:
    """So many signals of the last day, one after the other, all decided by every strategy that follows the wallet."""
    await desk.ft_wallet(wallet_id)
    await desk.execute(
        "insert into public.ft_orders (wallet_id, side, condition_id, token_label, source_trade_id, entry_price, size,"
        " order_time, created_at) select %(wallet)s, 'BUY', '0xc0', 'Yes', %(wallet)s || n, 0.5, 6, now(),"
        " now() - interval '1 hour' - n * (interval '22 hours' / %(signals)s)"
        " from generate_series(1, %(signals)s) n",
        wallet=wallet_id,
        signals=signals,
    )
    if decided:
        await desk.execute(
            "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at)"
            " select s.strategy_id, o.order_id, 'paper', 'skipped', 'price_moved', o.created_at"
            " from public.lt_strategies s join public.ft_orders o on o.wallet_id = s.ft_wallet_id"
            " where o.wallet_id = %(wallet)s",
            wallet=wallet_id,
        )


# --- the round


@pytest.mark.parametrize(("pairs", "limit"), [(1, 100), (7, 100), (50, 3), (None, 2)])
async def test_a_round_in_stretches_finds_what_the_protocol_calls_work(
    desk: Desk, pairs: int | None, limit: int
) -> None:
    dice = random.Random(limit)
    for number in range(5):
        await desk.strategy(f"LT_{number}", ft_wallet_id=f"FT_{number % 3}")
    now = datetime.now(UTC)
    # Few moments and many signals: a stretch must be able to end between two signals of one moment.
    moments = [now - timedelta(minutes=dice.randrange(1, 1500)) for _ in range(5)]
    signals = [
        await desk.signal(wallet_id=f"FT_{dice.randrange(3)}", created_at=dice.choice(moments))
        for _ in range(30)
    ]
    await desk.execute("update public.lt_strategies set ft_wallet_id = 'FT_2' where strategy_id = 'LT_0'")
    await desk.execute("update public.lt_strategies set is_active = false where strategy_id = 'LT_1'")
    kinds: list[Row] = [
        {"state": "skipped"},
        {"state": "deferred", "retry_at": now.isoformat()},
        {"state": "deferred", "retry_at": (now + timedelta(hours=1)).isoformat()},
    ]
    told = [
        {"strategy_id": f"LT_{number}", "ft_order_id": signal, "reason": "price_moved"} | dice.choice(kinds)
        for signal in dice.sample(signals, 20)
        for number in range(5)
    ]
    await desk.call("lt_decide", {"mode": "paper", "decisions": told})
    expected = await left_to_do(desk)
    assert len(expected) > limit or limit == 100
    stretches = {} if pairs is None else {"pairs": pairs}
    answers = await one_round(desk, decide=True, limit=limit, **stretches)
    found = [pair for answer in answers for pair in pairs_of(answer)]
    assert set(found) == expected
    assert len(found) == len(expected)
    assert all(len(answer["work"]) <= limit for answer in answers)
    assert await left_to_do(desk) == set()


async def test_what_comes_behind_the_bookmark_is_found_by_the_next_round(desk: Desk) -> None:
    await desk.strategy()
    await history(desk, 20)
    passed = (await desk.work(pairs=15))["bookmark"]
    late = await desk.signal(created_at=ago(minutes=30))
    lost = (
        await desk.row(
            "select order_id::text from public.ft_orders order by created_at desc offset 2 limit 1"
        )
    )["order_id"]
    await desk.execute("delete from public.lt_decisions where ft_order_id = %(id)s", id=lost)
    rest = await desk.work(pairs=15, bookmark=passed)
    assert (pairs_of(rest), rest["bookmark"]) == ([], None)
    found = [pair for answer in await one_round(desk, pairs=15) for pair in pairs_of(answer)]
    assert found == [("LT_ONE", late), ("LT_ONE", lost)]


async def test_a_scope_that_is_opened_begins_the_round_anew_and_is_first(desk: Desk) -> None:
    await desk.strategy("LT_NEW", ft_wallet_id="FT_NEW", is_active=False)
    await desk.strategy()
    await history(desk, 20)
    waiting = await desk.signal(wallet_id="FT_NEW", created_at=ago(hours=20))
    passed = (await desk.work(pairs=5))["bookmark"]
    await desk.execute("update public.lt_strategies set is_active = true where strategy_id = 'LT_NEW'")
    # Its scope begins now less a day.
    assert pairs_of(await desk.work(pairs=5, bookmark=passed)) == [("LT_NEW", waiting)]


async def test_a_signal_is_decided_whatever_its_insert_time_became(desk: Desk) -> None:
    await desk.strategy()
    moved, timeless = await desk.signal(), await desk.signal()
    for signal in (moved, timeless):
        await desk.decide(signal)
    await desk.execute(
        "update public.ft_orders set created_at = created_at - interval '1 hour' where order_id = %(id)s",
        id=moved,
    )
    await desk.connection.execute("reset role")
    await desk.connection.execute(
        "set session_replication_role = replica"
    )  # past the guard of final decisions
    await desk.execute(
        "update public.lt_decisions set signal_at = null where ft_order_id = %(id)s", id=timeless
    )
    assert await desk.work_ids() == []


async def test_with_a_window_the_newest_come_beside_the_stretch(desk: Desk) -> None:
    await desk.strategy()
    await history(desk, 30)
    old = await desk.signal(created_at=ago(hours=2))
    first = await desk.work(window_s="60", pairs=10)
    new = await desk.signal()
    second = await desk.work(window_s="60", pairs=10, bookmark=first["bookmark"])
    assert (pairs_of(first), pairs_of(second)) == ([("LT_ONE", old)], [("LT_ONE", new)])


# --- what it costs


class Meter:
    """What one call of the sweep touches, with a few open signals among many that are decided."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asked: Row = {"mode": "paper", "limit": 100, "window_s": "60", "pairs": 2000}

    async def buffers(self) -> int:
        plans = await self.desk.row(
            "explain (analyze, buffers, format json) select public.lt_work(%(p)s::jsonb)",
            p=json.dumps(self.asked),
        )
        plan: Row = plans["QUERY PLAN"][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    async def whole_readings(self) -> dict[str, int]:
        """How often one call read a whole table of signals or decisions, of those that it read at all."""
        async with self.desk.connection.transaction():
            before = await self._scans()
            await self.desk.call("lt_work", self.asked)
            after = await self._scans()
        return {
            table: whole - before.get(table, (0, 0))[0]
            for table, (whole, by_index) in after.items()
            if (whole, by_index) != before.get(table)
        }

    async def _scans(self) -> dict[str, tuple[int, int]]:
        rows = await self.desk.rows(
            "select relname, seq_scan, idx_scan from pg_stat_xact_user_tables"
            " where relname in ('ft_orders', 'lt_decisions')"
        )
        return {row["relname"]: (row["seq_scan"], row["idx_scan"]) for row in rows}


@asynccontextmanager
async def busy_desk(
    cluster: Postgres, template: str, *, signals: int, analysed: bool
) -> AsyncIterator[Meter]:
    """Four fifths of the signals in one wallet, three open ones and three deferrals that are due."""
    async with cluster.database(template=template) as name:
        desk = await Desk.open(cluster.dsn(name))
        await desk.strategy("LT_TWO", ft_wallet_id="FT_TWO")
        await desk.strategy()
        await history(desk, signals * 4 // 5)
        await history(desk, signals // 5, wallet_id="FT_TWO")
        for _ in range(3):
            await desk.signal()
            await desk.decide(await desk.signal(), state="deferred", retry_at=ago(seconds=1))
        await desk.connection.execute("reset role")
        if analysed:
            await desk.connection.execute("vacuum analyze public.ft_orders, public.lt_decisions")
        meter = Meter(desk)
        for _ in range(8):  # until the session knows its catalogs, and its plans are the generic ones
            assert len((await desk.call("lt_work", meter.asked))["work"]) == 6
        try:
            yield meter
        finally:
            await desk.close()


async def test_a_sweep_touches_as_much_among_a_hundred_thousand_signals_as_among_five_thousand(
    cluster: Postgres, migrated_template: str
) -> None:
    touched = []
    for signals in (5_000, 100_000):
        async with busy_desk(cluster, migrated_template, signals=signals, analysed=True) as meter:
            touched.append(await meter.buffers())
            assert await meter.whole_readings() == {"ft_orders": 0, "lt_decisions": 0}
    few, many = touched
    assert 0.8 * few <= many <= 1.2 * few
    assert many < 1000


async def test_a_sweep_reads_no_table_whole_before_its_statistics_are_known(
    cluster: Postgres, migrated_template: str
) -> None:
    async with busy_desk(cluster, migrated_template, signals=3_000, analysed=False) as meter:
        assert await meter.whole_readings() == {"ft_orders": 0, "lt_decisions": 0}


# --- what else changed


STRATEGY_CHANGES: dict[str, Callable[[Desk], Any]] = {
    "a strategy": lambda desk: desk.execute("update public.lt_strategies set slippage_tolerance_pct = 1"),
    "its paper wallet": lambda desk: desk.execute("update public.ft_wallets set bet_size = 2"),
    "a switch": lambda desk: desk.call(
        "lt_control", {"scope": "global", "action": "pause", "reason": "", "actor": "me"}
    ),
    "a scope": lambda desk: desk.call("lt_scope_open", {"since": ago(days=2)}),
}


async def test_each_answer_tells_whether_the_strategies_are_still_those_that_were_read(desk: Desk) -> None:
    await desk.strategy()
    await desk.ft_wallet("FT_ELSEWHERE")
    versions = [(await desk.work())["strategies_version"]]
    for change in STRATEGY_CHANGES.values():
        await change(desk)
        versions.append((await desk.work())["strategies_version"])
    assert len(set(versions)) == 1 + len(STRATEGY_CHANGES)
    await desk.decide(await desk.signal())
    assert (await desk.work())["strategies_version"] == versions[-1]
