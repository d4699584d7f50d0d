"""Paper beside live: which signals of a strategy belong to paper, and the purse that it trades them from.

A purse stands where a wallet does: a lease, a balance, a queue of claims and a door of its own, so that paper shares
none of them with money. Purses and paper orders bear the letters `paper` where others have digits of a hash: nothing
that the exchange knows can be taken for one. Which signals belong to paper: docs/decisions/0011-paper-beside-live.md.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from worker.orders.terms import Mode, OrderId, StrategyId, WalletAddress

PAPER_MARK = "0x" + b"paper".hex()
_ADDRESS_LENGTH = 42


def purse_of(strategy_id: StrategyId) -> WalletAddress:
    """The same for ever: its lease says who trades the strategy on paper, whichever worker that is."""
    digits = hashlib.sha256(strategy_id.encode()).hexdigest()
    return WalletAddress((PAPER_MARK + digits)[:_ADDRESS_LENGTH])


def mode_of(name: WalletAddress | OrderId) -> Mode:
    """Whether a wallet or an order is one of paper, or of the exchange."""
    return Mode.PAPER if name.startswith(PAPER_MARK) else Mode.LIVE


@dataclass(frozen=True, slots=True)
class Spell:
    """From `since` on, up to but without `until`; None: no end on that side."""

    since: datetime | None
    until: datetime | None

    def holds(self, moment: datetime) -> bool:
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class ShadowTimes:
    """When a strategy was a shadow, by the insert time of its signals; `lt_mode_at` is the same in SQL."""

    spells: tuple[Spell, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.spells)

    @property
    def mode(self) -> Mode:
        """The mode of signals that are inserted now, as far as is known here."""
        return Mode.PAPER if any(spell.until is None for spell in self.spells) else Mode.LIVE

    def mode_at(self, inserted_at: datetime | None) -> Mode:
        if inserted_at is None:
            return self.mode
        return Mode.PAPER if any(spell.holds(inserted_at) for spell in self.spells) else Mode.LIVE


NEVER_A_SHADOW = ShadowTimes()
