"""Every pair has its turn: whatever waits, is due or cannot be served now, it keeps no other from being found."""

import random
from datetime import UTC, datetime, timedelta

import pytest

from tests.database.test_sql_sweep import Pair, history, one_round, pairs_of
from tests.support.desk import Desk, Row, ago


async def due(desk: Desk, signals: int, *, wallet_id: str = "FT_ONE") -> None:
    """So many older signals of a paper wallet, put off by every strategy that follows it, and all due."""
    await history(desk, signals, wallet_id=wallet_id, decided=False)
    await desk.execute(
        "insert into public.lt_decisions (strategy_id, ft_order_id, mode, state, reason, signal_at, retry_at, expires_at)"
        " select s.strategy_id, o.order_id, 'paper', 'deferred', 'exchange_unreachable', o.created_at,"
        " now() - interval '1 minute', now() + interval '1 hour'"
        " from public.ft_orders o join public.lt_strategies s on s.ft_wallet_id = o.wallet_id"
        " where o.wallet_id = %(wallet)s",
        wallet=wallet_id,
    )


async def sweeps_until_found(desk: Desk, wanted: Pair, *, most: int, **keys: object) -> int:
    bookmark: Row | None = None
    for sweep in range(1, most + 1):
        answer = await desk.work(bookmark=bookmark, **keys)
        if wanted in pairs_of(answer):
            return sweep
        bookmark = answer["bookmark"]
    raise AssertionError(f"Expected {wanted} within {most} sweeps, was not found")


async def test_more_due_deferrals_than_places_hold_up_neither_the_horizon_nor_the_newest(desk: Desk) -> None:
    await desk.strategy()
    await due(desk, 30)
    old, new = await desk.signal(created_at=ago(hours=23)), await desk.signal()
    sweep = {"limit": 20, "pairs": 20, "window_s": 900}
    assert await sweeps_until_found(desk, ("LT_ONE", new), most=1, **sweep) == 1
    await sweeps_until_found(desk, ("LT_ONE", old), most=4, **sweep)


async def test_a_sweep_comes_to_every_due_deferral_though_none_is_decided(desk: Desk) -> None:
    await desk.strategy()
    await due(desk, 30)
    found: set[Pair] = set()
    bookmark: Row | None = None
    for _ in range(3):
        answer = await desk.work(limit=20, pairs=100, window_s=900, bookmark=bookmark)
        assert len(answer["work"]) == 10
        found.update(pairs_of(answer))
        bookmark = answer["bookmark"]
    assert len(found) == 30


async def test_a_window_with_more_than_its_places_holds_up_no_deeper_signal(desk: Desk) -> None:
    await desk.strategy()
    for _ in range(12):
        await desk.signal()
    old = await desk.signal(created_at=ago(hours=20))
    await sweeps_until_found(desk, ("LT_ONE", old), most=8, limit=8, pairs=100, window_s=900)


async def test_a_walk_brings_each_deferral_once_and_comes_to_its_end(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_TWO", ft_wallet_id="FT_TWO")
    await due(desk, 25)
    await history(desk, 15, wallet_id="FT_TWO", decided=False)
    found = [pair for answer in await one_round(desk, limit=10, pairs=20) for pair in pairs_of(answer)]
    assert (len(found), len(set(found))) == (40, 40)


async def test_the_round_goes_on_where_it_was_whichever_strategies_can_be_served(desk: Desk) -> None:
    """One wallet is followed by the oldest and the newest strategy, the other one by the strategy between them."""
    for strategy_id, wallet_id in (("LT_OLD", "FT_A"), ("LT_B", "FT_B"), ("LT_NEW", "FT_A")):
        await desk.strategy(strategy_id, ft_wallet_id=wallet_id)
    await history(desk, 100, wallet_id="FT_A")
    await history(desk, 100, wallet_id="FT_B")
    lost = await desk.signal(wallet_id="FT_A", created_at=ago(hours=23, minutes=30))
    await desk.decide(lost, "LT_NEW")
    bookmark: Row | None = None
    answer: Row = {}
    for sweep in range(20):
        without = ["LT_NEW"] if sweep % 2 else []
        answer = await desk.work(limit=100, pairs=40, window_s=900, bookmark=bookmark, without=without)
        if answer["work"]:
            break
        bookmark = answer["bookmark"]
    assert pairs_of(answer) == [("LT_OLD", lost)]


@pytest.mark.parametrize("out_of", [2, 3])
async def test_a_wallet_keeps_its_place_while_its_strategy_cannot_be_served(desk: Desk, out_of: int) -> None:
    await desk.strategy("LT_B", ft_wallet_id="FT_B")
    await desk.strategy()
    await history(desk, 100)
    await history(desk, 20, wallet_id="FT_B")
    lost = await desk.signal(created_at=ago(hours=23, minutes=30))
    bookmark: Row | None = None
    found: list[Pair] = []
    for sweep in range(30):
        without = ["LT_ONE"] if sweep % out_of else []
        answer = await desk.work(limit=100, pairs=25, window_s=900, bookmark=bookmark, without=without)
        found += pairs_of(answer)
        bookmark = answer["bookmark"]
    assert ("LT_ONE", lost) in found
    assert (await one_round(desk, limit=100, pairs=25, without=["LT_ONE"]))[-1]["bookmark"] is None


@pytest.mark.parametrize("seed", range(4))
async def test_every_pair_that_can_be_served_is_found_within_a_bounded_number_of_sweeps(
    desk: Desk, seed: int
) -> None:
    dice = random.Random(seed)
    wallets = ["FT_A", "FT_B", "FT_C"]
    for number in range(6):
        await desk.strategy(f"LT_{number}", ft_wallet_id=dice.choice(wallets))
    for wallet_id in wallets:
        await history(desk, 60, wallet_id=wallet_id)
    signals = [
        (wallet_id, await desk.signal(wallet_id=wallet_id, created_at=ago(minutes=dice.randrange(1, 1400))))
        for wallet_id in dice.choices(wallets, k=25)
    ]
    put_off = dice.sample(signals, 15)
    servable = {f"LT_{number}" for number in dice.sample(range(6), 3)}
    rows = await desk.rows("select strategy_id, ft_wallet_id from public.lt_strategies")
    for row in rows:
        for wallet_id, signal in put_off:
            if wallet_id == row["ft_wallet_id"] and dice.random() < 0.7:
                await desk.decide(signal, row["strategy_id"], state="deferred", retry_at=ago(seconds=1))
    wanted = {
        (row["strategy_id"], signal)
        for row in rows
        if row["strategy_id"] in servable
        for wallet_id, signal in signals
        if wallet_id == row["ft_wallet_id"]
    }
    bookmark: Row | None = None
    found: set[Pair] = set()
    # Nothing that is found is decided: a place that it takes, it takes again in every round.
    for _ in range(60):
        full = [row["strategy_id"] for row in rows if row["strategy_id"] not in servable]
        answer = await desk.work(
            limit=dice.randrange(4, 12),
            pairs=dice.randrange(20, 60),
            window_s=900,
            bookmark=bookmark,
            without=dice.sample(full, dice.randrange(len(full) + 1)),
        )
        bookmark = answer["bookmark"]
        found.update(pairs_of(answer))
        if wanted <= found:
            return
        if dice.random() < 0.2:
            await desk.decide(await desk.signal(wallet_id=dice.choice(wallets)), "LT_0")
    assert wanted - found == set()


# --- a floor


async def test_nothing_older_than_asked_for_is_found_by_the_window_or_the_round_but_a_deferral_is(
    desk: Desk,
) -> None:
    await desk.strategy()
    put_off = await desk.signal(created_at=ago(minutes=50))
    await desk.decide(put_off, state="deferred", retry_at=ago(seconds=1))
    await desk.signal(created_at=ago(minutes=40))
    deep, near = await desk.signal(created_at=ago(minutes=20)), await desk.signal()
    sweep = {"window_s": 900, "pairs": 100, "oldest_s": 1800}
    assert await desk.work_ids(**sweep) == [near, deep, put_off]
    assert await desk.work_ids(**sweep | {"oldest_s": 600}) == [near, put_off]


# --- deferrals


async def test_a_signal_that_is_read_by_itself_tells_what_it_was_put_off_for(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await desk.decide(signal, state="deferred", reason="market_not_ready", retry_at=ago(seconds=1))
    answer = await desk.call("lt_signal", {"mode": "paper", "ft_order_id": signal})
    assert answer["deferrals"] == {"LT_ONE": {"tries": 1, "reason": "market_not_ready"}}


async def test_a_deferral_that_is_not_due_yet_is_put_off_by_nobody_else(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    later = datetime.now(UTC) + timedelta(minutes=5)
    await desk.decide(signal, state="deferred", reason="market_not_ready", retry_at=later.isoformat())
    sooner = (later - timedelta(minutes=4)).isoformat()
    answer = await desk.decide(signal, state="deferred", reason="exchange_unreachable", retry_at=sooner)
    assert answer["written"] == 0
    kept = await desk.decision(signal)
    assert kept is not None
    assert (kept["reason"], kept["tries"], kept["retry_at"]) == ("market_not_ready", 1, later)
    assert (await desk.decide(signal))["written"] == 1


async def test_a_deferral_whose_signal_is_gone_comes_to_its_end(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await desk.decide(signal, state="deferred", reason="market_not_ready", retry_at=ago(seconds=1))
    await desk.execute("delete from public.ft_orders")
    (work,) = (await desk.work())["work"]
    assert (work["signal"]["order_id"], work["strategy_ids"]) == (signal, ["LT_ONE"])
    assert datetime.fromisoformat(work["signal"]["created_at"]) < datetime.now(UTC)
    assert (await desk.decide(signal, state="deferred", reason="whatever", retry_at=ago()))["written"] == 1
    ended = await desk.decision(signal)
    assert ended is not None
    assert (ended["state"], ended["reason"], ended["value"]) == ("skipped", "ft_not_open", "missing")
    assert await desk.work_ids() == []


# --- scopes, of which none is ever removed


async def test_a_sweep_reads_no_scope_that_was_closed_long_ago(desk: Desk) -> None:
    await desk.strategy()
    await desk.signal()
    touched = []
    for closed in (2_000, 30_000):
        await desk.connection.execute("reset role")
        await desk.execute(
            "insert into public.lt_scopes (strategy_id, ft_wallet_id, scope_from, scope_to, reason, opened_at)"
            " select 'LT_ONE', 'FT_ONE', now() - interval '99 days', now() - interval '90 days', 'long ago',"
            " now() - interval '98 days' from generate_series(1, %(closed)s)",
            closed=closed,
        )
        await desk.connection.execute("vacuum analyze public.lt_scopes")
        for _ in range(8):  # until the plans are the generic ones
            await desk.work(limit=100, pairs=100, window_s=900)
        plans = await desk.row(
            "explain (analyze, buffers, format json) select public.lt_work("
            '\'{"mode": "paper", "limit": 100, "pairs": 100, "window_s": 900}\')'
        )
        plan = plans["QUERY PLAN"][0]["Plan"]
        touched.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])
    assert touched[1] < 1.5 * touched[0]


async def test_a_scope_that_is_closed_is_another_version_of_the_strategies(desk: Desk) -> None:
    await desk.strategy()
    before = (await desk.work())["strategies_version"]
    await desk.execute("update public.lt_scopes set scope_to = now()")
    assert (await desk.work())["strategies_version"] != before
