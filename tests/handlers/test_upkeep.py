"""After the trade: the book is looked at in time and within the budget, and what is old is forgotten in small batches."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from tests.database.test_sql_upkeep import passes
from tests.support.desk import fill
from tests.support.eventually import eventually
from tests.support.trading_room import TradingRoom
from worker.database.upkeep import SupabaseUpkeep
from worker.handlers.marks import Marking, MarkTiming
from worker.handlers.pruning import Pruning, PruningTiming
from worker.orders.terms import Mode, OrderId
from worker.sandbox.exchange.faults import Action, Fault

TIMING = MarkTiming(every_s=60, least_s=5, tokens=20)


@dataclass
class Budget:
    taken: int = 0

    async def take(self) -> None:
        self.taken += 1


def marking(room: TradingRoom, budget: Budget, timing: MarkTiming = TIMING) -> Marking:
    return Marking(
        SupabaseUpkeep(room.database, Mode.LIVE),
        exchange=room.exchange,
        wallets=room.wallets,
        take=budget.take,
        clock=room.clock,
        metrics=room.metrics,
        timing=timing,
    )


async def traded(room: TradingRoom, *, s_ago: float) -> OrderId:
    order_id = (await room.executed()).envelope.order_id
    trade = fill("12", token_id=room.floor.yes, trade_id=order_id)
    await room.desk.record(order_id, "matched", closed=True, fills=[trade])
    await passes(room.desk, s_ago, order_id)
    return order_id


async def mids(room: TradingRoom) -> list[Decimal | None]:
    rows = await room.desk.rows("select mid from public.lt_market_snapshots order by taken_at")
    return [row["mid"] for row in rows]


def count(room: TradingRoom, result: str) -> float:
    return room.metrics.registry.get_sample_value("polycopy_marks_total", {"result": result}) or 0


async def test_the_book_is_looked_at_when_a_mark_is_due_and_not_before_and_never_when_nothing_trades(
    room: TradingRoom,
) -> None:
    budget = Budget()
    marks = marking(room, budget)
    assert (await marks.round(), budget.taken) == (TIMING.every_s, 0)
    order_id = await traded(room, s_ago=20)
    room.floor.bid("0.40", "1000")
    wait_s = await marks.round()
    assert budget.taken == 0
    assert TIMING.least_s <= wait_s < 45
    await passes(room.desk, 45, order_id)
    await traded(room, s_ago=65)  # of the same token: one look is enough
    assert await marks.round() == TIMING.least_s
    assert (budget.taken, await mids(room), count(room, "taken")) == (1, [Decimal("0.45")], 1)
    assert await marks.round() == TIMING.every_s
    assert (budget.taken, len(await mids(room))) == (1, 1)


async def test_whatever_is_traded_is_looked_for_at_once_and_nothing_is_asked_meanwhile(
    room: TradingRoom,
) -> None:
    marks = marking(room, Budget(), MarkTiming(every_s=3600, least_s=0.01, tokens=20))
    running = asyncio.create_task(marks.run())
    try:
        await eventually(lambda: room.line.calls["lt_marks_due"] == 1)
        await traded(room, s_ago=65)
        assert room.line.calls["lt_marks_due"] == 1
        marks.stir()
        await eventually(lambda: count(room, "taken") == 1)
    finally:
        running.cancel()


async def test_an_exchange_that_is_silent_costs_a_mark_and_nothing_else(room: TradingRoom) -> None:
    await traded(room, s_ago=65)
    faults = room.floor.venue.faults
    faults.add(Fault(action=Action.DROP_BEFORE, method="GET", path="/book", times=None))
    marks = marking(room, Budget())
    assert await marks.round() == TIMING.least_s
    assert (await mids(room), count(room, "failed")) == ([], 1)
    faults.clear()
    await marks.round()
    assert len(await mids(room)) == 1


async def test_a_worker_that_trades_for_nobody_asks_nothing(room: TradingRoom) -> None:
    await room.successor().takes_over()
    await room.wallets.refresh()
    asked = room.line.calls["lt_marks_due"]
    assert await marking(room, Budget()).round() == TIMING.every_s
    assert room.line.calls["lt_marks_due"] == asked


async def test_old_skips_are_forgotten_batch_by_batch(room: TradingRoom) -> None:
    await room.desk.execute(
        "insert into public.lt_decisions"
        " (strategy_id, ft_order_id, mode, state, reason, signal_at, updated_at)"
        " select 'LT_ONE', gen_random_uuid(), 'live', 'skipped', 'price_moved', at, at"
        " from generate_series(now() - interval '90 days', now(), interval '1 day') at"
    )
    pruning = Pruning(
        SupabaseUpkeep(room.database, Mode.LIVE),
        metrics=room.metrics,
        timing=PruningTiming(every_s=60, batch=25, pause_s=0.01),
    )
    await pruning.round()
    (left,) = await room.desk.rows(
        "select count(*) as n, min(signal_at) > now() - interval '31 days' as young from public.lt_decisions"
    )
    assert left == {"n": 30, "young": True}
    pruned = room.metrics.registry.get_sample_value("polycopy_pruned_rows_total", {"what": "decisions"})
    assert (pruned, room.line.calls["lt_prune"]) == (61, 3)
