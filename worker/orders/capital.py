"""What a strategy owns and may still spend, as one snapshot. Computed by SQL from fills; never stored, never changed here.

And what it takes to trust it: `Books` keep checkpoints, and compute everything from zero again, a part at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from worker.errors import SchemaError
from worker.orders.numbers import exact_decimal
from worker.orders.terms import Mode, StrategyId


@dataclass(frozen=True, slots=True)
class Capital:
    """available = initial + realised - locked - cooldown - awaiting redeem; exposure = dollars in open positions.

    `as_of`: by the database's clock; answers overtake each other on their way.
    """

    initial_usd: Decimal
    realised_usd: Decimal
    locked_usd: Decimal
    cooldown_usd: Decimal
    awaiting_redeem_usd: Decimal
    available_usd: Decimal
    exposure_usd: Decimal
    as_of: datetime | None = field(default=None, compare=False)

    def is_older_than(self, other: "Capital | None") -> bool:
        return (
            other is not None
            and self.as_of is not None
            and other.as_of is not None
            and self.as_of < other.as_of
        )

    @property
    def bankroll_usd(self) -> Decimal:
        """What Kelly bets a fraction of: free money, and proceeds that are only cooling down (domain.md 2.3).

        Open positions are not in it - that oversized the bets of the executor before us - and neither are winnings
        that somebody must still redeem.
        """
        return max(self.available_usd + self.cooldown_usd, Decimal(0))


def parse_capital(row: Mapping[str, Any]) -> Capital:
    """From the `capital` object of our SQL functions, numerics as text. Raises SchemaError if one is missing."""
    amounts: dict[str, Decimal] = {}
    for column in fields(Capital):
        if column.name == "as_of":
            continue
        amount = exact_decimal(row.get(column.name))
        if amount is None:
            raise SchemaError(
                f"capital.{column.name}: expected a number as text, was {row.get(column.name)!r}."
            )
        amounts[column.name] = amount
    as_of = row.get("as_of")
    return Capital(**amounts, as_of=datetime.fromisoformat(as_of) if isinstance(as_of, str) else None)


@dataclass(frozen=True, slots=True)
class CapitalDifference:
    """Two sums that should be one: an order and its entries, or a checkpoint and what it stands on."""

    what: str
    mode: Mode
    missing: Mapping[str, Decimal]  # dollars by column: what it should be, less what it is


@dataclass(frozen=True, slots=True)
class AuditedPart:
    differences: tuple[CapitalDifference, ...]
    bookmark: Mapping[str, Any] | None  # where the next part begins; None at the end of the strategy


class Books(Protocol):
    """Raises `DatabaseUnreachable` or `DatabaseRefused`."""

    async def checkpoint(self) -> int:
        """Write whatever checkpoints are due, so that capital stays cheap to compute; returns how many."""
        ...

    async def after(self, strategy_id: StrategyId | None) -> StrategyId | None:
        """The next strategy whose past holds money, active or not, round and round; None while none does."""
        ...

    async def audit(
        self, strategy_id: StrategyId, *, orders: int, bookmark: Mapping[str, Any] | None
    ) -> AuditedPart:
        """The next part of a strategy's past, about so many orders, from zero. A difference has paused the strategy."""
        ...
