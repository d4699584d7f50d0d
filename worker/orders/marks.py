"""Marks: the book of a token some time after a trade of ours, and how they are kept and forgotten again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from worker.orders.terms import TokenId, WalletAddress


@dataclass(frozen=True, slots=True)
class MarksDue:
    """`next_in_s`: until another book should be looked at; None: none is known."""

    token_ids: tuple[TokenId, ...]
    next_in_s: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """The best prices at that moment; None: nobody bid, or offered."""

    token_id: TokenId
    taken_at: datetime
    best_bid: Decimal | None
    best_ask: Decimal | None


class MarkKeeper(Protocol):
    """Raises `DatabaseUnreachable` or `DatabaseRefused`."""

    async def due(self, wallets: Collection[WalletAddress], *, limit: int) -> MarksDue:
        """What these wallets traded and whose book should be looked at now, the most pressing first."""
        ...

    async def keep(self, marks: Sequence[Mark]) -> int:
        """Returns how many were new."""
        ...


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were forgotten; `more`: some are left that might be."""

    decisions: int
    marks: int
    more: bool


class Pruner(Protocol):
    """Raises `DatabaseUnreachable` or `DatabaseRefused`."""

    async def prune(self, *, limit: int) -> Pruned:
        """Forget skips and marks past the retention, at most `limit` of each. Never anything that money hangs on."""
        ...
