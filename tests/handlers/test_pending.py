"""Orders that are not settled yet: looked up when due, sooner when woken, and never crowded out."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.pending_desk import QUICK, pending, running
from tests.support.trading_room import TradingRoom, open_room
from worker.database.ledger import SupabaseLedger
from worker.execution.resolve import DoubtPolicy
from worker.handlers.pending import PendingTiming
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Attempt, LostRule
from worker.orders.terms import OrderId, WalletAddress
from worker.sandbox.exchange import Side
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.units import micro, price_of
from worker.sandbox.supabase import SupabaseSandbox

PATIENT = PendingTiming(tick_s=0.02, first_s=3600, refresh_every_s=3600, most_s=3600, books_within_s=600)


async def settled(room: TradingRoom, count: int = 1) -> bool:
    rows = await room.desk.rows("select * from public.lt_fills where state = 'final'")
    assert len(rows) == count
    return not await room.ledger.open_attempts(room.floor.wallet, limit=10)


async def test_an_order_is_followed_until_its_fills_are_final(room: TradingRoom) -> None:
    desk = pending(room)
    async with running(desk):
        desk.follow((await room.executed()).envelope.order_id)
        await eventually(lambda: settled(room))
    asked = room.line.calls["lt_record"]
    await desk.recover()
    assert room.line.calls["lt_record"] == asked


async def test_an_order_that_nobody_told_of_is_found_by_the_refresh(room: TradingRoom) -> None:
    await room.executed()
    async with running(pending(room)):
        await eventually(lambda: settled(room))


async def test_orders_that_keep_coming_do_not_push_the_look_ups_away(room: TradingRoom) -> None:
    """At twenty orders a second something is answered within every tick."""
    desk = pending(room, replace(QUICK, tick_s=0.25))
    executed = await room.executed()

    async def crowd() -> None:
        for number in range(10_000):
            desk.follow(OrderId(f"0x{number:064x}"))
            await asyncio.sleep(0.02)

    crowding = asyncio.create_task(crowd())
    async with running(desk):
        desk.follow(executed.envelope.order_id)
        await eventually(lambda: settled(room))
    crowding.cancel()


async def test_a_word_of_the_exchange_hurries_the_look_up(room: TradingRoom) -> None:
    desk = pending(room, PATIENT)
    async with running(desk):
        order_id = (await room.executed()).envelope.order_id
        desk.follow(order_id)
        await eventually(lambda: _final_on_the_exchange(room, order_id))
        desk.wake(order_id)
        await eventually(lambda: settled(room))


async def test_an_order_of_somebody_else_wakes_nobody(room: TradingRoom) -> None:
    desk = pending(room, replace(PATIENT, first_s=0.3))
    async with running(desk):
        order_id = (await room.executed()).envelope.order_id
        followed_s = room.clock.monotonic()
        desk.follow(order_id)
        desk.wake(OrderId("0x" + "77" * 32))
        await eventually(lambda: room.line.calls["lt_open_attempts"])
        assert room.clock.monotonic() - followed_s >= 0.3  # when our own order was due, and not before


async def test_what_an_earlier_process_may_have_sent_is_resolved_at_the_start(room: TradingRoom) -> None:
    room.floor.venue.faults.add(Fault(action=Action.DROP_AFTER))
    order_id = (await room.executed()).envelope.order_id
    await eventually(lambda: _final_on_the_exchange(room, order_id))
    assert await pending(room).recover() == 1
    assert await settled(room)


async def test_orders_that_are_known_to_exist_hold_up_no_start(room: TradingRoom) -> None:
    await room.executed()
    desk = pending(room)
    assert await desk.recover() == 0
    async with running(desk):
        await eventually(lambda: settled(room))


async def test_an_exchange_that_does_not_answer_look_ups_is_asked_again_later(room: TradingRoom) -> None:
    down = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/", status=503, times=None)
    desk, executed = pending(room), await room.executed()
    room.floor.venue.faults.add(down)
    async with running(desk):
        desk.follow(executed.envelope.order_id)
        await eventually(lambda: _refused_reads(room) >= 2)
        room.floor.venue.faults.clear()
        await eventually(lambda: settled(room))


async def test_a_database_that_is_away_only_delays_the_look_ups(room: TradingRoom) -> None:
    await room.executed()
    room.line.cut = True
    async with running(pending(room)):
        await eventually(lambda: room.line.calls["lt_open_attempts"] > 2)
        room.line.cut = False
        await eventually(lambda: settled(room))


class LateReading:
    """The ledger, but for its readings of the open attempts: they arrive when the test says so."""

    def __init__(self, room: TradingRoom) -> None:
        self._ledger = room.ledger
        self.was_read = asyncio.Event()
        self.may_arrive = asyncio.Event()

    async def open_attempts(
        self, *wallets: WalletAddress, limit: int, without: Collection[OrderId] = ()
    ) -> Sequence[Attempt]:
        found = await self._ledger.open_attempts(*wallets, limit=limit, without=without)
        self.was_read.set()
        await self.may_arrive.wait()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


async def test_a_body_that_was_killed_while_the_open_orders_were_read_is_not_sent_again(
    supabase: SupabaseSandbox,
) -> None:
    eager = DoubtPolicy(timedelta(minutes=2), sends_most=3, lost=LostRule())
    async with open_room(supabase, doubt=eager) as room:
        plan, reading = await room.plan(), LateReading(room)
        room.floor.offer("0.50", "0")
        claim = room.line.hold_answers("lt_claim")
        executing = asyncio.create_task(room.executed(plan))
        await eventually(room.attempts)
        recovering = asyncio.create_task(
            pending(replace(room, ledger=cast(SupabaseLedger, reading))).recover()
        )
        await reading.was_read.wait()  # it says: may have been sent
        claim.set()
        assert (await executing).state is AttemptState.KILLED
        room.floor.offer("0.50", "1000")
        reading.may_arrive.set()
        assert await recovering == 0
        assert (room.posts(), room.accepted()) == (1, [])


async def test_many_orders_are_settled_side_by_side(room: TradingRoom) -> None:
    for plan in [await room.plan() for _ in range(5)]:
        await room.executed(plan)
    async with running(pending(room)):
        await eventually(lambda: settled(room, 5))


# --- more open orders than one reading brings ------------------------------------------------------------------


async def resting(room: TradingRoom, count: int) -> list[OrderId]:
    """Puts orders on the book that nobody meets."""
    await room.desk.execute("update public.ft_wallets set bet_size = 50")
    await room.desk.execute("update public.lt_strategies set order_type = 'GTC'")
    plans = [await room.plan() for _ in range(count)]
    room.floor.offer("0.50", "0")
    return [(await room.executed(plan)).envelope.order_id for plan in plans]


async def found(room: TradingRoom) -> list[str]:
    return [row["exchange_order_id"] for row in await room.attempts() if row["found_at"] is not None]


async def test_orders_beyond_the_page_have_their_turn_although_the_first_ones_stay_unanswered(
    room: TradingRoom,
) -> None:
    order_ids = await resting(room, 5)
    for order_id in order_ids[:2]:  # never seen, so they come first in every reading
        path = f"/data/order/{order_id}"
        silent = Fault(action=Action.ANSWER_INSTEAD, method="GET", path=path, status=503, times=None)
        room.floor.venue.faults.add(silent)
    async with running(pending(room, replace(PATIENT, refresh_every_s=0.05), page=2)):
        await eventually(lambda: _are(found(room), order_ids[2:]))
    assert [row["lookups"] for row in await room.attempts()] == [0, 0, 1, 1, 1]


async def test_orders_beyond_the_page_are_looked_up_no_faster_than_the_others(room: TradingRoom) -> None:
    order_ids = await resting(room, 4)
    async with running(pending(room, replace(PATIENT, refresh_every_s=0.05), page=2)):
        await eventually(lambda: _are(found(room), order_ids))
        read = room.line.calls["lt_open_attempts"]
        await eventually(lambda: room.line.calls["lt_open_attempts"] > read + 2)
    assert [row["lookups"] for row in await room.attempts()] == [1, 1, 1, 1]


async def test_every_order_that_an_earlier_process_may_have_sent_is_resolved_however_many(
    room: TradingRoom,
) -> None:
    room.floor.venue.faults.add(Fault(action=Action.DROP_AFTER, times=3))
    order_ids = [(await room.executed(plan)).envelope.order_id for plan in [await room.plan() for _ in "123"]]
    assert await pending(room, page=2).recover() == 3
    assert await found(room) == order_ids


# --- an exchange or a database that is silent ----------------------------------------------------------------------


async def in_doubt(room: TradingRoom, count: int) -> None:
    """Has orders filled whose answers are lost."""
    await room.desk.execute("update public.ft_wallets set bet_size = 10")
    room.floor.venue.faults.add(Fault(action=Action.DROP_AFTER, times=count))
    for plan in [await room.plan() for _ in range(count)]:
        await room.executed(plan)


async def test_a_wallet_whose_look_ups_stay_unanswered_is_left_to_the_next_turn(room: TradingRoom) -> None:
    await in_doubt(room, 14)
    room.floor.venue.faults.add(
        Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/", status=503, times=None)
    )
    desk = pending(room)
    assert 3 <= await desk.recover() <= 10
    assert _refused_reads(room) <= 10
    room.floor.venue.faults.clear()
    async with running(desk):
        await eventually(lambda: settled(room, 14))


async def test_a_start_does_not_wait_long_for_an_exchange_that_is_silent(room: TradingRoom) -> None:
    await in_doubt(room, 2)
    room.floor.venue.faults.add(Fault(action=Action.HANG_BEFORE, method="GET", path="/", times=None))
    desk = pending(room, replace(QUICK, recover_within_s=0.2))
    with capture_logs() as log:
        assert await desk.recover() == 0
    assert "recovery.cut_short" in {entry["event"] for entry in log}
    room.floor.venue.faults.clear()
    async with running(desk):
        await eventually(lambda: settled(room, 2))


async def test_every_look_up_shows_that_the_loop_is_alive(room: TradingRoom) -> None:
    await in_doubt(room, 3)
    beats: list[str] = []
    await pending(room, on_turn=beats.append).recover()
    assert beats == ["pending"] * 3


async def test_a_resend_whose_answer_cannot_be_written_down_holds_up_no_turn(
    supabase: SupabaseSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.execution.resolve._RESEND_WITHIN_S", 0.2)
    eager = DoubtPolicy(timedelta(minutes=2), sends_most=3, lost=LostRule())
    async with open_room(supabase, doubt=eager) as room:
        room.floor.venue.faults.add(scripted(FaultName.DROP_BEFORE))
        await room.executed()
        written = room.line.hold("lt_record")
        beats: list[str] = []
        async with running(pending(room, on_turn=beats.append)):
            await eventually(lambda: room.posts() == 2)
            turns = len(beats)
            await eventually(lambda: len(beats) > turns + 3)
            written.set()
            await eventually(lambda: settled(room))
        assert room.posts() == 2


# --- trades that hang ----------------------------------------------------------------------------------------------


class OlderThanItIs:
    """The ledger, but for one attempt: it was made two hours before."""

    def __init__(self, room: TradingRoom, order_id: OrderId) -> None:
        self._ledger = room.ledger
        self._order_id = order_id

    async def open_attempts(
        self, *wallets: WalletAddress, limit: int, without: Collection[OrderId] = ()
    ) -> Sequence[Attempt]:
        found = await self._ledger.open_attempts(*wallets, limit=limit, without=without)
        return [
            replace(one, created_at=one.created_at - timedelta(hours=2))
            if one.envelope.order_id == self._order_id
            else one
            for one in found
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


async def test_an_old_trade_that_hangs_makes_no_reading_of_the_others_reach_back_to_it(
    room: TradingRoom,
) -> None:
    old, young = [(await room.executed()).envelope.order_id for _ in range(2)]
    aged = replace(room, ledger=cast(SupabaseLedger, OlderThanItIs(room, old)))
    earliest_s = (room.clock.now() - timedelta(hours=1)).timestamp()
    async with running(pending(aged)):
        await eventually(lambda: settled(room, 2))
    asked = [
        parse_qs(receipt.query)
        for receipt in room.floor.venue.journal.latest_others
        if (receipt.method, receipt.path) == ("GET", "/data/trades")
    ]
    assert asked
    assert all("id" in query or float(query["after"][0]) > earliest_s for query in asked)
    booked = {row["exchange_order_id"] for row in await room.desk.rows("select * from public.lt_fills")}
    assert booked == {old, young}


# --- trades that do not add up -------------------------------------------------------------------------------------


def unbooked(room: TradingRoom) -> float:
    return room.metrics.registry.get_sample_value("polycopy_books_incomplete") or 0.0


async def is_told_once_and_looked_up_on(room: TradingRoom, order_id: OrderId, state: AttemptState) -> None:
    """`order_id` is over, and its trades are not listed until this returns."""
    with capture_logs() as log:
        async with running(pending(room, replace(QUICK, books_within_s=0.3))):
            await eventually(lambda: unbooked(room) == 1)
            (attempt,) = await room.attempts()
            assert (attempt["state"], attempt["closed_at"]) == (state, None)
            reads = _reads_of_trades(room)
            await eventually(lambda: _reads_of_trades(room) > reads + 3)
            room.floor.venue.faults.clear()
            await eventually(lambda: settled(room))
            await eventually(lambda: unbooked(room) == 0)
    (alarm,) = [entry for entry in log if entry["event"] == "order.books_incomplete"]
    assert (alarm["log_level"], alarm["order_id"], alarm["state"]) == ("error", order_id, state)


async def test_a_match_whose_trades_stay_away_is_told_once_and_looked_up_on(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NO_TRADES, times=None))
    order_id = (await room.executed()).envelope.order_id
    await is_told_once_and_looked_up_on(room, order_id, AttemptState.MATCHED)


async def test_a_remainder_that_was_cancelled_before_its_trades_were_listed_is_told_once(
    room: TradingRoom,
) -> None:
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NO_TRADES, times=None))
    (order_id,) = await resting(room, 1)
    room.floor.venue.house.trade(room.floor.yes, Side.SELL, price_of("0.40"), micro(5))
    assert await room.exchange.cancel(room.floor.wallet, order_id)
    await is_told_once_and_looked_up_on(room, order_id, AttemptState.CANCELLED)


async def test_books_that_are_complete_in_time_alarm_nobody(room: TradingRoom) -> None:
    room.floor.venue.faults.add(scripted(FaultName.LOOKUP_NO_TRADES, times=3))
    with capture_logs() as log:
        async with running(pending(room)):
            await room.executed()
            await eventually(lambda: settled(room))
    assert "order.books_incomplete" not in {entry["event"] for entry in log}


async def _are(what: Awaitable[list[str]], wanted: Sequence[str]) -> bool:
    return await what == list(wanted)


def _reads_of_trades(room: TradingRoom) -> int:
    return room.floor.venue.journal.counts["GET", "/data/trades"]


async def _final_on_the_exchange(room: TradingRoom, order_id: OrderId) -> bool:
    view = await room.exchange.lookup(room.floor.wallet, order_id)
    return bool(view.fills) and all(fill.state == "final" for fill in view.fills)


def _refused_reads(room: TradingRoom) -> int:
    return sum(receipt.fault is not None for receipt in room.floor.venue.journal.latest_others)
