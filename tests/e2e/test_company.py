"""Two executors on one table would trade every signal twice: the worker refuses to be the second."""

import uuid

import pytest

from tests.e2e.conftest import Town
from tests.support.eventually import eventually
from worker.errors import ExitCode
from worker.sandbox.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time


async def test_a_fresh_row_of_another_executor_keeps_the_worker_from_starting(town: Town) -> None:
    await town.database.execute(
        """
        insert into public.lt_orders (strategy_id, user_id, source_trade_id, side, signal_price, signal_size_usd,
          order_id, status, ft_order_id, ft_wallet_id, condition_id, token_id, token_label, order_placed_at)
        select strategy_id, user_id, %s, 'BUY', 0.5, 10, %s, 'FILLED', %s, ft_wallet_id, %s, '1', 'Yes', now()
        from public.lt_strategies order by strategy_id limit 1
        """,
        (str(uuid.uuid4()), "0x" + "ee" * 32, str(uuid.uuid4()), "0x" + "cc" * 32),
    )
    environment = town.world.worker_environment()
    async with WorkerProcess.start(environment, "--live", ready=False) as worker:
        await eventually(lambda: worker.exit_code is not None)
        assert worker.exit_code == ExitCode.NEEDS_HUMAN.value
        (sentence,) = [line for line in worker.log().splitlines() if line.startswith("error: ")]
        assert "written by another executor: stop it" in sentence
        assert "Traceback" not in worker.log()
    assert await town.rows("select 1 from public.lt_leases where expires_at > now()") == []
