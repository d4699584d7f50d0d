"""How an order is taken in when the venue departs from its rules, and how long look-ups then miss it.

Reported of the real venue: an acknowledgement of `live` for a FAK, `unmatched`, a delay where none was announced,
an order that exists and is not found. The defaults are the rules themselves.
"""

from dataclasses import dataclass
from enum import StrEnum


class Insertion(StrEnum):
    """What an order is declared to be on insertion, without a look at the other side of the book."""

    LIVE = "live"  # it rests, whatever its type
    UNMATCHED = "unmatched"
    DELAYED = "delayed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    insertion: Insertion | None = None
    """None: as the rules and the book decide."""
    rests: bool | None = None
    """Whether an unmatched order goes on the book; None: if its type allows. Otherwise it is dead at once."""
    delay_s: float = 2.0
    """How long a delayed order waits for its match."""
    order_hidden_s: float = 0.0
    trades_hidden_s: float = 0.0
    """How long REST look-ups do not find the order, and its trades."""


BY_THE_RULES = Handling()
