"""A position from its purchase to its sale, and a tick that changes between two orders, through the whole worker."""

import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town, open_town
from tests.support.eventually import eventually
from worker.sandbox.postgres import Postgres
from worker.sandbox.signals import Trade, signal_row

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

D = Decimal
OTHER_TRADER = {"trader_address": "0x" + "99" * 20}


@pytest.fixture
async def town(cluster: Postgres, migrated_template: str) -> AsyncIterator[Town]:
    """Trades are final three seconds after they were made."""
    async with open_town(cluster, migrated_template, mined_after_s=1.0, confirmed_after_s=2.0) as town:
        yield town


class Pit:
    """A market of this test's own, where nothing moves by itself."""

    def __init__(self, town: Town, listed: dict[str, Any]) -> None:
        self.town = town
        self.condition, self.token = str(listed["condition"]), str(listed["tokens"][0])
        self._outcome = str(listed["outcomes"][0])

    @classmethod
    async def open(cls, town: Town, name: str, *, tick: str = "0.01") -> "Pit":
        pit = cls(town, await town.world.exchange.call("market", name=name, tick=tick))
        await town.world.exchange.quote(pit.token, "SELL", "0.50", "100000")
        await town.world.exchange.quote(pit.token, "BUY", "0.49", "100000")
        return pit

    async def signals(self, *trades: tuple[str, str], **columns: Any) -> list[str]:
        """Paper trades at 50 cents, by side and dollars, in one transaction."""
        rows = [
            signal_row(
                Trade(self.condition, self._outcome, side, D("0.50"), ""),
                ft_wallet_id="FT_MOMENTUM",
                size_usd=D(dollars),
            )
            | columns
            for side, dollars in trades
        ]
        await self.town.insert(rows)
        return [str(row["order_id"]) for row in rows]

    async def positions(self) -> list[dict[str, Any]]:
        """Each strategy's, with the shares of its wallet on the chain."""
        rows = await self.town.rows(
            "select p.*, s.wallet_address from public.lt_positions p join public.lt_strategies s using (strategy_id)"
            " where p.token_id = %s order by p.strategy_id",
            self.token,
        )
        for row in rows:
            wallet = await self.town.world.exchange.call(
                "shares", address=row["wallet_address"], token=self.token, shares="0"
            )
            row["on_chain"] = D(wallet["balance"])
        return rows


async def test_half_of_a_position_is_sold_once_it_has_settled_and_a_changed_tick_is_met_in_between(
    town: Town,
) -> None:
    pit = await Pit.open(town, "exits")
    fine = await Pit.open(town, "ticks", tick="0.001")
    async with town.worker():
        # The sale is there before its purchase is executed, as after an outage.
        bought, half = await pit.signals(("BUY", "10.00"), ("SELL", "5.00"))
        (others,) = await pit.signals(("SELL", "5.00"), **OTHER_TRADER)
        (odd,) = await pit.signals(("HOLD", "5.00"))
        await eventually(lambda: _decided(town, others, "sell_no_position"))
        await eventually(lambda: _decided(town, odd, "unknown_side"))
        await _changes_tick(fine)
        await eventually(lambda: _decided(town, half, "executed"), within_s=60)
        await eventually(lambda: _settled(town, pit.token, 4), within_s=60)
        assert await town.decisions(bought) == dict.fromkeys(BOTH_MOMENTUM, "executed")

    deferred = await town.rows(
        "select history from public.lt_decisions where ft_order_id = %s", uuid.UUID(half)
    )
    assert [[spell["reason"] for spell in row["history"]] for row in deferred] == [["position_unsettled"]] * 2
    for held in await pit.positions():
        assert D(0) <= held["bought_shares"] / 2 - held["sold_shares"] < D("0.01")
        assert held["sellable_shares"] == held["on_chain"] == held["bought_shares"] - held["sold_shares"]
    sales = await town.rows(
        "select o.*, a.limit_price from public.lt_orders o join public.lt_order_attempts a using (lt_order_id)"
        " where o.side = 'SELL'"
    )
    assert [(sale["status"], sale["outcome"], sale["fill_rate"]) for sale in sales] == [
        ("FILLED", "OPEN", 1)
    ] * 2
    assert all(sale["executed_price"] == D("0.49") >= sale["limit_price"] for sale in sales)
    assert len(await town.accepted()) == 8
    for capital in await town.rows("select * from public.lt_capital_now where mode = 'live'"):
        kept = sum(capital[f"{part}_usd"] for part in ("available", "locked", "cooldown", "awaiting_redeem"))
        assert kept == capital["initial_usd"] + capital["realised_usd"]


async def _changes_tick(pit: Pit) -> None:
    """One signal before, one after it: limits of 0.515 and 0.525 are none of the market's any more."""
    town = pit.town
    (before,) = await pit.signals(("BUY", "10.00"))
    await eventually(lambda: _decided(town, before, "executed"))
    await town.world.exchange.call("tick", condition=pit.condition, tick="0.01")
    (after,) = await pit.signals(("BUY", "10.00"))
    limits = await eventually(lambda: _matched_at(town, after))
    assert limits == [D("0.51"), D("0.52")]
    attempts = await town.rows(
        "select state from public.lt_order_attempts where ft_order_id = %s and attempt_no = 1",
        uuid.UUID(after),
    )
    assert "rejected" in {
        attempt["state"] for attempt in attempts
    }  # whoever came second may have known the tick


async def _matched_at(town: Town, signal: str) -> list[Decimal]:
    rows = await town.rows(
        "select limit_price from public.lt_order_attempts where ft_order_id = %s and state = 'matched' order by 1",
        uuid.UUID(signal),
    )
    assert len(rows) == len(BOTH_MOMENTUM)
    return [row["limit_price"] for row in rows]


async def _decided(town: Town, signal: str, reason: str) -> bool:
    assert await town.decisions(signal) == dict.fromkeys(BOTH_MOMENTUM, reason)
    return True


async def _settled(town: Town, token: str, orders: int) -> bool:
    rows = await town.rows(
        "select a.closed_at is not null and t.shares = t.final_shares as settled"
        " from public.lt_order_attempts a join public.lt_attempt_totals t using (exchange_order_id)"
        " where a.token_id = %s",
        token,
    )
    assert [row["settled"] for row in rows] == [True] * orders
    return True
