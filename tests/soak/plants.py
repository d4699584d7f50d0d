"""Discrepancies of one unit, planted in one of the two books: each of them has to be found, or agreement says nothing."""

from collections.abc import Mapping
from enum import StrEnum
from typing import assert_never

import psycopg

from worker.sandbox.world import World


class Plant(StrEnum):
    FEE = "fee"  # the ledger has a fee that is a hundred-thousandth of a dollar too high
    FILL = "fill"  # the ledger has lost the trade that it booked last
    STATE = "state"  # the ledger takes a trade for reversed that is final
    BALANCE = "balance"  # a wallet has a millionth of a dollar that no trade brought


_KEEP = """
create temporary table kept_fill as select * from public.lt_fills
where fill_seq = (select max(fill_seq) from public.lt_fills where state = 'final')
"""
_STATEMENTS: Mapping[Plant, str] = {
    Plant.FEE: "update public.lt_fills set fee_usd = fee_usd + 0.00001 where fill_seq in (table kept_seq)",
    Plant.FILL: "delete from public.lt_fills where fill_seq in (table kept_seq)",
    Plant.STATE: "update public.lt_fills set state = 'reversed' where fill_seq in (table kept_seq)",
}
_SEQ = "create temporary view kept_seq as select fill_seq from kept_fill"
_PUT_BACK = (
    "delete from public.lt_fills where fill_seq in (table kept_seq)",
    "insert into public.lt_fills overriding system value select * from kept_fill",
)


class Planted:
    """Behind the triggers, as a hand in the tables or a broken restore would do it. `undo` leaves no trace of it."""

    def __init__(self, world: World, plant: Plant) -> None:
        self._world = world
        self._plant = plant
        self._database: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    async def do(self) -> None:
        match self._plant:
            case Plant.BALANCE:
                await self._world.exchange.fund(self._world.wallets[0].address, "0.000001")
            case Plant.FEE | Plant.FILL | Plant.STATE:
                self._database = await psycopg.AsyncConnection.connect(
                    self._world.supabase.dsn, autocommit=True
                )
                await self._say("set session_replication_role = replica", _KEEP, _SEQ)
                await self._say(_STATEMENTS[self._plant])
            case _:
                assert_never(self._plant)

    async def undo(self) -> None:
        if self._database is None:
            await self._world.exchange.fund(self._world.wallets[0].address, "-0.000001")
            return
        await self._say(*_PUT_BACK)
        await self._database.close()

    async def _say(self, *statements: str) -> None:
        assert self._database is not None
        for statement in statements:
            await self._database.execute(statement.encode())
