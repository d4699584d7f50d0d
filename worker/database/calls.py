"""How the ledger calls a function of ours: in the worker's own mode, or in that of the wallet or the order it is about.

What is asked every second or so is asked about wallets and purses at once: their names tell the modes in SQL too.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from worker.database.client import SupabaseDatabase
from worker.database.values import Row, rows_of
from worker.orders.paper import mode_of
from worker.orders.terms import Mode, OrderId, WalletAddress


class Calls:
    """What the rooms of the ledger share."""

    def __init__(self, database: SupabaseDatabase, mode: Mode) -> None:
        self._database = database
        self._mode = mode

    async def _call(
        self, function: str, params: Mapping[str, Any], mode: Mode | None = None
    ) -> dict[str, Any]:
        return await self._database.rpc(function, {"p": {"mode": mode or self._mode, **params}})

    async def _rows_about(
        self, wallets: Collection[WalletAddress], function: str, rows: str, params: Mapping[str, Any]
    ) -> Sequence[Row]:
        """The `rows` of the answer about these wallets and purses; without any, there is nothing to be asked."""
        if not wallets:
            return []
        return rows_of(await self._call(function, {"wallets": list(wallets), **params}), rows)

    def _mode_of(self, name: WalletAddress | OrderId) -> Mode:
        return Mode.PAPER if self._mode is Mode.PAPER else mode_of(name)
