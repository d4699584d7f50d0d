"""The user stream only shortens the wait for a look-up: silent, it delays a fill by no more than the look-ups' interval."""

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import Town, open_town
from tests.support.eventually import eventually
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row

pytestmark = pytest.mark.timeout(180)

MOST_S = 1.0
BUSY_MACHINE_S = 10.0
BY_LOOKING = {"POLYCOPY_PENDING__FIRST_S": "0.3", "POLYCOPY_PENDING__MOST_S": str(MOST_S)}
# Longer than any test lasts: whoever is looked up was told of.
BY_HEARING = {"POLYCOPY_PENDING__FIRST_S": "600", "POLYCOPY_PENDING__MOST_S": "600"}


@pytest.fixture
async def town(cluster: Postgres, migrated_template: str) -> AsyncIterator[Town]:
    """Trades are final soon."""
    async with open_town(cluster, migrated_template, mined_after_s=0.3, confirmed_after_s=0.3) as town:
        yield town


async def test_with_a_stream_that_is_connected_and_says_nothing_a_fill_is_booked_within_the_look_ups_interval(
    town: Town,
) -> None:
    async with town.worker(BY_LOOKING):
        await eventually(lambda: connected(town))
        await town.world.exchange.call("stall", on=True)
        token = await rests(town)
        await eventually(lambda: looked_up(town, 3))  # by now as seldom as it will ever be
        matched_at = await is_met(town, token)
        (fill,) = await eventually(lambda: fills(town))
        assert (fill["booked_at"] - matched_at).total_seconds() <= MOST_S + BUSY_MACHINE_S
        await eventually(lambda: is_final(town), within_s=40)
        assert await connected(town)
    heard = await town.rows("select state, role from public.lt_fills")
    assert heard == [{"state": "final", "role": "MAKER"}]


async def test_a_stream_that_speaks_spares_the_wait(town: Town) -> None:
    async with town.worker(BY_HEARING):
        await eventually(lambda: connected(town))
        token = await rests(town)
        await is_met(town, token)
        assert await eventually(lambda: fills(town))


async def connected(town: Town) -> bool:
    """One for each wallet."""
    state = await town.world.exchange.read("state")
    return bool(state["user_streams"] == len(town.world.wallets))


async def rests(town: Town) -> str:
    """An order on the book of a market on which nobody else is; returns its token."""
    market = await town.world.exchange.call("market", name="Will anybody sell?")
    trade = Trade(market["condition"], market["outcomes"][0], "BUY", Decimal("0.50"), market["question"])
    await town.insert([signal_row(trade, ft_wallet_id="FT_VALUE", size_usd=Decimal(10))])

    async def is_on_the_book() -> bool:
        return [row["state"] for row in await attempts(town)] == ["live"]

    await eventually(is_on_the_book, within_s=60)
    return str(market["tokens"][0])


async def is_met(town: Town, token: str) -> datetime:
    """Somebody sells to it. Returns the database's time just before."""
    (row,) = await town.rows("select clock_timestamp() as now")
    await town.world.exchange.quote(token, "SELL", "0.50", "1000")
    now: datetime = row["now"]
    return now


async def attempts(town: Town) -> list[dict[str, Any]]:
    return await town.rows("select state, lookups from public.lt_order_attempts")


async def looked_up(town: Town, times: int) -> bool:
    return [row["lookups"] >= times for row in await attempts(town)] == [True]


async def fills(town: Town) -> list[dict[str, Any]]:
    return await town.rows("select booked_at, state from public.lt_fills")


async def is_final(town: Town) -> bool:
    return [fill["state"] for fill in await fills(town)] == ["final"]
