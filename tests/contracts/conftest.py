"""A ledger of each test's own."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.support.desk import Desk
from tests.support.office import THE_WALLET, Office
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.orders.ports import (
    WalletBalance,
)
from worker.orders.terms import (
    Mode,
    WorkerId,
)
from worker.sandbox.supabase import SupabaseSandbox


@pytest.fixture
async def office(supabase: SupabaseSandbox) -> AsyncIterator[Office]:
    access = DatabaseAccess.checked(supabase.url, supabase.service_role_key)
    desk = await Desk.open(supabase.dsn)
    await desk.strategy()
    async with await SupabaseDatabase.open(access) as database:
        ledger = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("worker-a"))
        rival = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("worker-b"))
        await ledger.wallets_seen(WalletBalance(THE_WALLET, Decimal(1000), datetime.now(UTC)))
        try:
            yield Office(ledger, rival, desk)
        finally:
            await desk.close()
