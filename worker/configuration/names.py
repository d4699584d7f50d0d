"""Which strategy is meant: a name that nobody bears is told with the nearest ones, and with those that there are."""

import difflib
from collections.abc import Collection
from typing import Final

from worker.errors import UsageError

_NAMED_MOST: Final = 20
_ALIKE: Final = 0.7  # names differ by a word, and begin alike


def unknown_strategy(asked: str, known: Collection[str], kind: str = "strategy") -> UsageError:
    """What is wrong with `--strategy`: the nearest names, and those that there are."""
    alike = {name.casefold(): name for name in known}
    near = [alike[one] for one in difflib.get_close_matches(asked.casefold(), alike, n=3, cutoff=_ALIKE)]
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    there_are = ", ".join(sorted(known)[:_NAMED_MOST]) or "none"
    more = f" and {len(known) - _NAMED_MOST} more" if len(known) > _NAMED_MOST else ""
    return UsageError(
        f"--strategy {asked} is no {kind} of lt_strategies: {meant}There are {there_are}{more}."
    )
