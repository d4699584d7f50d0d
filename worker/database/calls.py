"""How the ledger calls a function of ours: in the worker's own mode, or in that of the wallet or the order it is about."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from worker.database.client import SupabaseDatabase
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

    async def _call_by_mode(
        self, function: str, params: Mapping[Mode, Mapping[str, Any]]
    ) -> dict[Mode, dict[str, Any]]:
        answers = await asyncio.gather(*(self._call(function, each, mode) for mode, each in params.items()))
        return dict(zip(params, answers, strict=True))

    def _mode_of(self, name: WalletAddress | OrderId) -> Mode:
        return Mode.PAPER if self._mode is Mode.PAPER else mode_of(name)

    def _by_mode(self, wallets: Iterable[WalletAddress]) -> dict[Mode, list[WalletAddress]]:
        """Mode -> its wallets; without any, there is nothing to be asked."""
        by_mode: dict[Mode, list[WalletAddress]] = {}
        for wallet in wallets:
            by_mode.setdefault(self._mode_of(wallet), []).append(wallet)
        return by_mode
