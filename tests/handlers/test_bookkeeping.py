"""The audit goes round, part by part, strategy by strategy, and tells what does not add up."""

from collections.abc import AsyncIterator

import pytest
import structlog

from tests.support.desk import Desk, fill
from worker.database.books import SupabaseBooks
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.errors import DatabaseRefused
from worker.handlers.bookkeeping import Bookkeeping, BookkeepingTiming
from worker.observe.metrics import Metrics
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def desk(supabase: SupabaseSandbox) -> AsyncIterator[Desk]:
    """Two strategies, each with two orders that are filled."""
    desk = await Desk.open(supabase.dsn)
    await desk.ready()
    for strategy in ("LT_ONE", "LT_TWO"):
        await desk.strategy(strategy)
        for _ in range(2):
            order = await desk.claim(await desk.signal(), strategy)
            filled = [fill("12", state="final")]
            await desk.record(order["exchange_order_id"], "matched", closed=True, fills=filled)
    try:
        yield desk
    finally:
        await desk.close()


@pytest.fixture
async def bookkeeping(supabase: SupabaseSandbox) -> AsyncIterator[Bookkeeping]:
    access = DatabaseAccess.checked(supabase.url, supabase.service_role_key)
    async with await SupabaseDatabase.open(access) as database:
        timing = BookkeepingTiming(every_s=0.01, audit_orders=1)
        yield Bookkeeping(SupabaseBooks(database), metrics=Metrics(), timing=timing)


async def every_fee_is_wrong(desk: Desk) -> None:
    await desk.connection.execute("reset role")
    await desk.connection.execute("set session_replication_role = replica")
    await desk.execute("update public.lt_fills set fee_usd = 1")


async def turns(bookkeeping: Bookkeeping, number: int) -> list[tuple[str, str]]:
    """The alarms of so many turns: strategy and what differs."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(number):
            await bookkeeping.turn()
    return [(log["strategy_id"], log["what"].split()[0]) for log in logs if log["event"] == "capital.differs"]


async def test_each_strategy_is_audited_to_its_end_and_then_the_next_one(
    desk: Desk, bookkeeping: Bookkeeping
) -> None:
    await every_fee_is_wrong(desk)
    await desk.execute("update public.lt_strategies set is_active = false where strategy_id = 'LT_TWO'")
    # Two orders, the end of the orders, the entries, and the checkpoints: of which there are too few entries for any.
    assert await turns(bookkeeping, 11) == [
        *[("LT_ONE", "order")] * 2,
        *[("LT_TWO", "order")] * 2,
        ("LT_ONE", "order"),
    ]
    frozen = await desk.rows("select scope, actor from public.lt_controls order by scope")
    assert [(row["scope"], row["actor"]) for row in frozen] == [
        ("strategy:LT_ONE", "audit"),
        ("strategy:LT_TWO", "audit"),
    ]


async def test_a_strategy_whose_audit_fails_keeps_no_other_from_its_own(
    desk: Desk, bookkeeping: Bookkeeping
) -> None:
    await every_fee_is_wrong(desk)
    await desk.execute(
        "alter table public.lt_controls add constraint broken check (scope <> 'strategy:LT_ONE') not valid"
    )
    with pytest.raises(DatabaseRefused):
        await bookkeeping.turn()
    assert await turns(bookkeeping, 2) == [("LT_TWO", "order")] * 2


async def test_books_that_add_up_raise_no_alarm_and_pause_nobody(
    desk: Desk, bookkeeping: Bookkeeping
) -> None:
    assert await turns(bookkeeping, 11) == []
    assert await desk.rows("select from public.lt_controls") == []
