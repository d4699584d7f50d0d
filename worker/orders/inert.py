"""Settings that a strategy's row may hold and that no order of this worker obeys: named, so that nobody relies on them.

A stop that is set and not kept is worse than none. Whatever is not listed here is obeyed, or is the platform's own
state; a new column that the worker does not act on belongs in this list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_EXITS = "a position is sold only when its trader sells"

INERT: Final[Mapping[str, str]] = {
    "stop_loss_pct": _EXITS,
    "take_profit_pct": _EXITS,
    "max_hold_hours": _EXITS,
    "sync_ft_changes": "changes of the paper wallet are always followed",
}
"""Column of `lt_strategies` -> what happens instead."""

# What a column holds where nobody asks for anything.
_UNSET: Final[Mapping[str, object]] = {"sync_ft_changes": True}


@dataclass(frozen=True, slots=True)
class InertSetting:
    column: str
    value: str

    @property
    def sentence(self) -> str:
        return f"{self.column} = {self.value} has no effect: {INERT[self.column]}"


def inert_settings(row: Mapping[str, Any]) -> tuple[InertSetting, ...]:
    """Those that are set in a row of `lt_strategies`. NULL is not set."""
    return tuple(
        InertSetting(column, str(row[column]).lower())
        for column in INERT
        if row.get(column) is not None and row[column] != _UNSET.get(column)
    )
