"""One inserted signal becomes one order for each strategy that follows it, whatever happens around it."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town, new_id
from tests.support.eventually import eventually
from worker.sandbox.signals import signal_row

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

EXECUTED_BY_BOTH = dict.fromkeys(BOTH_MOMENTUM, "executed")


async def test_a_signal_becomes_one_filled_order_for_each_strategy_that_follows_it_and_none_for_others(
    town: Town,
) -> None:
    async with town.worker() as worker:
        signal = await town.signal()
        await eventually(lambda: _executed_by_both(town, signal))
        orders = await eventually(lambda: _filled(town, 2))

        assert len(await town.accepted()) == 2
        assert {order["strategy_id"] for order in orders} == set(BOTH_MOMENTUM)
        for order in orders:
            assert str(order["ft_order_id"]) == signal
            assert order["executed_size_usd"] + order["fees"] <= order["signal_size_usd"]
            assert order["order_id"] in await town.accepted()

        of_another = await town.signal("FT_VALUE")
        await eventually(lambda: town.decisions(of_another))
        assert await town.decisions(of_another) == {"LT_VALUE_PATIENT": "executed"}
        assert await worker.stop() == 0


async def test_what_was_inserted_while_the_worker_was_dead_is_executed_at_the_next_start_once(
    town: Town,
) -> None:
    async with town.worker() as worker:
        before = await town.signal()
        await eventually(lambda: _answered(town, 2))
        worker.kill()
    await town.outlives_leases()
    during = [await town.signal() for _ in range(3)]
    async with town.worker():
        for signal in during:
            await eventually(lambda one=signal: _executed_by_both(town, one))  # type: ignore[misc]
        after = await town.signal()
        await eventually(lambda: _answered(town, 2 * 5))
        for signal in (before, after):
            assert await town.decisions(signal) == EXECUTED_BY_BOTH
    assert len(await town.accepted()) == 2 * 5
    assert (await town.equation())["missed"] == 0


async def test_a_signal_found_by_feed_and_sweep_at_once_is_executed_once(town: Town) -> None:
    hurried = {"POLYCOPY_SWEEP__EVERY_S": "0.005", "POLYCOPY_SWEEP__EVERY_DEGRADED_S": "0.005"}
    async with town.worker(hurried):
        signals = [await town.signal() for _ in range(10)]
        for signal in signals:
            await eventually(lambda one=signal: _executed_by_both(town, one))  # type: ignore[misc]
        await eventually(lambda: _answered(town, 2 * 10))
    assert len(await town.accepted()) == 2 * 10


async def test_without_the_feed_the_sweep_finds_every_signal(town: Town) -> None:
    async with town.worker({"POLYCOPY_FEED__ENABLED": "false"}) as worker:
        signal = await town.signal()
        await eventually(lambda: _executed_by_both(town, signal))
        assert "degraded" in worker.status


BAD_ROWS: list[tuple[dict[str, Any], str]] = [
    ({"entry_price": "0"}, "bad_price"),
    ({"entry_price": "1"}, "bad_price"),
    ({"entry_price": "-0.5"}, "bad_price"),
    ({"entry_price": None}, "bad_price"),
    ({"condition_id": None}, "missing_market"),
    ({"condition_id": "0x" + "77" * 32}, "market_not_found"),
    ({"size": "0"}, "bad_size"),
    ({"side": "HOLD"}, "unknown_side"),
    ({"side": None}, "unknown_side"),
    ({"token_label": "Perhaps"}, "token_label_mismatch"),
    ({"token_label": None}, "missing_label"),
    ({"outcome": "WON"}, "ft_not_open"),
]


async def test_malformed_rows_and_orphans_are_recorded_with_their_reason_and_the_next_good_signal_trades(
    town: Town,
) -> None:
    # The schema forbids an unknown paper wallet, production databases lost such constraints: nothing relies on them.
    await town.drop_keys_to_ft_wallets()
    await town.database.execute(b"delete from public.ft_wallets where wallet_id = 'FT_VALUE'")
    template = signal_row(await town.trade(), ft_wallet_id="FT_MOMENTUM", size_usd=Decimal(10))
    expected: dict[str, str] = {}
    async with town.worker():
        orphan = await town.signal("FT_VALUE")
        for changes, reason in BAD_ROWS:
            row = {**template, "order_id": new_id(), "source_trade_id": new_id(), **changes}
            await town.insert([row])
            expected[row["order_id"]] = reason
        good = await town.signal()
        await eventually(lambda: _executed_by_both(town, good))
        for ft_order_id, reason in expected.items():
            both = dict.fromkeys(BOTH_MOMENTUM, reason)
            await eventually(lambda one=ft_order_id, wanted=both: _is(town, one, wanted))  # type: ignore[misc]
        await eventually(lambda: _is(town, orphan, {"LT_VALUE_PATIENT": "unknown_wallet"}))
        await eventually(lambda: _answered(town, 2))
    assert len(await town.accepted()) == 2
    assert (await town.equation())["undecided"] == 0


async def test_on_paper_the_same_way_is_taken_and_nothing_reaches_the_exchange(town: Town) -> None:
    async with town.worker({"POLYCOPY_MODE": "paper", "POLYCOPY_WALLETS": "[]"}, live=False):
        signal = await town.signal()
        await eventually(lambda: _paper_executed(town, signal))
        orders = await eventually(lambda: _filled(town, 2))
        assert all(order["is_shadow"] for order in orders)
    assert await town.accepted() == []


async def test_a_pause_by_plain_update_holds_at_once_and_a_resume_too(town: Town) -> None:
    paused = dict.fromkeys(BOTH_MOMENTUM, "strategy_paused")
    async with town.worker():
        for is_paused, holds in ((True, paused), (False, EXECUTED_BY_BOTH)):
            changed_at = await _set_paused(town, paused=is_paused)
            first = await eventually(lambda wanted=holds: _new_signal_is(town, wanted), every_s=0.1)  # type: ignore[misc]
            (row,) = await town.rows(
                "select created_at from public.ft_orders where order_id = %s", uuid.UUID(first)
            )
            # A fraction of a second where nothing else runs, half a minute where nobody tells of the change.
            assert (row["created_at"] - changed_at).total_seconds() <= 10


async def test_a_second_worker_stands_by_and_takes_over_when_the_first_stops(town: Town) -> None:
    async with (
        town.worker({"POLYCOPY_WORKER_ID": "first"}) as first,
        town.worker({"POLYCOPY_WORKER_ID": "second"}) as second,
    ):
        signal = await town.signal()
        await eventually(lambda: _executed_by_both(town, signal))
        assert "NOT trading" in second.status
        assert await first.stop() == 0
        later = await town.signal()
        await eventually(lambda: _executed_by_both(town, later))
        await eventually(lambda: _answered(town, 2 * 2))
    assert len(await town.accepted()) == 2 * 2


async def test_many_signals_of_a_wallet_without_a_key_here_keep_none_of_our_own_waiting(town: Town) -> None:
    """Nothing but the sweep finds them, ten at a time, the newest first."""
    await town.database.execute(
        "update public.lt_strategies set wallet_address = %s where strategy_id = 'LT_VALUE_PATIENT'",
        ("0x" + "77" * 20,),
    )
    own = [await town.signal() for _ in range(5)]
    template = signal_row(await town.trade(), ft_wallet_id="FT_VALUE", size_usd=Decimal(10))
    await town.insert([template | {"order_id": new_id(), "source_trade_id": new_id()} for _ in range(600)])
    narrow = {
        "POLYCOPY_FEED__ENABLED": "false",
        "POLYCOPY_SWEEP__BATCH": "10",
        "POLYCOPY_UNKNOWN_WALLETS": "leave",
    }
    async with town.worker(narrow):
        for signal in own:
            await eventually(lambda one=signal: _executed_by_both(town, one))  # type: ignore[misc]
        await eventually(lambda: _answered(town, 2 * 5))
    assert (await town.equation())["undecided"] == 600


async def test_a_worker_that_is_stopped_in_the_middle_leaves_no_order_in_doubt(town: Town) -> None:
    async with town.worker() as worker:
        signals = [await town.signal() for _ in range(5)]
        assert await worker.stop() == 0
    async with town.worker():
        for signal in signals:
            await eventually(lambda one=signal: _executed_by_both(town, one))  # type: ignore[misc]
        await eventually(lambda: _nothing_in_doubt(town))
    accepted = await town.accepted()
    booked = await town.rows("select distinct exchange_order_id from public.lt_fills")
    assert {row["exchange_order_id"] for row in booked} == set(accepted)
    assert len(accepted) == 2 * 5


async def _executed_by_both(town: Town, signal: str) -> bool:
    return await _is(town, signal, EXECUTED_BY_BOTH)


async def _is(town: Town, signal: str, wanted: dict[str, str]) -> bool:
    found = await town.decisions(signal)
    assert found == wanted
    return True


async def _answered(town: Town, count: int) -> bool:
    rows = await town.rows("select state from public.lt_order_attempts where answered_at is not null")
    assert len(rows) == count
    return True


async def _paper_executed(town: Town, signal: str) -> bool:
    assert await town.decisions(signal, "paper") == EXECUTED_BY_BOTH
    return True


async def _filled(town: Town, count: int) -> list[dict[str, Any]]:
    orders = await town.rows(
        """
        select o.*, (select sum(f.fee_usd) from public.lt_fills f where f.exchange_order_id = o.order_id) as fees
        from public.lt_orders o where o.status = 'FILLED'
        """
    )
    assert len(orders) == count
    return orders


async def _nothing_in_doubt(town: Town) -> bool:
    assert (await town.equation())["undecided"] == 0
    open_attempts = await town.rows("select * from public.lt_order_attempts where closed_at is null")
    assert [(row["state"], row["note"]) for row in open_attempts] == []
    return True


async def _set_paused(town: Town, *, paused: bool) -> datetime:
    """Returns the database's time just after the change was committed."""
    await town.database.execute("update public.lt_strategies set is_paused = %s", (paused,))
    (row,) = await town.rows("select clock_timestamp() as now")
    now: datetime = row["now"]
    return now


async def _new_signal_is(town: Town, wanted: dict[str, str]) -> str | None:
    """Insert a signal and wait for its decision; its id if that is the one that is wanted."""
    signal = await town.signal()
    await eventually(lambda: _decided_by_both(town, signal))
    return signal if await town.decisions(signal) == wanted else None


async def _decided_by_both(town: Town, signal: str) -> bool:
    assert set(await town.decisions(signal)) == set(BOTH_MOMENTUM)
    return True
