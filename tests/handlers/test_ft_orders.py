"""A signal decided and executed for each strategy that follows its wallet, each apart from the others."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from tests.support.eventually import eventually
from tests.support.trading_room import POLICY, TradingRoom
from worker.execution.submit import Received
from worker.handlers.backfill import item_of
from worker.handlers.decisions import DecisionWriter
from worker.handlers.ft_orders import Desk, End, SignalHandler
from worker.handlers.intake import Bounds, Intake, Item, LaneName, Pair
from worker.handlers.judge import Judge
from worker.handlers.strategies import Strategies
from worker.observe.health import Health
from worker.orders.reasons import SkipReason
from worker.orders.terms import FtOrderId, FtWalletId, Mode, OrderId, StrategyId
from worker.sandbox.exchange.fault_catalogue import FaultName, scripted
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.modes import Mode as VenueMode

OTHER_WALLET = "0x" + "77" * 20


@dataclass
class Floor:
    """A handler, its strategies and its writer, without feed and sweep."""

    room: TradingRoom
    strategies: Strategies
    intake: Intake
    handler: SignalHandler
    answered: list[OrderId] = field(default_factory=list)

    async def item(self, ft_order_id: FtOrderId, *strategy_ids: str, **changes: object) -> Item:
        """As the feed brings it; as the sweep does, where strategies are named."""
        row = await self.room.row(ft_order_id) | changes
        owed = tuple(StrategyId(one) for one in strategy_ids) or None
        return Item(ft_order_id, row, owed, "feed", Received.now(self.room.clock))

    async def serve(self, item: Item, lane: LaneName = LaneName.FRESH) -> set[End]:
        """Every pair of the signal, side by side, as if each had a place."""
        ids = item.strategy_ids or self.strategies.following(FtWalletId(str(item.row["wallet_id"])))
        ends = await asyncio.gather(*(self.handler.serve(Pair(item, one, lane)) for one in ids))
        return set(ends)

    async def decisions(self) -> dict[str, str]:
        rows = await self.room.desk.rows("select strategy_id, reason from public.lt_decisions")
        return {row["strategy_id"]: row["reason"] for row in rows}


@pytest.fixture
async def floor(room: TradingRoom) -> AsyncIterator[Floor]:
    strategies = Strategies(room.ledger, Health(room.clock), refresh_every_s=3600, on_wallets=lambda _: None)
    intake = Intake(
        bounds=Bounds.of(waiting=100, concurrency=16), following=strategies.following, metrics=room.metrics
    )
    writer = DecisionWriter(room.ledger)
    answered: list[OrderId] = []
    desk = Desk(
        intake=intake,
        strategies=strategies,
        wallets=room.wallets,
        ledger=room.ledger,
        judges={
            Mode.LIVE: Judge(room.exchange, room.ledger, POLICY, has_key=room.wallets.watches),
            Mode.PAPER: Judge(
                room.exchange, room.ledger, replace(POLICY, mode=Mode.PAPER), has_key=lambda _: True
            ),
        },
        submitter=room.submitter,
        writer=writer,
        clock=room.clock,
        metrics=room.metrics,
        lane_of=room.lanes.submit,
        on_answered=answered.append,
    )
    await room.desk.strategy("LT_TWO", wallet_address=room.floor.wallet)
    await strategies.load()
    running = asyncio.create_task(writer.run())
    yield Floor(room, strategies, intake, SignalHandler(desk), answered)
    running.cancel()


DECIDED = {End.DECIDED}
BOTH = {"LT_ONE": "executed", "LT_TWO": "executed"}


async def test_a_signal_becomes_one_order_for_each_strategy(floor: Floor) -> None:
    assert await floor.serve(await floor.item(await floor.room.signal())) == DECIDED
    assert await floor.decisions() == BOTH
    assert set(floor.answered) == set(floor.room.accepted())
    assert len(floor.answered) == 2


async def test_the_same_signal_handled_three_times_at_once_is_one_order_for_each_strategy(
    floor: Floor,
) -> None:
    item = await floor.item(await floor.room.signal())
    await asyncio.gather(*(floor.serve(item) for _ in range(3)))
    assert await floor.decisions() == BOTH
    assert len(floor.room.accepted()) == 2
    assert floor.room.posts() == 2


async def test_what_a_claim_refuses_for_money_is_decided_once_more_with_what_there_is(floor: Floor) -> None:
    desk = floor.room.desk
    await desk.execute("update public.ft_wallets set bet_size = 6")
    await floor.strategies.load()
    await desk.execute(
        "update public.lt_strategies set initial_capital = case strategy_id when 'LT_ONE' then 4 else 0.5 end"
    )
    await floor.serve(await floor.item(await floor.room.signal()))
    assert await floor.decisions() == {"LT_ONE": "executed", "LT_TWO": "insufficient_capital"}
    order = await desk.row("select signal_size_usd from public.lt_orders")
    assert order["signal_size_usd"] == Decimal(4)
    assert floor.room.line.calls["lt_claim"] == 3


async def test_a_signal_that_was_settled_is_not_even_claimed_when_it_comes_again(floor: Floor) -> None:
    item = await floor.item(await floor.room.signal())
    await floor.serve(item)
    claims = floor.room.line.calls["lt_claim"]
    assert await floor.serve(item) == DECIDED
    assert floor.room.line.calls["lt_claim"] == claims


async def test_a_signal_that_was_judged_before_a_switch_was_heard_of_is_judged_again_in_its_own_mode(
    floor: Floor,
) -> None:
    desk = floor.room.desk
    await desk.execute("update public.lt_strategies set shadow_mode = true where strategy_id = 'LT_TWO'")
    bad, good = await floor.room.signal(entry_price="0"), await floor.room.signal()
    for signal in (bad, good):
        await floor.serve(await floor.item(signal))
    assert set(await floor.decisions()) == {"LT_ONE"}
    assert floor.room.posts() == 1
    assert {one for work in (await floor.room.ledger.work(limit=10)).work for one in work.strategy_ids} == {
        "LT_TWO"
    }
    await floor.strategies.load()
    assert await floor.serve(await floor.item(bad, "LT_TWO")) == DECIDED
    assert await desk.rows("select strategy_id, reason from public.lt_decisions where mode = 'paper'") == [
        {"strategy_id": "LT_TWO", "reason": "bad_price"}
    ]
    # Its purse is not leased in this room: whoever holds it trades the good one.
    assert await floor.serve(await floor.item(good, "LT_TWO")) == {End.LEFT}
    assert floor.room.posts() == 1


async def test_a_restored_backup_only_delays_a_signal_that_it_has_forgotten(floor: Floor) -> None:
    item = await floor.item(await floor.room.signal(entry_price="0"), "LT_ONE")
    await floor.serve(item)
    await floor.room.desk.execute("delete from public.lt_decisions")
    await floor.serve(item)
    assert await floor.decisions() == {}
    floor.room.watch.slept_s = 60
    await floor.serve(item)
    assert await floor.decisions() == {"LT_ONE": "bad_price"}


async def test_a_strategy_that_fails_neither_stops_nor_delays_another(floor: Floor) -> None:
    room = floor.room
    await room.desk.strategy("LT_ODD", wallet_address=OTHER_WALLET)
    room.wallets.watch([OTHER_WALLET])  # type: ignore[list-item]
    await room.wallets.refresh()  # leased, but the exchange holds no key of ours for it
    await floor.strategies.load()
    assert await floor.serve(await floor.item(await room.signal())) != DECIDED
    assert await floor.decisions() == BOTH
    assert len(room.accepted()) == 2


async def test_a_slow_order_of_one_strategy_does_not_hold_the_next_up(floor: Floor) -> None:
    floor.room.floor.venue.faults.add(Fault(action=Action.PROCESS_LATE, seconds=1.5))
    await floor.serve(await floor.item(await floor.room.signal()))
    slow, next_up = (receipt.order_ids[0] for receipt in floor.room.floor.venue.journal.orders)
    assert floor.room.accepted() == [next_up, slow]


async def test_a_signal_for_a_wallet_without_a_key_here_is_skipped_with_that_reason(floor: Floor) -> None:
    await floor.room.desk.strategy("LT_OTHER", wallet_address=OTHER_WALLET, ft_wallet_id="FT_OTHER")
    await floor.strategies.load()
    assert await floor.serve(await floor.item(await floor.room.signal(wallet_id="FT_OTHER"))) == DECIDED
    assert await floor.decisions() == {"LT_OTHER": "wallet_not_configured"}


async def test_a_row_that_came_damaged_over_the_feed_is_read_again_before_it_is_judged(floor: Floor) -> None:
    item = await floor.item(await floor.room.signal(), entry_price=None)
    await floor.serve(item)
    assert await floor.decisions() == BOTH


async def test_a_forged_row_does_not_pass_the_claim(floor: Floor) -> None:
    item = await floor.item(await floor.room.signal(), entry_price="0.6018")
    await floor.serve(item)
    assert floor.room.accepted() == []
    assert "executed" not in (await floor.decisions()).values()


async def test_a_pair_of_a_strategy_not_read_yet_waits_and_hurries_the_reading(floor: Floor) -> None:
    signal = await floor.room.signal()
    await floor.room.desk.strategy("LT_NEW", wallet_address=floor.room.floor.wallet)
    item = await floor.item(signal, "LT_NEW")
    assert await floor.serve(item) != DECIDED
    await floor.strategies.load()
    assert await floor.serve(item) == DECIDED
    assert (await floor.decisions())["LT_NEW"] == "executed"


async def test_while_the_wallet_is_held_elsewhere_the_pair_stays_work(floor: Floor) -> None:
    await floor.room.wallets.release()
    assert await floor.serve(await floor.item(await floor.room.signal())) != DECIDED
    assert await floor.decisions() == {}
    batch = await floor.room.ledger.work(limit=10)
    assert set(batch.work[0].strategy_ids) == {"LT_ONE", "LT_TWO"}


async def test_a_worker_serves_what_the_intake_holds_and_gives_it_back_when_done(floor: Floor) -> None:
    serving = asyncio.create_task(floor.handler.run())
    floor.intake.offer(await floor.item(await floor.room.signal()), fresh=True)
    await eventually(lambda: len(floor.room.accepted()) == 2)
    await eventually(lambda: floor.intake.busy == 0)
    serving.cancel()


async def test_a_balance_that_is_not_known_defers_the_signal_until_it_is(floor: Floor) -> None:
    room = floor.room
    await room.desk.execute("update public.lt_wallets set as_of = now() - interval '1 hour'")
    signal = await room.signal()
    assert await floor.serve(await floor.item(signal)) == DECIDED
    assert await floor.decisions() == dict.fromkeys(BOTH, "wallet_balance_unknown")
    row = await room.desk.decision(signal)
    assert row is not None
    assert row["state"] == "deferred"
    assert row["decided_at"] < row["retry_at"] < row["expires_at"]
    assert room.posts() == 0

    await room.desk.execute("update public.lt_decisions set retry_at = now()")
    assert (
        await floor.serve(await floor.item(signal, "LT_ONE")) == DECIDED
    )  # still unknown: deferred once more
    assert await floor.decisions() == dict.fromkeys(BOTH, "wallet_balance_unknown")

    await room.wallets.refresh()
    assert await floor.serve(await floor.item(signal, "LT_ONE", "LT_TWO")) == DECIDED
    assert await floor.decisions() == BOTH
    assert len(room.accepted()) == 2


async def test_a_pair_that_is_put_off_for_the_same_reason_again_and_again_is_told_of_once(
    floor: Floor,
) -> None:
    room = floor.room
    await room.desk.execute("update public.lt_wallets set as_of = now() - interval '1 hour'")
    signal = await room.signal()
    with capture_logs() as log:
        assert await floor.serve(await floor.item(signal, "LT_ONE")) == DECIDED
        for _ in range(3):
            await room.desk.execute("update public.lt_decisions set retry_at = now()")
            (work,) = (await room.ledger.work(limit=10, without=[StrategyId("LT_TWO")])).work
            assert await floor.serve(item_of(work, "sweep", room.clock)) == DECIDED
    said = [entry["log_level"] for entry in log if entry["event"] == "order.decided"]
    assert said == ["info", "debug", "debug", "debug"]
    row = await room.desk.decision(signal)
    assert row is not None
    assert (row["tries"], row["history"]) == (4, [])
    assert (row["retry_at"] - row["decided_at"]).total_seconds() == pytest.approx(8, abs=0.1)


async def test_an_order_that_was_never_sent_is_said_to_be_abandoned(floor: Floor) -> None:
    floor.room.floor.venue.engine.modes.enter(VenueMode.POST_ONLY, 3600)
    signal = await floor.room.signal()
    with capture_logs() as log:
        assert await floor.serve(await floor.item(signal, "LT_ONE")) == DECIDED
    (said,) = [entry for entry in log if entry["event"] == "order.decided"]
    assert (said["outcome"], said["answer"], said["state"]) == ("abandoned", "post_only", "abandoned")
    (order,) = await floor.room.desk.rows("select status from public.lt_orders")
    assert order["status"] == "CANCELLED"


async def test_what_a_deactivated_strategy_left_undecided_ends_with_that_reason(floor: Floor) -> None:
    room = floor.room
    left = await room.signal()
    await room.desk.execute("update public.lt_strategies set is_active = false where strategy_id = 'LT_TWO'")
    await floor.strategies.load()
    (work,) = (await room.ledger.work(limit=10)).work
    assert set(work.strategy_ids) == {"LT_ONE", "LT_TWO"}
    assert await floor.serve(await floor.item(left, *work.strategy_ids)) == DECIDED
    assert await floor.decisions() == {"LT_ONE": "executed", "LT_TWO": "strategy_inactive"}


@pytest.mark.parametrize("read_again", [True, False])
async def test_a_signal_from_after_the_deactivation_gets_no_decision_from_the_feed_either(
    floor: Floor, *, read_again: bool
) -> None:
    room = floor.room
    await room.desk.execute("update public.lt_strategies set is_active = false where strategy_id = 'LT_TWO'")
    if read_again:
        await floor.strategies.load()
    assert await floor.serve(await floor.item(await room.signal())) == DECIDED
    assert await floor.decisions() == {"LT_ONE": "executed"}
    assert len(room.accepted()) == 1
    assert (await room.ledger.work(limit=10)).work == ()


async def test_signals_behind_a_shut_door_hold_no_capital_and_execute_when_it_opens(floor: Floor) -> None:
    room = floor.room
    room.floor.venue.engine.modes.enter(VenueMode.RESTARTING)
    knocking = asyncio.create_task(floor.serve(await floor.item(await room.signal(), "LT_ONE")))
    await eventually(lambda: room.sender.doors.closed(room.floor.wallet))
    free = await room.desk.capital("LT_TWO")
    behind = [await room.signal() for _ in range(3)]
    for signal in behind:
        assert await floor.serve(await floor.item(signal, "LT_TWO")) == DECIDED
    for signal in behind:
        row = await room.desk.decision(signal, "LT_TWO")
        assert row is not None
        assert (row["state"], row["reason"]) == ("deferred", "exchange_restarting")
        assert row["decided_at"] < row["retry_at"] < row["expires_at"]
    assert await room.desk.capital("LT_TWO") == free
    assert len(await room.attempts()) == 1

    room.floor.venue.engine.modes.enter(VenueMode.OPEN)
    assert await knocking == DECIDED
    await room.desk.execute("update public.lt_decisions set retry_at = now() where state = 'deferred'")
    batch = await room.ledger.work(limit=10, without=[StrategyId("LT_ONE")])
    for work in batch.work:
        assert await floor.serve(item_of(work, "sweep", room.clock)) == DECIDED
    states = [await room.desk.decision(signal, "LT_TWO") for signal in behind]
    assert [row["state"] for row in states if row] == ["executed"] * 3
    assert len(room.accepted()) == 1 + len(batch.work)  # what knocked is a signal of LT_TWO as well


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (VenueMode.POST_ONLY, "exchange_post_only"),
        (VenueMode.CANCEL_ONLY, "exchange_cancel_only"),
        (VenueMode.DISABLED, "exchange_disabled"),
    ],
)
async def test_each_way_of_being_shut_is_a_reason_of_its_own(
    floor: Floor, mode: VenueMode, reason: str
) -> None:
    floor.room.floor.venue.engine.modes.enter(mode)
    knocking = asyncio.create_task(floor.serve(await floor.item(await floor.room.signal(), "LT_ONE")))
    await eventually(lambda: floor.room.sender.doors.closed(floor.room.floor.wallet))
    await floor.serve(await floor.item(await floor.room.signal(), "LT_TWO"))
    assert (await floor.decisions())["LT_TWO"] == reason
    floor.room.floor.venue.engine.modes.enter(VenueMode.OPEN)
    await knocking


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(FaultName.UNAUTHORIZED, "credentials_refused"), (FaultName.CLOUDFLARE_BLOCK, "geoblocked")],
)
async def test_what_comes_for_a_halted_wallet_is_put_off_with_the_reason_and_nothing_is_undecided(
    floor: Floor, fault: FaultName, reason: str
) -> None:
    room = floor.room
    room.floor.venue.faults.add(scripted(fault))
    await floor.serve(await floor.item(await room.signal(), "LT_ONE"))
    assert room.floor.wallet in room.sender.halted
    for _ in range(3):
        await room.signal()
    for work in (await room.ledger.work(limit=10)).work:
        assert await floor.serve(item_of(work, "sweep", room.clock)) == DECIDED
    total = (await room.ledger.equation()).total
    assert total.balanced
    assert (total.seen, total.executed, total.deferred, total.undecided) == (8, 1, 7, 0)
    rows = await room.desk.rows("select distinct reason from public.lt_decisions where state = 'deferred'")
    assert [row["reason"] for row in rows] == [reason]
    assert room.posts() == 1


async def test_a_signal_that_a_halted_wallet_outlived_ends_with_what_kept_it_waiting(floor: Floor) -> None:
    room = floor.room
    room.sender.doors.halt(room.floor.wallet, SkipReason.CREDENTIALS_REFUSED, "a human has to look")
    signal = await room.signal()
    assert await floor.serve(await floor.item(signal, "LT_ONE")) == DECIDED
    await room.desk.execute("update public.ft_orders set created_at = created_at - interval '25 hours'")
    await room.desk.execute("update public.lt_decisions set retry_at = now()")
    (work,) = (await room.ledger.work(limit=10, without=[StrategyId("LT_TWO")])).work
    assert await floor.serve(item_of(work, "sweep", room.clock)) == DECIDED
    row = await room.desk.decision(signal)
    assert row is not None
    assert (row["state"], row["reason"]) == ("skipped", "credentials_refused")
