"""One strategy that hangs delays no other, whether they copy the same trader or not."""

import psycopg
import pytest

from tests.e2e.conftest import Town
from tests.support.eventually import eventually

_SIGNALS = 24
_PLACES = 8  # of each strategy: fewer than there are signals

pytestmark = pytest.mark.timeout(180)


async def test_a_strategy_whose_wallet_hangs_keeps_none_of_the_others_waiting(town: Town) -> None:
    """Every claim of the wallet waits for a lock; the other strategy of the same signals trades with another wallet."""
    stuck_wallet = town.world.wallets[1].address
    async with (
        town.worker({"POLYCOPY_SIGNAL__CONCURRENCY": str(_PLACES)}),
        await psycopg.AsyncConnection.connect(town.world.supabase.dsn) as holder,
    ):
        first = await town.signal()
        await eventually(lambda: _executed(town, "LT_MOMENTUM_WHOLE", 1), within_s=30)
        await holder.execute(
            "select from public.lt_wallets where wallet_address = %s for update", (stuck_wallet,)
        )
        signals = [first, *[await town.signal() for _ in range(_SIGNALS)]]
        await eventually(lambda: _executed(town, "LT_MOMENTUM_FAST", len(signals)), within_s=90)
        assert await _count(town, "LT_MOMENTUM_WHOLE") == 1
        other = await town.signal("FT_VALUE")
        await eventually(lambda: town.decisions(other), within_s=20)
        assert await _count(town, "LT_MOMENTUM_WHOLE") == 1

        await holder.rollback()
        await eventually(lambda: _executed(town, "LT_MOMENTUM_WHOLE", len(signals)), within_s=90)
    assert (await town.equation())["undecided"] == 0


async def _count(town: Town, strategy_id: str) -> int:
    (row,) = await town.rows(
        "select count(*) as pairs from public.lt_decisions where strategy_id = %s and state = 'executed'",
        strategy_id,
    )
    return int(row["pairs"])


async def _executed(town: Town, strategy_id: str, count: int) -> bool:
    assert await _count(town, strategy_id) == count
    return True
