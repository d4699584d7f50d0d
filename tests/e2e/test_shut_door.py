"""The exchange takes no orders for a while, or none of a wallet any more: no signal is lost from view."""

import pytest

from tests.e2e.conftest import BOTH_MOMENTUM, Town
from tests.support.eventually import eventually
from worker.sandbox.exchange.fault_catalogue import FaultName
from worker.sandbox.exchange.modes import Mode

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time


async def test_signals_that_came_while_the_exchange_restarted_are_executed_by_the_sweep(town: Town) -> None:
    async with town.worker():
        await town.world.exchange.enter(Mode.RESTARTING)
        signals = [await town.signal() for _ in range(4)]

        async def put_off() -> bool:
            reasons = {reason for one in signals for reason in (await town.decisions(one)).values()}
            return "exchange_restarting" in reasons

        await eventually(put_off, within_s=30)
        await town.world.exchange.enter(Mode.OPEN)

        async def executed() -> bool:
            came_to = [await town.decisions(one) for one in signals]
            return all(one == dict.fromkeys(BOTH_MOMENTUM, "executed") for one in came_to)

        await eventually(executed, within_s=60)

        async def accepted() -> bool:  # a claim comes before its order
            return len(await town.accepted()) == len(signals) * len(BOTH_MOMENTUM)

        await eventually(accepted, within_s=20)


async def test_what_comes_for_a_halted_wallet_stays_in_sight_of_the_sweep(town: Town) -> None:
    await town.world.exchange.inflict(FaultName.UNAUTHORIZED)
    await town.database.execute(
        b"update public.lt_strategies set is_active = (strategy_id = 'LT_MOMENTUM_FAST')"
    )
    async with town.worker() as worker:
        first = await town.signal()
        await eventually(lambda: "trading.halted" in worker.log(), within_s=30)
        later = [await town.signal() for _ in range(3)]

        async def all_decided() -> bool:
            equation = await town.equation()
            return bool(equation["seen"] == 4 and equation["undecided"] == 0)

        await eventually(all_decided, within_s=30)
        for one in later:
            assert await town.decisions(one) == {"LT_MOMENTUM_FAST": "credentials_refused"}
        assert await town.decisions(first) == {"LT_MOMENTUM_FAST": "executed"}  # claimed, and given up
        assert await town.accepted() == []
