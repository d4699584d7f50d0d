"""What a strategy owns and may still spend, as one snapshot. Computed by SQL from fills; never stored, never changed here."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from worker.errors import SchemaError
from worker.orders.numbers import exact_decimal


@dataclass(frozen=True, slots=True)
class Capital:
    """available = initial + realised - locked - cooldown - awaiting redeem; exposure = dollars in open positions."""

    initial_usd: Decimal
    realised_usd: Decimal
    locked_usd: Decimal
    cooldown_usd: Decimal
    awaiting_redeem_usd: Decimal
    available_usd: Decimal
    exposure_usd: Decimal

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
        amount = exact_decimal(row.get(column.name))
        if amount is None:
            raise SchemaError(
                f"capital.{column.name}: expected a number as text, was {row.get(column.name)!r}."
            )
        amounts[column.name] = amount
    return Capital(**amounts)
