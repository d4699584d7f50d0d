"""Turns row changes into the JSON that readers get, values written by PostgreSQL itself.

All rows of a batch that share table and columns are rendered by one query. What a reader may not see is
told as the hosted server tells it: an error 401 without values, 400 without a primary key, 413 with the
small values only, silence where row security hides the row.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from psycopg import sql

from worker.sandbox.gateway.bindings import Filter
from worker.sandbox.gateway.catalog import Catalog, Table, TableColumn, typed_placeholder
from worker.sandbox.gateway.replication import Operation, RowChange, Transaction

MAX_RECORD_BYTES: Final = 1024 * 1024

_SMALL_VALUES: Final = """
select coalesce(jsonb_object_agg(key, value), '{}')::text from jsonb_each(%s::jsonb)
where value <> 'null' and octet_length(value::text) <= 64
"""
_NOT_A_NUMBER: Final = frozenset({"numeric", "float4", "float8"})
_UNAUTHORIZED: Final = "Error 401: Unauthorized"
_NO_PRIMARY_KEY: Final = "Error 400: Bad Request, no primary key"
_TOO_LARGE: Final = "Error 413: Payload Too Large"

Columns = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who receives a change: a database role with the claims of its token."""

    role: str
    claims: str


@dataclass(slots=True)
class RenderedChange:
    """`data` has the JSON for each reader that may have it; `passed` the filters that the row passes."""

    change: RowChange
    data: dict[Reader, str] = field(default_factory=dict)
    passed: set[Filter] = field(default_factory=set)


class Renderer:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def render(
        self, transaction: Transaction, readers: Collection[Reader], filters: Collection[Filter]
    ) -> list[RenderedChange]:
        """Renders every change, in order. Raises psycopg.Error when PostgreSQL cannot be asked."""
        rendered = [RenderedChange(change) for change in transaction.changes]
        by_relation: dict[int, list[RenderedChange]] = {}
        for each in rendered:
            by_relation.setdefault(id(each.change.relation), []).append(each)
        for changes in by_relation.values():
            table = await self._catalog.table(changes[0].change.relation)
            await self._filter(table, changes, filters)
            for reader in readers:
                await self._render(table, changes, reader, transaction.committed_at)
        return rendered

    async def _filter(
        self, table: Table, changes: Sequence[RenderedChange], filters: Collection[Filter]
    ) -> None:
        columns = {column.name: column for column in table.columns}
        for condition in filters:
            column = columns.get(condition.column)
            asked = [each for each in changes if condition.column in _row(each.change)]
            if column is None or not asked:
                continue
            query = sql.SQL(
                "select coalesce({} {} ({}), false) from unnest(%s::text[]) with ordinality as r(c0, n) order by n"
            ).format(
                _cast("c0", column),
                sql.SQL(condition.operator.sql),
                typed_placeholder(condition, column.sql_type),
            )
            values = [_row(each.change)[condition.column] for each in asked]
            answers = await self._catalog.rows(query, [condition.value, values], prepare=True)
            for each, (passes,) in zip(asked, answers, strict=True):
                if passes:
                    each.passed.add(condition)

    async def _render(
        self, table: Table, changes: Sequence[RenderedChange], reader: Reader, committed_at: datetime
    ) -> None:
        readable = await self._catalog.readable(table, reader.role)
        refusal = None
        if not table.primary_key:
            refusal = _NO_PRIMARY_KEY
        elif not table.primary_key <= readable:
            refusal = _UNAUTHORIZED
        if refusal is not None:
            for each in changes:
                each.data[reader] = _data(each.change, record="{}", columns="[]", error=refusal)
            return
        if table.row_security and not await self._catalog.bypasses_row_security(reader.role):
            changes = [each for each in changes if await self._shows(table, reader, each.change)]
        shown = [column for column in table.columns if column.name in readable]
        columns_json = json.dumps(
            [{"name": column.name, "type": column.type_name} for column in shown], ensure_ascii=False
        )
        records = await self._records(shown, [each.change.new for each in changes])
        old_records = await self._records(shown, [each.change.old for each in changes])
        envelope = _envelope_bytes(table, shown)
        for each, record, old_record in zip(changes, records, old_records, strict=True):
            error = None
            if len((record or old_record or "").encode()) + envelope > MAX_RECORD_BYTES:
                error = _TOO_LARGE
                record, old_record = [await self._small_values(text) for text in (record, old_record)]  # noqa: PLW2901
            each.data[reader] = _data(
                each.change,
                record=record,
                columns=columns_json,
                error=error,
                committed_at=committed_at,
                old_record=old_record,
            )

    async def _shows(self, table: Table, reader: Reader, change: RowChange) -> bool:
        if change.new is None:
            return True  # a deleted row cannot be looked at; the server sends its key to everybody
        return await self._catalog.visible(table, reader.role, reader.claims, change.new)

    async def _records(
        self, columns: Sequence[TableColumn], rows: Sequence[Mapping[str, str | None] | None]
    ) -> list[str | None]:
        """Returns each row as the text of a jsonb object, None for no row."""
        records: list[str | None] = [None] * len(rows)
        groups: dict[Columns, list[int]] = {}
        for index, row in enumerate(rows):
            if row is not None:
                present = tuple(column.name for column in columns if column.name in row)
                groups.setdefault(present, []).append(index)
        for present, indexes in groups.items():
            chosen = [column for column in columns if column.name in present]
            arrays = [[(rows[index] or {})[name] for index in indexes] for name in present]
            answers = await self._catalog.rows(_records_query(chosen), arrays, prepare=True)
            for index, (text,) in zip(indexes, answers, strict=True):
                records[index] = text
        return records

    async def _small_values(self, record: str | None) -> str | None:
        if record is None:
            return None
        text: str = (await self._catalog.rows(_SMALL_VALUES, (record,)))[0][0]
        return text


def _records_query(columns: Sequence[TableColumn]) -> sql.Composed:
    names = [f"c{index}" for index in range(len(columns))]
    return sql.SQL(
        "select to_jsonb(o)::text from unnest({}) with ordinality as r({}, n), "
        "lateral (select {}) as o order by n"
    ).format(
        sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(columns)),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(_as_logged(name, column), sql.Identifier(column.name))
            for name, column in zip(names, columns, strict=True)
        ),
    )


def _as_logged(name: str, column: TableColumn) -> sql.Composed:
    """The value as wal2json, which the hosted server reads, writes it."""
    value = _cast(name, column)
    if column.type_name in _NOT_A_NUMBER:
        return sql.SQL("case when {} not in ('NaN', 'Infinity', '-Infinity') then {} end").format(
            sql.Identifier("r", name), value
        )
    if column.type_name == "bytea":
        return sql.SQL("encode({}, 'hex')").format(value)
    return value


def _cast(name: str, column: TableColumn) -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Identifier("r", name), sql.SQL(column.sql_type))


def _row(change: RowChange) -> Mapping[str, str | None]:
    return change.new if change.new is not None else change.old or {}


def _envelope_bytes(table: Table, columns: Sequence[TableColumn]) -> int:
    """What wal2json's message of a row has beyond our record: the server's limit is on all of it."""
    described = {
        "pk": [
            {"name": column.name, "type": column.sql_type, "typeoid": column.type_oid}
            for column in table.columns
            if column.in_primary_key
        ],
        "table": table.relation.table,
        "action": "I",
        "schema": table.relation.schema,
        "columns": [
            {"name": column.name, "type": column.sql_type, "value": 0, "typeoid": column.type_oid}
            for column in columns
        ],
        "timestamp": "2026-01-01 00:00:00.000000+00",
    }
    counted_twice = dict.fromkeys([column.name for column in columns], 0)
    return len(json.dumps(described).encode()) - len(json.dumps(counted_twice).encode())


def _data(
    change: RowChange,
    *,
    columns: str,
    record: str | None,
    error: str | None = None,
    committed_at: datetime | None = None,
    old_record: str | None = None,
) -> str:
    """The object under `data`, its keys in the server's order."""
    timestamp = (
        committed_at
        and committed_at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{committed_at.microsecond // 1000:03d}Z"
    )
    fields = {
        "table": json.dumps(change.relation.table, ensure_ascii=False),
        "type": json.dumps(change.operation),
        "record": record,
        "columns": columns,
        "errors": json.dumps([error]) if error else "null",
        "schema": json.dumps(change.relation.schema, ensure_ascii=False),
        "commit_timestamp": json.dumps(timestamp),
        "old_record": None if change.operation is Operation.INSERT else old_record,
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items() if text is not None) + "}"
