"""The limits of a strategy inside its claim: each trips exactly at its value, NULL is off, and no exit meets one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.support.desk import fill
from tests.support.eventually import eventually
from tests.support.trader import Trader

CENT, ONE = Decimal("0.01"), Decimal(1)
ELSEWHERE, FAR_AWAY = "0x" + "c1" * 32, "0x" + "c2" * 32


async def one_day() -> None:
    """What is called today must not become yesterday in the middle of a test."""
    await eventually(
        lambda: datetime.now(UTC) < _midnight() + timedelta(hours=23, minutes=59, seconds=40), within_s=30
    )


def _midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def since_yesterday() -> timedelta:
    return datetime.now(UTC) - _midnight() + timedelta(minutes=1)


# --- what an order would come to


async def nothing(trader: Trader) -> None:
    del trader


async def two_positions(trader: Trader) -> None:
    """5 dollars are held in the market of the next order, 6 are reserved in another."""
    await trader.buy("10")
    await trader.claim(condition_id=ELSEWHERE)


async def two_other_markets(trader: Trader) -> None:
    await trader.buy("10", ELSEWHERE)
    await trader.claim(condition_id=FAR_AWAY)
    emptied = await trader.buy("10", "0x" + "c3" * 32)
    await trader.desk.execute(
        "update public.lt_orders set outcome = 'WON', resolved_at = now() where order_id = %(id)s",
        id=emptied["exchange_order_id"],
    )


async def a_day_of_trades(trader: Trader) -> None:
    """5 dollars went today and 6 may go; a trade of yesterday, one that was taken back, and what came to nothing do not count."""
    await trader.buy("10")
    await trader.buy("12", matched_at=(_midnight() - timedelta(seconds=1)).isoformat())
    reversed_order = await trader.claim()
    await trader.desk.record(
        reversed_order["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="reversed")]
    )
    killed = await trader.claim()
    await trader.desk.record(killed["exchange_order_id"], "killed")
    await trader.claim()


async def two_orders_now_and_one_before(trader: Trader) -> None:
    """The first stands for one that rests since more than a minute ago."""
    for _ in range(3):
        await trader.claim()
    await trader.desk.connection.execute("reset role")
    await trader.desk.execute("set session_replication_role = replica")  # no trigger forbids it
    await trader.desk.execute(
        "update public.lt_order_attempts set created_at = created_at - interval '61 seconds' where exchange_order_id ="
        " (select min(exchange_order_id) from public.lt_order_attempts where strategy_id = %(s)s)",
        s=trader.strategy_id,
    )
    await trader.desk.execute("reset session_replication_role")
    await trader.desk.connection.execute("set role service_role")


@dataclass(frozen=True)
class Ceiling:
    """An order of 6 dollars would bring `column`'s number to `comes_to`: that much is still allowed."""

    reason: str
    column: str
    situation: Callable[[Trader], Awaitable[None]]
    comes_to: Decimal
    unit: Decimal = CENT


CEILINGS = [
    Ceiling("above_max_order_size", "max_order_size_usd", nothing, Decimal(6)),
    Ceiling("max_position_size", "max_position_size_usd", two_positions, Decimal(11)),
    Ceiling("max_total_exposure", "max_total_exposure_usd", two_positions, Decimal(17)),
    Ceiling("insufficient_capital", "initial_capital", two_positions, Decimal(17)),
    Ceiling("daily_budget", "daily_budget_usd", a_day_of_trades, Decimal(17)),
    Ceiling("max_open_positions", "max_open_positions", two_other_markets, Decimal(3), ONE),
    Ceiling("max_orders_per_minute", "max_orders_per_minute", two_orders_now_and_one_before, Decimal(3), ONE),
]


@pytest.mark.parametrize("ceiling", CEILINGS, ids=lambda ceiling: ceiling.reason)
async def test_an_order_may_reach_a_limit_and_not_pass_it(trader: Trader, ceiling: Ceiling) -> None:
    await one_day()
    await ceiling.situation(trader)
    await trader.set(**{ceiling.column: ceiling.comes_to - ceiling.unit})
    refused = await trader.claim(may_redecide=True)
    assert (refused["granted"], refused["reason"]) == (False, ceiling.reason)
    if ceiling.reason != "insufficient_capital":
        shown = Decimal(refused["value"]), Decimal(refused["limit"])
        assert shown == (ceiling.comes_to, ceiling.comes_to - ceiling.unit)
    else:
        assert (refused["value"], refused["limit"]) == ("6.00", "5.99")

    for room in (ceiling.unit, Decimal(0)):
        await trader.set(**{ceiling.column: ceiling.comes_to + room})
        async with trader.desk.connection.transaction(force_rollback=True):
            assert (await trader.claim())["granted"], room
    if ceiling.column != "initial_capital":  # the one that is never off
        await trader.set(**{ceiling.column: None})
        assert (await trader.claim())["granted"]


# --- what has happened already


async def lost_today(trader: Trader) -> None:
    await trader.resolved("-20", ago=since_yesterday())
    await trader.resolved("-7")
    await trader.resolved("2")


async def a_fifth_below_its_peak(trader: Trader) -> None:
    await trader.resolved("250", ago=since_yesterday())
    await trader.resolved("-250", ago=since_yesterday())


async def two_in_a_row(trader: Trader) -> None:
    for hours, pnl in ((4, "-1"), (3, "1"), (2, "-1"), (1, "-1")):
        await trader.resolved(pnl, ago=timedelta(hours=hours))


@dataclass(frozen=True)
class Tripwire:
    """`reached` is what has happened: a limit of that much has tripped."""

    reason: str
    column: str
    situation: Callable[[Trader], Awaitable[None]]
    reached: Decimal
    unit: Decimal = CENT


TRIPWIRES = [
    Tripwire("daily_loss_limit", "max_daily_loss_usd", lost_today, Decimal(5)),
    Tripwire("drawdown_breaker", "circuit_breaker_loss_pct", a_fifth_below_its_peak, Decimal(20)),
    Tripwire("max_consecutive_losses", "max_consecutive_losses", two_in_a_row, Decimal(2), ONE),
]


@pytest.mark.parametrize("wire", TRIPWIRES, ids=lambda wire: wire.reason)
async def test_what_has_happened_trips_a_limit_by_reaching_it(trader: Trader, wire: Tripwire) -> None:
    await one_day()
    await wire.situation(trader)
    assert (await trader.claim())["granted"]  # NULL is off
    await trader.set(**{wire.column: wire.reached + wire.unit})
    assert (await trader.claim())["granted"]
    for limit in (wire.reached, wire.reached - wire.unit):
        await trader.set(**{wire.column: limit})
        async with trader.desk.connection.transaction(force_rollback=True):
            refused = await trader.claim()
        assert (refused["granted"], refused["reason"], refused["recorded"]) == (False, wire.reason, True)
        # Of a streak no more is counted than its limit asks for.
        reached = limit if wire.unit == ONE else wire.reached
        assert (Decimal(refused["value"]), Decimal(refused["limit"])) == (reached, limit)


async def test_a_win_ends_a_streak_and_what_came_out_even_does_not(trader: Trader) -> None:
    await two_in_a_row(trader)
    await trader.resolved("0")
    await trader.set(max_consecutive_losses=Decimal(2))
    assert (await trader.claim())["reason"] == "max_consecutive_losses"
    await trader.resolved("0.01")
    assert (await trader.claim())["granted"]


async def test_a_sale_below_cost_is_a_loss_however_many_trades_it_took(trader: Trader) -> None:
    await trader.buy("12")
    sale = await trader.sell("12")
    parts = [
        fill("6", "0.4", side="SELL", state="final", matched_at=(datetime.now(UTC) - ago).isoformat())
        for ago in (timedelta(seconds=2), timedelta(seconds=1))
    ]
    await trader.desk.record(sale["exchange_order_id"], "matched", closed=True, fills=parts)
    await trader.set(max_consecutive_losses=Decimal(2))
    assert (await trader.claim())["granted"]
    await trader.set(max_consecutive_losses=Decimal(1))
    assert (await trader.claim())["reason"] == "max_consecutive_losses"


# --- together


async def test_6_dollars_of_10_that_are_free_are_granted(trader: Trader) -> None:
    await trader.set(initial_capital=Decimal(10), max_total_exposure_usd=Decimal(10))
    granted = await trader.claim()
    assert granted["granted"]
    assert granted["capital"]["available_usd"] == "4.00"


async def test_a_further_order_in_a_market_is_no_further_position(trader: Trader) -> None:
    await trader.set(max_open_positions=Decimal(1))
    assert (await trader.claim())["granted"]
    assert (await trader.claim())["granted"]
    assert (await trader.claim(condition_id=ELSEWHERE))["reason"] == "max_open_positions"


async def test_a_trade_of_today_counts_though_its_order_was_given_up_yesterday(trader: Trader) -> None:
    await one_day()
    given_up = await trader.claim()
    await trader.desk.connection.execute("reset role")
    await trader.desk.execute("set session_replication_role = replica")
    await trader.desk.execute(
        "update public.lt_order_attempts set state = 'lost', closed_at = %(at)s, created_at = %(at)s"
        " where exchange_order_id = %(id)s",
        at=datetime.now(UTC) - since_yesterday(),
        id=given_up["exchange_order_id"],
    )
    await trader.desk.execute("reset session_replication_role")
    await trader.desk.connection.execute("set role service_role")
    late = await trader.desk.record(
        given_up["exchange_order_id"], "matched", closed=True, fills=[fill("12", state="final")]
    )
    assert late["late"]
    await trader.set(daily_budget_usd=Decimal("11.99"))
    refused = await trader.claim()
    assert (refused["reason"], refused["value"]) == ("daily_budget", "12.00")


async def test_of_positions_beyond_their_limit_no_more_are_counted_than_it_asks_for(trader: Trader) -> None:
    for number in range(5):
        assert (await trader.claim(condition_id=f"0xd{number}"))["granted"]
    await trader.set(max_open_positions=Decimal(2))
    refused = await trader.claim()
    assert (refused["reason"], refused["value"], refused["limit"]) == ("max_open_positions", "3", "2")


async def test_too_many_orders_in_a_minute_leave_the_signal_for_later(trader: Trader) -> None:
    await trader.set(max_orders_per_minute=Decimal(1))
    assert (await trader.claim())["granted"]
    refused = await trader.claim()
    assert (refused["reason"], refused["recorded"]) == ("max_orders_per_minute", False)


async def test_no_limit_and_no_breaker_blocks_an_exit(trader: Trader) -> None:
    await trader.buy("12")
    await trader.resolved("-900")
    least = dict.fromkeys(("max_order_size_usd", "max_position_size_usd", "max_total_exposure_usd"), CENT)
    least |= dict.fromkeys(("daily_budget_usd", "max_daily_loss_usd", "initial_capital"), CENT)
    least |= dict.fromkeys(("max_consecutive_losses", "max_open_positions", "max_orders_per_minute"), ONE)
    await trader.set(**least, circuit_breaker_loss_pct=ONE)
    assert (await trader.claim())["reason"] == "drawdown_breaker"
    assert (await trader.claim())["reason"] == "breaker_active"
    await trader.desk.execute(
        "update public.lt_wallets set as_of = now() - interval '1 day' where wallet_address = %(w)s",
        w=trader.wallet,
    )
    sale = await trader.sell("12")
    assert sale["granted"]


@pytest.mark.parametrize("column", ["max_consecutive_losses", "max_open_positions", "max_orders_per_minute"])
async def test_no_order_at_all_is_no_limit(trader: Trader, column: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await trader.set(**{column: Decimal(0)})
