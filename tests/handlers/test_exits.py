"""Sales through the real path: judged on the ledger's holdings, claimed, sent to the simulated exchange, and booked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.orders.builders import a_capital
from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.pending_desk import booked, looking_up, traded
from tests.support.trading_room import POLICY, TradingRoom, open_room
from worker.execution.submit import Executed
from worker.handlers.judge import Case, Judge
from worker.orders.decide import Plan
from worker.orders.ports import Refused
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal, parse_signal
from worker.orders.skips import Skip
from worker.orders.terms import OrderType, Side
from worker.sandbox.supabase import SupabaseSandbox

D = Decimal


@pytest.fixture
async def room(supabase: SupabaseSandbox) -> AsyncIterator[TradingRoom]:
    async with open_room(supabase) as room:
        await room.desk.execute("update public.ft_wallets set bet_size = 20, max_bet = 20")
        yield room


def judge_of(room: TradingRoom) -> Judge:
    return Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches)


async def case(room: TradingRoom, **columns: object) -> Case:
    signal = parse_signal(await room.row(await room.signal(**columns)))
    assert isinstance(signal, Signal), signal
    return Case(signal, await room.strategy(), None)


async def verdict(room: TradingRoom, side: str, dollars: str, **columns: object) -> Plan | Skip:
    """What the worker decides for a paper trade of now at 50 cents."""
    paper = {"side": side, "size": dollars, "entry_price": "0.5015", "order_time": datetime.now(UTC)}
    return await judge_of(room).verdict(await case(room, **paper | columns), room.clock.now())


async def plan(room: TradingRoom, side: str, dollars: str, **columns: object) -> Plan:
    made = await verdict(room, side, dollars, **columns)
    assert isinstance(made, Plan), made
    return made


async def traded_as(room: TradingRoom, order_type: OrderType) -> None:
    await room.desk.execute("update public.lt_strategies set order_type = %(type)s", type=order_type)


async def bought(room: TradingRoom, dollars: str) -> Executed:
    """A purchase whose trades are all final."""
    executed = await room.executed(await plan(room, "BUY", dollars))
    async with looking_up(room):
        await eventually(lambda: _is_settled(room, executed.envelope.order_id))
    return executed


async def position(room: TradingRoom) -> Row:
    """Of the market of now."""
    return await room.desk.row(
        "select bought_shares, sold_shares, unsold_shares, sellable_shares, sold_usd from public.lt_positions"
        " where token_id = %(token)s and mode = 'live'",
        token=room.floor.yes,
    )


async def test_each_order_type_sells_the_traders_part_at_a_bounded_price_and_is_booked_to_the_unit(
    room: TradingRoom,
) -> None:
    for order_type in OrderType:
        room.floor = room.floor.with_market()
        room.floor.offer("0.50", "1000")
        room.floor.bid("0.49", "1000")
        await traded_as(room, OrderType.FAK)
        await bought(room, "10.00")
        had = (await position(room))["bought_shares"]
        await traded_as(room, order_type)

        sale = await plan(room, "SELL", "5.00")
        assert (sale.side, sale.order_type, sale.limit_price) == (Side.SELL, order_type, D("0.49"))
        half = sale.amounts.shares
        assert half is not None
        assert D(0) <= had / 2 - half < D("0.01")
        executed = await room.executed(sale)
        async with looking_up(room):
            await eventually(lambda: _is_settled(room, executed.envelope.order_id))  # noqa: B023 - awaited here
        after = await position(room)
        assert (after["sold_shares"], after["unsold_shares"]) == (half, had - half)
        assert after["sellable_shares"] == after["unsold_shares"]
        order = await room.desk.order(executed.granted.lt_order_id)
        assert (order["side"], order["status"], order["fill_rate"]) == ("SELL", "FILLED", 1)
        assert order["executed_price"] >= sale.limit_price
        assert (order["shares_bought"], order["shares_remaining"]) == (half, 0)
    assert await booked(room) == traded(room)


async def test_what_a_sale_did_not_sell_is_there_for_the_next_one_and_not_before(room: TradingRoom) -> None:
    await traded_as(room, OrderType.FAK)
    room.floor.bid("0.49", "6")
    await bought(room, "10.00")
    had = (await position(room))["bought_shares"]
    await room.executed(await plan(room, "SELL", "5.00"))
    async with looking_up(room):
        await eventually(lambda: _sold(room, "6"))
    assert (await position(room))["unsold_shares"] == had - 6

    await traded_as(room, OrderType.GTC)
    resting = await room.executed(await plan(room, "SELL", "2.50"))
    reserved = (await room.attempts())[-1]["reserve_shares"]
    assert (await position(room))["sellable_shares"] == had - 6 - reserved
    everything = await plan(room, "SELL", "5.00")
    assert everything.amounts.shares == _whole_cents(had - 6 - reserved)
    assert await room.exchange.cancel(room.floor.wallet, resting.envelope.order_id)
    async with looking_up(room):
        await eventually(lambda: _is_settled(room, resting.envelope.order_id))
    assert (await position(room))["sellable_shares"] == had - 6


async def test_of_two_sales_that_race_for_the_same_shares_exactly_one_is_sent(room: TradingRoom) -> None:
    room.floor.bid("0.49", "1000")
    await bought(room, "10.00")
    had = (await position(room))["bought_shares"]
    sales = [await plan(room, "SELL", "10.00"), await plan(room, "SELL", "10.00")]
    assert [sale.amounts.shares for sale in sales] == [_whole_cents(had)] * 2
    results = await asyncio.gather(*(room.execute(sale) for sale in sales))
    (refused,) = (result for result in results if isinstance(result, Refused))
    assert refused.reason is SkipReason.POSITION_UNSETTLED  # asked again, in case the other comes to nothing
    assert sum(isinstance(result, Executed) for result in results) == 1
    async with looking_up(room):
        await eventually(lambda: _sold(room, str(_whole_cents(had))))
    again = await verdict(room, "SELL", "10.00")
    assert isinstance(again, Skip)
    assert (await position(room))["sold_shares"] == _whole_cents(had)


async def test_a_sale_waits_for_its_purchase_to_settle_and_never_sells_what_nobody_bought(
    room: TradingRoom,
) -> None:
    nothing = await verdict(room, "SELL", "5.00")
    assert isinstance(nothing, Skip)
    assert (nothing.reason, nothing.value) == (SkipReason.SELL_NO_POSITION, "0 paper shares")
    assert not nothing.deferred

    calls = room.line.calls
    asked = calls["lt_holdings"]
    await room.executed(await plan(room, "BUY", "10.00"))
    assert calls["lt_holdings"] == asked  # an entry asks for no holdings, and an exit for no money
    waiting = await verdict(room, "SELL", "5.00")  # its trades are not even read
    assert isinstance(waiting, Skip)
    assert (waiting.reason, waiting.deferred) == (SkipReason.POSITION_UNSETTLED, True)
    assert (calls["lt_holdings"], calls["lt_capital"]) == (asked + 1, 0)

    other = await verdict(room, "SELL", "5.00", trader_address="0x" + "99" * 20)
    assert isinstance(other, Skip)
    assert other.reason is SkipReason.SELL_NO_POSITION


@pytest.mark.parametrize(
    ("least", "reason"), [("2.00", SkipReason.INSUFFICIENT_CAPITAL), ("0.50", SkipReason.BELOW_MIN_SIZE)]
)
async def test_a_no_that_money_may_have_caused_is_asked_again_with_the_money_of_now(
    room: TradingRoom, least: str, reason: SkipReason
) -> None:
    asked = await case(room, side="BUY", entry_price="0.5015")
    strategy = replace(
        await room.strategy(),
        capital=a_capital(available="0.90"),
        min_order_size_usd=D(least),
    )
    calls = room.line.calls["lt_capital"]
    assert isinstance(await judge_of(room).verdict(replace(asked, strategy=strategy), room.clock.now()), Plan)
    assert room.line.calls["lt_capital"] == calls + 1

    await room.desk.execute("update public.lt_strategies set initial_capital = 0.90")
    refused = await judge_of(room).verdict(replace(asked, strategy=strategy), room.clock.now())
    assert isinstance(refused, Skip)
    assert refused.reason is reason


def _whole_cents(shares: Decimal) -> Decimal:
    return shares - shares % D("0.01")


async def _is_settled(room: TradingRoom, order_id: str) -> bool:
    row = await room.desk.row(
        "select a.closed_at is not null as closed, t.shares = t.final_shares as final"
        " from public.lt_order_attempts a join public.lt_attempt_totals t using (exchange_order_id)"
        " where a.exchange_order_id = %(id)s",
        id=order_id,
    )
    return bool(row["closed"] and row["final"])


async def _sold(room: TradingRoom, shares: str) -> bool:
    return bool((await position(room))["sold_shares"] == D(shares))
