"""A shadow's signals belong to paper, by the time of their insert: work, decisions, claims and the equation agree."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.desk import TOKEN, WALLET, WORKER, Desk, Row
from worker.orders.paper import mode_of, purse_of
from worker.orders.strategy import Strategy, parse_strategy
from worker.orders.terms import StrategyId, WalletAddress

PURSE = purse_of(StrategyId("LT_ONE"))


@pytest.fixture
async def live(database: str) -> AsyncIterator[Desk]:
    """A live worker's desk, its wallet and the purse of its strategy leased and seen."""
    desk = await Desk.open(database, mode="live")
    await desk.strategy()
    on_paper = {"wallet_address": PURSE, "mode": "paper", "worker": WORKER, "ttl_s": "30"}
    await desk.call("lt_lease", on_paper)
    balance = {"wallet_address": PURSE, "collateral_usd": "1000", "as_of": (await now(desk)).isoformat()}
    await desk.call("lt_wallets_seen", {"mode": "paper", "balances": [balance]})
    await desk.ready()
    yield desk
    await desk.close()


async def now(desk: Desk) -> datetime:
    moment: datetime = (await desk.row("select clock_timestamp() as now"))["now"]
    return moment


async def switch(desk: Desk, *, shadow: bool) -> None:
    await desk.execute("update public.lt_strategies set shadow_mode = %(shadow)s", shadow=shadow)


async def claimed(desk: Desk, signal: str, mode: str, **changes: Any) -> Row:
    wallet = PURSE if mode == "paper" else WALLET
    return await desk.claim(signal, mode=mode, worker_mode="live", wallet_address=wallet, fence=1, **changes)


async def decisions(desk: Desk, signal: str) -> dict[str, str]:
    rows = await desk.rows(
        "select mode, reason from public.lt_decisions where ft_order_id = %(id)s", id=signal
    )
    return {row["mode"]: row["reason"] for row in rows}


async def funnels(desk: Desk) -> dict[str, tuple[int, int, int]]:
    """Mode -> seen, decided, undecided."""
    answer = await desk.call("lt_equation", {"mode": "live"})
    assert answer["total"]["seen"] == sum(row["seen"] for row in answer["strategies"])
    return {
        row["mode"]: (row["seen"], row["executed"] + row["skipped"] + row["deferred"], row["undecided"])
        for row in answer["strategies"]
    }


async def test_a_signal_is_work_in_the_mode_that_it_was_inserted_in_and_in_no_other(live: Desk) -> None:
    before = await live.signal()
    await switch(live, shadow=True)
    within = await live.signal()
    await switch(live, shadow=False)
    after = await live.signal()
    assert await live.work_ids() == [after, within, before]
    for signal, mode, other in (
        (before, "live", "paper"),
        (within, "paper", "live"),
        (after, "live", "paper"),
    ):
        assert (await live.decide(signal, mode=other))["ignored"] == 1
        assert (await live.decide(signal, mode=mode))["written"] == 1
        assert await decisions(live, signal) == {mode: "price_moved"}
    assert await live.work_ids() == []
    assert await funnels(live) == {"live": (2, 2, 0), "paper": (1, 1, 0)}


async def test_a_claim_in_the_wrong_mode_leaves_the_pair_as_work(live: Desk) -> None:
    await switch(live, shadow=True)
    shadowed = await live.signal()
    answer = await claimed(live, shadowed, "live")
    assert (answer["granted"], answer["reason"], answer["recorded"]) == (False, "strategy_changed", False)
    assert (await claimed(live, shadowed, "paper"))["granted"]

    await switch(live, shadow=False)
    real = await live.signal()
    answer = await claimed(live, real, "paper")
    assert (answer["granted"], answer["reason"], answer["recorded"]) == (False, "strategy_changed", False)
    assert await live.work_ids() == [real]
    assert (await claimed(live, real, "live"))["granted"]


async def test_what_was_inserted_for_money_is_skipped_once_there_is_to_be_none(live: Desk) -> None:
    signal = await live.signal()
    await switch(live, shadow=True)
    answer = await claimed(live, signal, "live")
    assert (answer["reason"], answer["recorded"]) == ("shadow_mode", True)
    assert await live.work_ids() == []


async def test_what_was_inserted_for_paper_is_never_replayed_with_money(live: Desk) -> None:
    await switch(live, shadow=True)
    traded, left = await live.signal(), await live.signal()
    await claimed(live, traded, "paper")
    await switch(live, shadow=False)
    await live.call("lt_scope_open", {"strategy_id": "LT_ONE", "since": "2020-01-01T00:00:00Z"})
    assert await live.work_ids() == [left]
    for signal in (traded, left):
        assert not (await claimed(live, signal, "live"))["granted"]
    assert (await claimed(live, left, "paper"))["granted"]
    assert await funnels(live) == {"live": (0, 0, 0), "paper": (2, 2, 0)}


async def test_paper_spends_nothing_of_the_wallet_nor_of_the_live_capital(live: Desk) -> None:
    await switch(live, shadow=True)
    await live.execute("update public.lt_strategies set initial_capital = 10, max_total_exposure_usd = 10")
    assert (await claimed(live, await live.signal(), "paper"))["granted"]
    refused = await claimed(live, await live.signal(), "paper")
    assert refused["reason"] == "max_total_exposure"
    await switch(live, shadow=False)
    granted = await claimed(live, await live.signal(), "live")
    assert (granted["granted"], granted["capital"]["available_usd"]) == (True, "4.00")


async def test_a_deferral_of_a_shadow_comes_due_in_a_live_worker_and_one_of_a_paper_worker_does_not(
    live: Desk,
) -> None:
    real = await live.signal()
    due = {"state": "deferred", "retry_at": (await now(live) - timedelta(seconds=1)).isoformat()}
    on_paper = Desk(live.connection, "paper")
    await on_paper.decide(real, **due)
    await live.decide(real)
    await switch(live, shadow=True)
    shadowed = await live.signal()
    await live.decide(shadowed, mode="paper", **due)
    (work,) = (await live.work(window_s="60", pairs=100))["work"]
    assert work["signal"]["order_id"] == shadowed
    assert work["deferrals"] == {"LT_ONE": {"tries": 1, "reason": "price_moved"}}
    assert (await on_paper.work_ids()) == [shadowed, real]


async def test_a_strategy_that_comes_as_a_shadow_was_never_anything_else(live: Desk) -> None:
    await live.strategy("LT_NEW", shadow_mode=True, ft_wallet_id="FT_NEW")
    old = await live.signal(wallet_id="FT_NEW", created_at=await now(live) - timedelta(hours=1))
    assert (await live.decide(old, "LT_NEW"))["ignored"] == 1
    assert (await live.decide(old, "LT_NEW", mode="paper"))["written"] == 1


async def test_what_was_on_paper_stays_on_paper(live: Desk) -> None:
    await switch(live, shadow=True)
    await switch(live, shadow=False)
    for change in ("set since = now()", "set until = null", "set strategy_id = 'LT_OTHER'"):
        with pytest.raises(psycopg.errors.RaiseException, match="immutable"):
            await live.connection.execute(f"update public.lt_shadow_spells {change}".encode())
    with pytest.raises(psycopg.errors.RaiseException, match="refused"):
        await live.execute("delete from public.lt_shadow_spells")


async def test_the_worker_and_the_database_agree_on_the_mode_of_every_moment(live: Desk) -> None:
    for shadow in (True, False, True):
        await switch(live, shadow=shadow)
    spells = await live.rows("select since, until from public.lt_shadow_spells order by since")
    edges = [edge for row in spells for edge in (row["since"], row["until"]) if edge]
    tick = timedelta(microseconds=1)
    for worker_mode in ("live", "paper"):
        (row,) = (await live.call("lt_strategies_load", worker_mode))["strategies"]
        strategy = parse_strategy(row)
        assert isinstance(strategy, Strategy)
        for moment in (edge + offset for edge in edges for offset in (-tick, timedelta(), tick)):
            said = await live.row(
                "select public.lt_mode_at('LT_ONE', %(at)s, %(mode)s) as mode", at=moment, mode=worker_mode
            )
            assert strategy.shadow_times.mode_at(moment) == said["mode"]


def test_a_purse_is_nobodys_wallet_and_each_strategy_has_its_own() -> None:
    assert len(PURSE) == len(WALLET)
    assert (mode_of(PURSE), mode_of(WalletAddress(WALLET))) == ("paper", "live")
    assert purse_of(StrategyId("LT_TWO")) != PURSE == purse_of(StrategyId("LT_ONE"))


async def test_a_sale_awaits_the_purchases_of_its_own_mode_alone(live: Desk) -> None:
    asked = {"strategy_id": "LT_ONE", "token_id": TOKEN, "worker_mode": "live"}

    async def awaited(mode: str) -> bool:
        sale = await live.signal(side="SELL")
        answer = await live.call("lt_holdings", asked | {"mode": mode, "ft_order_id": sale})
        waits: bool = answer["buying"]
        return waits

    for_money = await live.signal()
    await switch(live, shadow=True)
    assert (await awaited("live"), await awaited("paper")) == (True, False)
    on_paper = await live.signal()
    assert await awaited("paper")
    await live.decide(on_paper, mode="paper")
    assert not await awaited("paper")
    await live.decide(for_money, mode="live")
    assert not await awaited("live")
