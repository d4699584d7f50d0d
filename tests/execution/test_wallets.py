"""The wallets that this worker may submit for, against the real ledger: one holder, renewed, and let go in time."""

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from tests.support.trading_room import PATIENT, QUICK_LEASE, TradingRoom
from worker.execution.wallets import Wallets
from worker.orders.ports import Lease
from worker.orders.terms import WalletAddress

STRANGER = WalletAddress("0x" + "5e" * 20)


def stand_by(room: TradingRoom) -> Wallets:
    """Another worker's wallets, on the same exchange and in the same database."""
    wallets = Wallets(room.exchange, room.rival, room.clock, QUICK_LEASE)
    wallets.watch([room.floor.wallet])
    return wallets


async def test_a_wallet_is_held_once_the_database_grants_it_and_its_balance_is_told(
    room: TradingRoom,
) -> None:
    assert room.wallets.held == (room.floor.wallet,)
    assert room.wallets.troubles() == {}
    (seen,) = await room.desk.rows("select * from public.lt_wallets")
    assert seen["collateral_usd"] == Decimal(10_000)


async def test_another_worker_stands_by_and_says_who_holds_the_wallet(room: TradingRoom) -> None:
    other = stand_by(room)
    await other.refresh()
    assert other.held == ()
    assert "worker-a" in other.troubles()[room.floor.wallet]


async def test_a_stand_by_takes_over_as_soon_as_the_wallet_is_released(room: TradingRoom) -> None:
    other = stand_by(room)
    before = room.wallets.lease(room.floor.wallet)
    running = asyncio.create_task(other.keep_leases())
    await eventually(lambda: room.floor.wallet in other.troubles())
    await room.wallets.release()
    await eventually(lambda: other.held)
    running.cancel()
    after = other.lease(room.floor.wallet)
    assert before is not None
    assert after is not None
    assert after.fence > before.fence
    assert room.wallets.held == ()


async def test_a_renewal_keeps_the_fence_and_moves_the_deadline(room: TradingRoom) -> None:
    before = room.wallets.lease(room.floor.wallet)
    await room.wallets.refresh()
    after = room.wallets.lease(room.floor.wallet)
    assert before is not None
    assert after is not None
    assert after.fence == before.fence
    assert after.deadline_s > before.deadline_s


async def test_leases_last_through_a_recovery_that_is_longer_than_they_are(room: TradingRoom) -> None:
    step_s = QUICK_LEASE.lease_ttl_s / 2

    def renewed() -> bool:
        lease = room.wallets.lease(room.floor.wallet)
        assert lease is not None
        return lease.deadline_s - room.clock.monotonic() > step_s

    async with room.wallets.kept():
        for _ in range(3):
            room.watch.slept_s += step_s
            await eventually(renewed)


@pytest.mark.parametrize("trouble", [None, RuntimeError("the recovery broke")], ids=["done", "broken"])
async def test_a_recovery_that_is_over_renews_no_lease(
    room: TradingRoom, trouble: RuntimeError | None
) -> None:
    with suppress(RuntimeError):
        async with room.wallets.kept():
            asked = room.line.calls["lt_leases"]
            await eventually(lambda: room.line.calls["lt_leases"] > asked + 1)
            if trouble is not None:
                raise trouble
    assert "leases" not in {task.get_name() for task in asyncio.all_tasks()}
    asked = room.line.calls["lt_leases"]
    await asyncio.sleep(QUICK_LEASE.lease_renew_every_s * 4)  # long enough for another, if there were any
    assert room.line.calls["lt_leases"] == asked
    room.watch.slept_s += QUICK_LEASE.lease_ttl_s
    assert room.wallets.held == ()


async def test_a_worker_that_overslept_may_not_send_although_it_holds_a_lease_object(
    room: TradingRoom,
) -> None:
    lease = room.wallets.lease(room.floor.wallet)
    assert lease is not None
    room.watch.slept_s = QUICK_LEASE.lease_ttl_s - QUICK_LEASE.lease_margin_s - 1
    assert room.wallets.may_send(lease)
    room.watch.slept_s += 1.5  # the margin begins
    assert not room.wallets.may_send(lease)
    assert room.wallets.lease(room.floor.wallet) is None


async def test_a_short_silence_of_the_database_costs_nothing_and_a_long_one_the_lease(
    room: TradingRoom,
) -> None:
    room.line.cut = True
    await room.wallets.refresh()
    assert room.wallets.held == (room.floor.wallet,)
    room.watch.slept_s = QUICK_LEASE.lease_ttl_s
    assert room.wallets.lease(room.floor.wallet) is None
    assert "did not renew" in room.wallets.troubles()[room.floor.wallet]
    room.line.cut = False
    await room.wallets.refresh()
    assert room.wallets.held == (room.floor.wallet,)


async def test_a_wallet_whose_balance_cannot_be_read_is_held_all_the_same(room: TradingRoom) -> None:
    room.wallets.watch([STRANGER])  # the exchange has no account of ours for it
    await room.wallets.refresh()
    assert set(room.wallets.held) == {room.floor.wallet, STRANGER}


async def test_a_wallet_taken_on_later_is_leased_at_once(room: TradingRoom) -> None:
    running = asyncio.create_task(room.wallets.keep_leases())
    room.wallets.watch([STRANGER])
    await eventually(lambda: STRANGER in room.wallets.held)
    running.cancel()


async def test_releasing_hands_every_lease_back_even_if_the_database_is_away(room: TradingRoom) -> None:
    room.line.cut = True
    await room.wallets.release()
    assert room.wallets.held == ()
    room.line.cut = False
    await room.wallets.refresh()
    await room.wallets.release()
    assert isinstance(await room.rival.lease(room.floor.wallet, ttl_s=10), Lease)


async def test_a_stop_does_not_wait_for_a_database_that_says_nothing(room: TradingRoom) -> None:
    room.line.hold("lt_lease_release")
    async with asyncio.timeout(PATIENT.deadline_s / 2):
        await room.wallets.release()
    assert room.wallets.held == ()


async def test_claims_of_one_wallet_wait_for_each_other_here(room: TradingRoom) -> None:
    gate = room.line.hold("lt_claim")
    plans = [await room.plan() for _ in range(3)]
    executing = [asyncio.create_task(room.execute(plan)) for plan in plans]
    await eventually(lambda: room.line.calls["lt_claim"])
    await asyncio.sleep(0.05)  # long enough for the others to ask, if they did not wait
    assert room.line.calls["lt_claim"] == 1
    gate.set()
    await asyncio.gather(*executing)
    assert len(room.accepted()) == 3
