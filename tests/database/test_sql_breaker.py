"""The circuit breaker: it trips with its reason, no day and no screen arms it, and whoever arms it starts from what is left."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.support.desk import Row, fill
from tests.support.trader import Trader
from worker.orders.passing import SET_BY_THE_PLATFORM

TWENTY = Decimal(20)

# What the executor before us does every midnight.
DAILY_RESET = (
    "update public.lt_strategies set daily_spent_usd = 0, daily_loss_usd = 0, consecutive_losses = 0,"
    " circuit_breaker_active = false, last_reset_date = current_date where strategy_id = %(s)s"
)


async def latches(trader: Trader) -> list[Row]:
    query = (
        "select * from public.lt_controls where scope = %(scope)s and action = 'breaker' order by control_id"
    )
    return await trader.desk.rows(query, scope=f"strategy:{trader.strategy_id}")


async def loaded(trader: Trader) -> Row:
    """The strategy as a worker in the trader's mode reads it."""
    query = "select public.lt_strategies_load(%(mode)s) -> 'strategies' as rows"
    rows = (await trader.desk.row(query, mode=trader.desk.mode))["rows"]
    (found,) = [row for row in rows if row["strategy_id"] == trader.strategy_id]
    return dict(found)


async def tripped(trader: Trader, pnl: str = "-200") -> None:
    """A fifth of 1,000 dollars is lost, and a claim finds it."""
    await trader.set(circuit_breaker_loss_pct=TWENTY)
    await trader.resolved(pnl)
    assert (await trader.claim())["reason"] == "drawdown_breaker"


async def test_a_tripped_breaker_stays_tripped_whatever_is_won_back(live_trader: Trader) -> None:
    await tripped(live_trader)
    (latch,) = await latches(live_trader)
    assert (latch["mode"], latch["actor"], latch["cleared_at"]) == ("live", "claim", None)
    assert latch["reason"] == "20.00 % of 1000.00 USD were lost, the limit is 20.00 %"
    shown = await live_trader.row()
    assert (shown["circuit_breaker_active"], shown["current_drawdown_pct"]) == (True, Decimal("0.2"))

    await live_trader.resolved("500")
    refused = await live_trader.claim()
    assert (refused["reason"], refused["value"], refused["limit"]) == (
        "breaker_active",
        latch["reason"],
        "20.00",
    )
    assert len(await latches(live_trader)) == 1


async def test_midnight_and_a_screen_that_clears_the_column_arm_nothing(live_trader: Trader) -> None:
    await tripped(live_trader)
    await live_trader.desk.execute(
        "update public.lt_controls set created_at = created_at - interval '1 day' where scope = %(scope)s",
        scope=f"strategy:{live_trader.strategy_id}",
    )
    await live_trader.desk.execute(DAILY_RESET, s=live_trader.strategy_id)
    assert (await live_trader.row())["circuit_breaker_active"]  # the screens go on telling the truth
    assert (await live_trader.claim())["reason"] == "breaker_active"


async def test_what_the_platform_sets_itself_stops_entries_until_the_platform_clears_it(
    live_trader: Trader,
) -> None:
    await live_trader.set(circuit_breaker_active=True, circuit_breaker_loss_pct=TWENTY)
    assert (await loaded(live_trader))["circuit_breaker_active"] is True
    refused = await live_trader.claim()
    assert (refused["reason"], refused["value"], refused["limit"]) == (
        "breaker_active",
        SET_BY_THE_PLATFORM,
        None,
    )
    await live_trader.set(circuit_breaker_active=False)
    assert (await live_trader.claim())["granted"]
    assert await latches(live_trader) == []


async def test_the_platforms_column_is_about_money_and_stops_nothing_on_paper(trader: Trader) -> None:
    await trader.set(circuit_breaker_active=True)
    assert (await loaded(trader))["circuit_breaker_active"] is False
    assert (await trader.claim())["granted"]


async def test_a_column_that_nothing_ever_set_is_no_breaker(live_trader: Trader) -> None:
    await live_trader.set(circuit_breaker_active=None)
    assert (await loaded(live_trader))["circuit_breaker_active"] is False
    assert (await live_trader.claim())["granted"]
    await live_trader.arm()
    assert (await live_trader.row())["circuit_breaker_active"] is False


async def test_a_cooldown_that_was_never_set_is_the_columns_default(trader: Trader) -> None:
    await trader.resolved("50", ago=timedelta(hours=2, minutes=59))
    await trader.resolved("70", ago=timedelta(hours=3, minutes=1))
    await trader.set(cooldown_hours=None)
    assert (await trader.desk.capital(trader.strategy_id))["cooldown_usd"] == "50.00"


async def test_the_record_that_finds_the_loss_trips_the_breaker_and_no_later_one(live_trader: Trader) -> None:
    await live_trader.set(initial_capital=Decimal(9))
    await live_trader.buy("12")
    sale = (await live_trader.sell("12"))["exchange_order_id"]
    await live_trader.set(circuit_breaker_loss_pct=TWENTY)
    halves = [fill("6", "0.2", side="SELL", state="final") for _ in range(2)]  # each loses 1.80
    await live_trader.desk.record(sale, "matched", fills=halves[:1])
    (latch,) = await latches(live_trader)
    assert (latch["actor"], latch["reason"]) == (
        "ledger",
        "20.00 % of 9.00 USD were lost, the limit is 20.00 %",
    )
    shown = await live_trader.row()
    assert shown["circuit_breaker_active"]

    await live_trader.desk.record(sale, "matched", closed=True, fills=halves)
    assert (await live_trader.desk.capital(live_trader.strategy_id))["realised_usd"] == "-3.60"
    assert await latches(live_trader) == [latch]
    assert await live_trader.row() == shown  # nothing to be read again


async def test_a_market_that_is_settled_trips_the_breakers_of_those_who_lost(live_trader: Trader) -> None:
    market = "0x" + "d1" * 32
    await live_trader.set(initial_capital=Decimal(30), circuit_breaker_loss_pct=TWENTY)
    await live_trader.buy("12", market)
    ended = {"mode": "live", "condition_id": market, "winning_token_id": "another", "winning_label": "No"}
    assert (await live_trader.desk.call("lt_settle_market", ended))["lost"] == 1
    (latch,) = await latches(live_trader)
    assert (latch["actor"], latch["reason"]) == (
        "ledger",
        "20.00 % of 30.00 USD were lost, the limit is 20.00 %",
    )


async def test_an_armed_strategy_may_lose_that_share_of_what_is_left(live_trader: Trader) -> None:
    await tripped(live_trader)
    armed = await live_trader.arm()
    assert (armed["had_tripped"], armed["capital"]["peak_equity_usd"]) == (True, "800.00")
    (latch,) = await latches(live_trader)
    assert (latch["cleared_by"], (await live_trader.row())["circuit_breaker_active"]) == ("operator", False)

    await live_trader.resolved("-159.99")
    assert (await live_trader.claim())["granted"]
    await live_trader.resolved("-0.01")
    refused = await live_trader.claim()
    assert (refused["reason"], refused["value"]) == ("drawdown_breaker", "20.00")


async def test_the_highest_equity_rises_again_after_arming(live_trader: Trader) -> None:
    await tripped(live_trader)
    await live_trader.arm()
    await live_trader.resolved("100")
    await live_trader.resolved("-179.99")
    assert (await live_trader.claim())["granted"]
    await live_trader.resolved("-0.01")  # 180 of 900
    assert (await live_trader.claim())["reason"] == "drawdown_breaker"


async def test_arming_begins_the_count_of_losses_in_a_row_anew(trader: Trader) -> None:
    await trader.set(max_consecutive_losses=Decimal(2))
    for _ in range(2):
        await trader.resolved("-1")
    assert (await trader.claim())["reason"] == "max_consecutive_losses"
    assert not (await trader.arm())["had_tripped"]
    assert (await trader.claim())["granted"]
    await trader.resolved("-1")
    assert (await trader.claim())["granted"]
    await trader.resolved("-1")
    assert (await trader.claim())["reason"] == "max_consecutive_losses"


async def test_checkpoints_around_an_arming_add_up(trader: Trader) -> None:
    await trader.resolved("50")
    await trader.desk.call("lt_checkpoint", {"least": 1})
    await tripped(trader, "-210")
    await trader.desk.call("lt_checkpoint", {"least": 1})
    for _ in range(2):  # at the very entry of a checkpoint, and twice
        assert (await trader.arm())["capital"]["peak_equity_usd"] == "840.00"
    await trader.resolved("10")
    await trader.desk.call("lt_checkpoint", {"least": 1})
    assert (await trader.desk.capital(trader.strategy_id))["peak_equity_usd"] == "850.00"

    bookmark: object = None
    for _ in range(3):
        audit = {"strategy_id": trader.strategy_id, "bookmark": bookmark}
        audited = await trader.desk.call("lt_audit_capital", audit)
        assert audited["differences"] == []
        bookmark = audited["bookmark"]
    assert bookmark is None


async def test_losses_on_paper_trip_nothing_but_paper(trader: Trader, shared_database: str) -> None:
    await tripped(trader)
    assert not (await trader.row())["circuit_breaker_active"]
    live = Trader(
        await type(trader.desk).open(shared_database, mode="live"), trader.strategy_id, trader.wallet
    )
    live.desk.wallets.add("FT_ONE")
    await live.desk.execute(
        "update public.lt_leases set mode = 'live' where wallet_address = %(w)s", w=trader.wallet
    )
    live.desk.fence = trader.desk.fence
    await live.desk.balance("1000", wallet=trader.wallet)
    assert (await live.claim())["granted"]
    loaded = {
        mode: next(
            row["controls"]
            for row in (await trader.desk.call("lt_strategies_load", mode))["strategies"]
            if row["strategy_id"] == trader.strategy_id
        )
        for mode in ("paper", "live")
    }
    assert loaded == {"paper": ["breaker"], "live": []}
    await live.desk.close()


async def test_less_initial_capital_is_no_loss(trader: Trader) -> None:
    await trader.set(circuit_breaker_loss_pct=TWENTY)
    await trader.resolved("100", ago=timedelta(days=1))
    await trader.set(initial_capital=Decimal(500))
    assert (await trader.claim())["granted"]
    await trader.resolved("-119.99")
    assert (await trader.claim())["granted"]
    await trader.resolved("-0.01")  # 120 of 600
    assert (await trader.claim())["reason"] == "drawdown_breaker"


async def test_nobody_arms_without_a_name(trader: Trader) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="armed by somebody"):
        await trader.desk.call("lt_arm", {"mode": "paper", "strategy_id": trader.strategy_id, "actor": " "})
