"""A table as one role may read it, and what follows from that for the messages about its rows. Pure."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from worker.sandbox.gateway.pgoutput import Relation

UNAUTHORIZED: Final = "Error 401: Unauthorized"
NO_PRIMARY_KEY: Final = "Error 400: Bad Request, no primary key"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`type_name` is the catalog's short name, `sql_type` what a cast needs."""

    name: str
    type_name: str
    type_oid: int
    sql_type: str
    in_primary_key: bool
    readable: bool


@dataclass(frozen=True, eq=False)
class TableView:
    """`hides_rows`: row security may hide rows from the role, so each has to be looked for."""

    relation: Relation
    columns: tuple[TableColumn, ...]
    hides_rows: bool

    @cached_property
    def primary_key(self) -> tuple[TableColumn, ...]:
        return tuple(column for column in self.columns if column.in_primary_key)

    @cached_property
    def shown(self) -> tuple[TableColumn, ...]:
        return tuple(column for column in self.columns if column.readable)

    @cached_property
    def refusal(self) -> str | None:
        """The error that stands for every row, if the role may see none."""
        if not self.primary_key:
            return NO_PRIMARY_KEY
        return None if all(column.readable for column in self.primary_key) else UNAUTHORIZED

    @cached_property
    def described(self) -> str:
        """The JSON under `columns`, spaced as PostgreSQL writes jsonb."""
        described = [{"name": column.name, "type": column.type_name} for column in self.shown]
        return json.dumps(described, ensure_ascii=False)

    @cached_property
    def envelope_bytes(self) -> int:
        """What wal2json's message of a row has beyond our record: the server's limit is on all of it."""
        message = {
            "pk": [_typed(column) for column in self.primary_key],
            "table": self.relation.table,
            "action": "I",
            "schema": self.relation.schema,
            "columns": [_typed(column) | {"value": 0} for column in self.shown],
            "timestamp": "2026-01-01 00:00:00.000000+00",
        }
        counted_twice = {column.name: 0 for column in self.shown}
        return len(json.dumps(message).encode()) - len(json.dumps(counted_twice).encode())


def _typed(column: TableColumn) -> dict[str, str | int]:
    return {"name": column.name, "type": column.sql_type, "typeoid": column.type_oid}
