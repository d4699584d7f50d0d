"""How values cross the edge: numerics as text, times as ISO-8601 text in UTC, objects never half-read.

An answer that lacks what its function promises is a `SchemaError`: the database runs another version of our SQL.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from worker.errors import SchemaError
from worker.orders.numbers import exact_decimal, plain, utc_moment

Row = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)

# PostgreSQL stores no NUL, UTF-8 carries no lone surrogate, and no screen shows the other controls.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_STAND_IN = "\N{REPLACEMENT CHARACTER}"


def plain_text(text: str) -> str:
    """Words of strangers as the database can store them: a stand-in marks each character that it cannot."""
    return _UNPRINTABLE.sub(_STAND_IN, text)


def plain_words(value: Any) -> Any:
    """`plain_text` for every text of a JSON value, names included, however deep."""
    match value:
        case str():
            return plain_text(value)
        case Mapping():
            return {plain_text(str(name)): plain_words(inner) for name, inner in value.items()}
        case list() | tuple():
            return [plain_words(inner) for inner in value]
    return value


def number_text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def moment_text(moment: datetime | None) -> str | None:
    """Raises ValueError for a time without a zone: it would be read in the database's own."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with a zone, was {moment.isoformat()}")
    return moment.astimezone(UTC).isoformat()


def text_of(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise _unlike(row, name, "text")
    return value


def count_of(row: Row, name: str) -> int:
    value = row.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unlike(row, name, "a whole number")
    return value


def flag_of(row: Row, name: str) -> bool:
    value = row.get(name)
    if not isinstance(value, bool):
        raise _unlike(row, name, "true or false")
    return value


def decimal_of(row: Row, name: str) -> Decimal:
    """Only from text: a JSON number has lost its scale, and perhaps digits."""
    value = exact_decimal(row.get(name)) if isinstance(row.get(name), str) else None
    if value is None:
        raise _unlike(row, name, "a number as text")
    return value


def moment_of(row: Row, name: str) -> datetime:
    moment = utc_moment(row.get(name))
    if moment is None:
        raise _unlike(row, name, "an ISO-8601 time with a zone")
    return moment


def optional_moment_of(row: Row, name: str) -> datetime | None:
    return None if row.get(name) is None else moment_of(row, name)


def row_of(row: Row, name: str) -> Row:
    value = row.get(name)
    if not isinstance(value, dict):
        raise _unlike(row, name, "an object")
    return value


def rows_of(row: Row, name: str) -> Sequence[Row]:
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _unlike(row, name, "a list of objects")
    return value


def texts_of(row: Row, name: str) -> Sequence[str]:
    value = row.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _unlike(row, name, "a list of texts")
    return value


def word_of(row: Row, name: str, words: type[E]) -> E:
    """One word of a closed list."""
    word = text_of(row, name)
    try:
        return words(word)
    except ValueError:
        raise _unlike(row, name, f"one of {words.__name__}") from None


def _unlike(row: Row, name: str, expected: str) -> SchemaError:
    return SchemaError(
        f"The database answered {name}={row.get(name)!r:.80}, expected {expected}; "
        "its functions are of another version: apply supabase/migrations."
    )
