"""A whole life of the worker, at its most talkative, shows none of the secrets that it was given."""

import pytest

from tests.e2e.conftest import Town
from tests.support.eventually import eventually

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time


async def test_a_whole_life_of_the_worker_shows_no_secret(town: Town) -> None:
    world = town.world
    keys = [wallet.key.removeprefix("0x") for wallet in world.wallets]
    credentials = [await world.exchange.fund(wallet.address, 1) for wallet in world.wallets]
    secrets = {world.supabase.service_role_key, world.supabase.service_role_key.rpartition(".")[2], *keys}
    secrets |= {word for one in credentials for word in (one["secret"], one["passphrase"])}

    async with town.worker({"POLYCOPY_LOG__LEVEL": "debug", "POLYCOPY_STOP_DRAIN_S": "2"}) as worker:
        signal = await town.signal()
        await town.signal(entry_price="0")
        await eventually(town.accepted)
        await eventually(lambda: town.decisions(signal))
        await eventually(lambda: "order.decided" in worker.log())
        # What nobody expected is told as well: the database goes away under its feet.
        await world.supabase.postgrest._process.stop()
        await eventually(lambda: "database.retried" in worker.log())
        assert await worker.stop() == 0
        log = worker.log()

    assert "order.decided" in log
    for secret in secrets:
        assert len(secret) > 20
        assert secret.lower() not in log.lower()
