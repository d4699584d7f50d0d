"""A freeze is nobody's pause: it stops the money whose books contradict themselves, until somebody arms on purpose."""

from collections.abc import AsyncIterator

import pytest

from tests.database.test_sql_holdings import sell
from tests.support.desk import Desk, fill


@pytest.fixture
async def live(database: str) -> AsyncIterator[Desk]:
    desk = await Desk.open(database, mode="live")
    await desk.strategy()
    await desk.ready()
    yield desk
    await desk.close()


async def turned(desk: Desk, action: str) -> bool:
    asked = {"scope": "strategy:LT_ONE", "action": action, "reason": "lunch", "actor": "operator"}
    changed: bool = (await desk.call("lt_control", {"mode": "live", **asked}))["changed"]
    return changed


async def test_a_freeze_is_set_beside_a_pause_and_outlives_it(live: Desk) -> None:
    bought = await live.claim(await live.signal())
    await live.record(bought["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="final")])
    sale = await sell(live, "12")
    await turned(live, "pause")
    sold = [fill("15", side="SELL", state="final")]
    why = (await live.record(sale["exchange_order_id"], "matched", closed=True, fills=sold))["frozen"]
    assert why is not None

    assert await turned(live, "resume")
    refused = await live.claim(await live.signal())
    assert (refused["reason"], refused["limit"]) == ("strategy_paused", why)
    status = await live.call("lt_status", {"mode": "live"})
    assert status["strategies"][0]["standing"] == "frozen"
    (needs,) = [one for one in status["needs_human"] if one["what"] == "frozen"]
    assert needs["fix"].endswith("polycopy-worker arm --strategy LT_ONE")
    (loaded,) = await live.rows(
        "select public.lt_strategies_load('live') #> '{strategies,0,controls}' as held"
    )
    assert loaded["held"] == ["freeze"]

    assert await turned(live, "arm")
    assert (await live.claim(await live.signal()))["granted"]


async def test_a_freeze_on_paper_stops_no_money(live: Desk) -> None:
    await live.insert(
        "lt_controls",
        {
            "scope": "strategy:LT_ONE",
            "action": "freeze",
            "mode": "paper",
            "reason": "oversold",
            "actor": "ledger",
        },
    )
    assert (await live.claim(await live.signal()))["granted"]
    await live.execute("update public.lt_controls set mode = 'live'")
    assert (await live.claim(await live.signal()))["reason"] == "strategy_paused"
