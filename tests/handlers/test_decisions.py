"""Skips and deferrals on their way to the database: none is lost, none waits for another's trouble."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.errors import DatabaseRefused
from worker.handlers.decisions import DecisionWriter
from worker.orders.ports import Decision, Stages
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import StrategyId
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def writer(room: TradingRoom) -> AsyncIterator[DecisionWriter]:
    writer = DecisionWriter(room.ledger)
    running = asyncio.create_task(writer.run())
    yield writer
    running.cancel()


async def a_decision(room: TradingRoom) -> Decision:
    now = room.clock.now()
    skip = Skip(SkipReason.PRICE_MOVED, value="0.61", limit="0.51")
    return Decision(StrategyId("LT_ONE"), await room.signal(), skip, Stages(now, now))


async def written(room: TradingRoom) -> set[str]:
    rows = await room.desk.rows("select ft_order_id from public.lt_decisions")
    return {str(row["ft_order_id"]) for row in rows}


async def test_a_decision_is_in_the_database_when_its_writing_returns(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    decision = await a_decision(room)
    await writer.write(decision)
    row = await room.desk.decision(decision.ft_order_id)
    assert row is not None
    assert (row["state"], row["reason"], row["value"], row["limit_value"]) == (
        "skipped",
        "price_moved",
        "0.61",
        "0.51",
    )


async def test_decisions_that_come_together_are_written_in_one_call(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    decisions = [await a_decision(room) for _ in range(20)]
    await asyncio.gather(*map(writer.write, decisions))
    assert room.line.calls["lt_decide"] == 1
    assert await written(room) == {decision.ft_order_id for decision in decisions}


async def test_a_decision_that_comes_while_another_is_being_written_is_written_next(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    first, second = await a_decision(room), await a_decision(room)
    gate = room.line.hold("lt_decide")
    writing = [asyncio.create_task(writer.write(first))]
    await eventually(lambda: room.line.calls["lt_decide"])
    writing.append(asyncio.create_task(writer.write(second)))
    await asyncio.sleep(0)
    gate.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*writing)
    assert await written(room) == {first.ft_order_id, second.ft_order_id}


async def test_a_database_that_is_away_for_a_while_costs_no_decision(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    decisions = [await a_decision(room) for _ in range(5)]
    room.line.cut = True
    writing = asyncio.gather(*map(writer.write, decisions))
    await eventually(lambda: room.line.calls["lt_decide"] > 2)
    assert not writing.done()
    room.line.cut = False
    async with asyncio.timeout(20):
        await writing
    assert await written(room) == {decision.ft_order_id for decision in decisions}


async def test_a_decision_that_the_database_refuses_is_given_back_and_holds_no_other_up(
    supabase: SupabaseSandbox, room: TradingRoom, writer: DecisionWriter
) -> None:
    good = [await a_decision(room) for _ in range(3)]
    async with await psycopg.AsyncConnection.connect(supabase.dsn, autocommit=True) as owner:
        await owner.execute(
            "alter table public.lt_decisions add constraint no_poison check (value <> 'poison')"
        )
    bad = replace(await a_decision(room), skip=Skip(SkipReason.PRICE_MOVED, value="poison"))
    async with asyncio.timeout(20):
        results = await asyncio.gather(
            *map(writer.write, [*good[:1], bad, *good[1:]]), return_exceptions=True
        )
    assert [isinstance(result, DatabaseRefused) for result in results] == [False, True, False, False]
    assert await written(room) == {decision.ft_order_id for decision in good}


async def test_the_text_of_an_error_never_keeps_a_decision_out(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    decision = await a_decision(room)
    odd = replace(decision, skip=Skip(SkipReason.PRICE_MOVED, value='<html>"\\u0000"\n\x01</html>'))
    async with asyncio.timeout(20):
        await writer.write(odd)
    assert await written(room) == {decision.ft_order_id}


async def test_whoever_stops_waiting_does_not_stop_the_writing(
    room: TradingRoom, writer: DecisionWriter
) -> None:
    decision = await a_decision(room)
    writing = asyncio.create_task(writer.write(decision))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await eventually(lambda: written(room)) == {decision.ft_order_id}
