"""Every fault that the exchange and the network are known to have, each under an order that would have filled."""

from contextlib import nullcontext
from datetime import timedelta

import pytest

from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.pending_desk import booked, looking_up, traded
from tests.support.trading_room import TradingRoom, open_room
from worker.execution.resolve import DoubtPolicy
from worker.orders.ports import LostRule
from worker.sandbox.exchange.fault_catalogue import CATALOGUE, FaultName, scripted
from worker.sandbox.exchange.faults import Action
from worker.sandbox.exchange.handling import Insertion
from worker.sandbox.supabase import SupabaseSandbox

# As in production, but for the seconds: the identical body may go again while its signal is fresh.
DOUBT = DoubtPolicy(
    resend_for=timedelta(minutes=2),
    sends_most=3,
    lost=LostRule(lookups=8, after=timedelta(seconds=3)),
)
SUBMIT_TIMEOUT_S = 0.3

# Over with no order: a definitive no, or a wallet that is halted before anything was taken.
NEVER_TAKEN = {
    FaultName.CLOUDFLARE_BLOCK: "abandoned",
    FaultName.UNAUTHORIZED: "abandoned",
    FaultName.REFUSED_WITH_200: "rejected",
}
# Taken, and dead at once by the exchange's own word, or called off because it must not rest on the book.
NEVER_FILLED = {
    FaultName.UNMATCHED: "cancelled",
    FaultName.LIVE_FAK: "cancelled",
    FaultName.UNMATCHED_RESTING: "cancelled",
}
ENDS = NEVER_TAKEN | NEVER_FILLED
# A POST is given up at once where the answer does not come, and only there.
UNANSWERED_IN_TIME = {
    FaultName.ANSWER_LATE,
    FaultName.PROCESS_LATE,
    FaultName.HANG_BEFORE,
    FaultName.HANG_AFTER,
}
HALTING = (FaultName.CLOUDFLARE_BLOCK, FaultName.UNAUTHORIZED, FaultName.WRONG_ID)


def _groups() -> list[list[FaultName]]:
    """Whatever may strike a POST, a few in one room; what halts its wallet, alone."""
    others = [name for name in FaultName if CATALOGUE[name].method == "POST" and name not in HALTING]
    # What is hidden for a moment comes last, so that it still is when the look-ups begin.
    others.sort(key=lambda name: CATALOGUE[name].handling.trades_hidden_s > 0)
    return [*([name] for name in HALTING), *(others[start::5] for start in range(5))]


def _short(name: FaultName) -> float | None:
    """How long what lasts may last here: longer than the patience of a POST, or of the first look-ups."""
    fault = CATALOGUE[name]
    if fault.action in {Action.ANSWER_LATE, Action.PROCESS_LATE}:
        return 2 * SUBMIT_TIMEOUT_S
    if fault.handling.insertion is Insertion.DELAYED or fault.handling.trades_hidden_s:
        return 1.0
    return None


async def attempt_of(room: TradingRoom, order_id: str) -> Row:
    return await room.desk.row(
        "select * from public.lt_order_attempts where exchange_order_id = %(id)s", id=order_id
    )


@pytest.mark.parametrize("names", _groups(), ids=lambda names: f"{names[0]}-{len(names)}")
async def test_a_signal_under_a_fault_is_at_most_one_order_and_every_fill_of_it_is_booked(
    supabase: SupabaseSandbox, names: list[FaultName]
) -> None:
    ends = {name: ENDS.get(name, "matched") for name in names}
    async with open_room(supabase, doubt=DOUBT) as room:
        order_ids: dict[FaultName, str] = {}
        for name in names:
            plan = await room.plan()
            room.floor.venue.faults.add(scripted(name, seconds=_short(name)))
            with room.impatient(SUBMIT_TIMEOUT_S) if name in UNANSWERED_IN_TIME else nullcontext():
                order_ids[name] = (await room.executed(plan)).envelope.order_id

        async def everything_learned() -> bool:
            rows = {name: await attempt_of(room, order_id) for name, order_id in order_ids.items()}
            assert {name: row["state"] for name, row in rows.items()} == ends
            assert all(row["closed_at"] is not None for row in rows.values())
            left = await room.ledger.open_attempts(room.floor.wallet, limit=100)
            turned_away = {order_ids[name] for name, end in ends.items() if end == "abandoned"}
            return {attempt.envelope.order_id for attempt in left} == turned_away

        async with looking_up(room):
            await eventually(everything_learned, within_s=40)

        assert all(room.floor.venue.faults.struck[name] == 1 for name in names)
        assert set(room.accepted()) == {order_ids[name] for name in ends if name not in NEVER_TAKEN}
        assert all(len(room.floor.venue.journal.bodies_of(order_id)) == 1 for order_id in order_ids.values())
        assert await booked(room) == traded(room)
        assert set(traded(room)) == {order_ids[name] for name, end in ends.items() if end == "matched"}
        held = await room.desk.rows(
            "select exchange_order_id from public.lt_attempt_totals where reserved_usd > 0"
        )
        assert held == []


LOOKUP_FAULTS = [name for name in FaultName if CATALOGUE[name].method == "GET"]


async def test_faulty_look_ups_settle_nothing_wrongly_and_only_delay_the_truth(
    supabase: SupabaseSandbox,
) -> None:
    async with open_room(supabase, doubt=DOUBT) as room:
        room.floor.venue.faults.add(scripted(FaultName.DROP_AFTER))
        order_id = (await room.executed()).envelope.order_id
        for name in LOOKUP_FAULTS:
            room.floor.venue.faults.add(scripted(name, times=2))

        async def matched_and_closed() -> bool:
            attempt = await attempt_of(room, order_id)
            assert (attempt["state"], attempt["closed_at"] is None) == ("matched", False)
            return not await room.ledger.open_attempts(room.floor.wallet, limit=10)

        async with looking_up(room):
            await eventually(matched_and_closed)
        assert {name for name in LOOKUP_FAULTS if room.floor.venue.faults.struck[name]} == set(LOOKUP_FAULTS)
        assert room.accepted() == [order_id]
        assert await booked(room) == traded(room)
