"""Exact numbers and moments out of rows, and rounding that names its direction.

A value is read exactly or not at all: a JSON float counts only while its shortest text has at most 15 significant
digits, the most that a double carries back and forth unchanged. Nothing is ever guessed or clamped here.
"""

from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

CENT = Decimal("0.01")

_EXACT_FLOAT_DIGITS = 15


def exact_decimal(value: object) -> Decimal | None:
    """The finite number that `value` states, or None: for NULL, NaN, text that is no number, an inexact float."""
    match value:
        case bool() | None:
            return None
        case Decimal() | int():
            number = Decimal(value)
        case float():
            number = Decimal(repr(value))
            if len(number.as_tuple().digits) > _EXACT_FLOAT_DIGITS:
                return None
        case str():
            try:
                number = Decimal(value.strip())
            except InvalidOperation:
                return None
        case _:
            return None
    return number if number.is_finite() else None


def utc_moment(value: object) -> datetime | None:
    """The moment in UTC, or None: for NULL, `infinity`, text that is no ISO-8601 time, a time without an offset."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime) or value.tzinfo is None:
        return None
    return value.astimezone(UTC)


def plain(number: Decimal) -> str:
    """Digits without an exponent: what people and SQL read."""
    return format(number, "f")


def trimmed(number: Decimal) -> str:
    """The same without zeros that say nothing: `0.5` for 0.500, `0` for 0.00."""
    return plain(number.normalize() + 0)


def share_count(number: Decimal, kind: str = "share") -> str:
    """`12.5 shares`, `1 share`, `0 shares`."""
    return f"{trimmed(number)} {kind}{'' if number == 1 else 's'}"


def floor_to(number: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is not above `number`."""
    return (number / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(number: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of `step` that is not below `number`."""
    return (number / step).to_integral_value(ROUND_CEILING) * step
