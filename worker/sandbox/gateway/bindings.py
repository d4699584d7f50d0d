"""What a channel asked to hear: event, schema, table and filter of each binding. Pure.

A binding's `select` is echoed but not obeyed: no client of this project uses it.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from worker.sandbox.gateway.changes import Operation

_ANY: Final = "*"
_IDS: Final = 2**27  # the range of Erlang's phash2


class Operator(StrEnum):
    """The operators a filter may use, by their names on the wire."""

    EQ = "eq"
    NEQ = "neq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    LIKE = "like"
    ILIKE = "ilike"

    @property
    def sql(self) -> str:
        return _SQL[self]


_SQL: Final = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.IN: "= any",
    Operator.LIKE: "like",
    Operator.ILIKE: "ilike",
}


class FilterRefusedError(ValueError):
    """The filter cannot be parsed; the message is the server's."""


@dataclass(frozen=True, slots=True)
class Filter:
    """`column=operator.value`; the value of `in` is an array literal."""

    column: str
    operator: Operator
    value: str

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Raises FilterRefusedError."""
        column, *condition = text.split("=", 1)
        if not condition:
            raise _refused([text])
        operator, *value = condition[0].split(".", 1)
        try:
            known = Operator(operator)
        except ValueError:
            known = None
        if not value or known is None:
            raise _refused([operator, *value])
        literal = value[0]
        if known is Operator.IN:
            literal = "{" + literal.removeprefix("(").removesuffix(")") + "}"
        return cls(column, known, literal)

    def described(self) -> str:
        """As the server prints it: an Erlang tuple, the last field telling of a negation."""
        return f"{{{_quoted(self.column)}, {_quoted(self.operator)}, {_quoted(self.value)}, false}}"


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `config.postgres_changes`."""

    id: int
    event: str
    schema: str
    table: str | None
    filter_text: str | None
    echoed: Mapping[str, Any]

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> "Binding":
        canonical = json.dumps(params, sort_keys=True)
        identity = zlib.crc32(canonical.encode()) % _IDS
        return cls(
            id=identity,
            event=str(params.get("event", _ANY)),
            schema=str(params.get("schema", "public")),
            table=_text(params.get("table")),
            filter_text=_text(params.get("filter")),
            echoed={"id": identity, **{key: params[key] for key in sorted(params)}},
        )

    def hears(self, operation: Operation, schema: str, table: str) -> bool:
        """Whether such a change is asked for, the filter aside. Events match without regard to case."""
        return (
            self.event.upper() in {_ANY, operation}
            and self.schema in {_ANY, schema}
            and self.table in {None, _ANY, table}
        )

    def described(self, parsed: Filter | None) -> str:
        """As the server prints it in its errors."""
        filters = parsed.described() if parsed else ""
        return (
            f"[event: {self.event}, schema: {self.schema}, table: {self.table or _ANY}, "
            f"filters: [{filters}], select: nil]"
        )


def _refused(parts: list[str]) -> FilterRefusedError:
    listed = ", ".join(_quoted(part) for part in parts)
    return FilterRefusedError(f"Error parsing `filter` params: [{listed}]")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
