"""Turns row changes into the JSON that readers get, values written by PostgreSQL itself.

All rows of a batch that share table and columns are rendered by one query. What a reader may not see is
told as the hosted server tells it: an error 401 without values, 400 without a primary key, 413 with the
small values only, silence where row security hides the row.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from psycopg import sql

from worker.sandbox.gateway.bindings import Filter
from worker.sandbox.gateway.catalog import Catalog, typed_placeholder
from worker.sandbox.gateway.changes import Operation, RowChange, Transaction
from worker.sandbox.gateway.views import NO_PRIMARY_KEY, UNAUTHORIZED, TableColumn, TableView

MAX_RECORD_BYTES: Final = 1024 * 1024

_SMALL_VALUES: Final = """
select coalesce(jsonb_object_agg(key, value), '{}')::text from jsonb_each(%s::jsonb)
where value <> 'null' and octet_length(value::text) <= 64
"""
_NOT_A_NUMBER: Final = frozenset({"numeric", "float4", "float8"})
_TOO_LARGE: Final = "Error 413: Payload Too Large"


class Guise(StrEnum):
    """How a row is told that could be shown in full: for the faults that take it from its reader."""

    UNAUTHORIZED = UNAUTHORIZED
    KEYLESS = NO_PRIMARY_KEY
    TRUNCATED = _TOO_LARGE


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
    """`guise_of` tells of a table how its rows are told, None for what they are."""

    def __init__(self, catalog: Catalog, guise_of: Callable[[str], Guise | None]) -> None:
        self._catalog = catalog
        self._guise_of = guise_of

    async def render(
        self, transaction: Transaction, readers: Collection[Reader], filters: Collection[Filter]
    ) -> list[RenderedChange]:
        """Renders every change, in order, for at least one reader.

        Raises psycopg.Error when PostgreSQL cannot be asked.
        """
        rendered = [RenderedChange(change) for change in transaction.changes]
        by_relation: dict[int, list[RenderedChange]] = {}
        for each in rendered:
            by_relation.setdefault(id(each.change.relation), []).append(each)
        for changes in by_relation.values():
            relation = changes[0].change.relation
            views = {reader: await self._catalog.view(relation, reader.role) for reader in readers}
            for reader, view in views.items():
                await self._render(view, changes, reader, transaction.committed_at)
            for condition in filters:
                await self._filter(next(iter(views.values())), changes, condition)
        return rendered

    async def _filter(self, view: TableView, changes: Sequence[RenderedChange], condition: Filter) -> None:
        """Notes which changes pass; one that does not carry the column does not."""
        asked = [each for each in changes if condition.column in _row(each.change)]
        column = next((each for each in view.columns if each.name == condition.column), None)
        if column is None or not asked:
            return
        values = [_row(each.change)[condition.column] for each in asked]
        query = _filter_query(condition, column)
        answers = await self._catalog.rows(query, [condition.value, values], prepare=True)
        for each, (passes,) in zip(asked, answers, strict=True):
            if passes:
                each.passed.add(condition)

    async def _render(
        self, view: TableView, changes: Sequence[RenderedChange], reader: Reader, committed_at: datetime
    ) -> None:
        guise = self._guise_of(view.relation.table)
        refusal = guise if guise in {Guise.UNAUTHORIZED, Guise.KEYLESS} else view.refusal
        if refusal is not None:
            for each in changes:
                each.data[reader] = _data(each.change, record="{}", columns="[]", error=refusal)
            return
        if view.hides_rows:
            changes = [each for each in changes if await self._shows(view, reader, each.change)]
        records = await self._records(view.shown, [each.change.new for each in changes])
        old_records = await self._records(view.shown, [each.change.old for each in changes])
        for each, record, old_record in zip(changes, records, old_records, strict=True):
            size = len((record or old_record or "").encode()) + view.envelope_bytes
            fits = size <= MAX_RECORD_BYTES and guise is None
            each.data[reader] = _data(
                each.change,
                record=record if fits else await self._small_values(record),
                old_record=old_record if fits else await self._small_values(old_record),
                columns=view.described,
                error=None if fits else _TOO_LARGE,
                committed_at=committed_at,
            )

    async def _shows(self, view: TableView, reader: Reader, change: RowChange) -> bool:
        if change.new is None:
            return True  # a deleted row cannot be looked at; the server sends its key to everybody
        return await self._catalog.visible(view, reader.role, reader.claims, change.new)

    async def _records(
        self, columns: Sequence[TableColumn], rows: Sequence[Mapping[str, str | None] | None]
    ) -> list[str | None]:
        """Returns each row as the text of a jsonb object, None for no row."""
        records: list[str | None] = [None] * len(rows)
        groups: dict[tuple[TableColumn, ...], list[int]] = {}
        for index, row in enumerate(rows):
            if row is not None:
                present = tuple(column for column in columns if column.name in row)
                groups.setdefault(present, []).append(index)
        for present, indexes in groups.items():
            arrays = [[(rows[index] or {})[column.name] for index in indexes] for column in present]
            answers = await self._catalog.rows(_records_query(present), arrays, prepare=True)
            for index, (text,) in zip(indexes, answers, strict=True):
                records[index] = text
        return records

    async def _small_values(self, record: str | None) -> str | None:
        if record is None:
            return None
        text: str = (await self._catalog.rows(_SMALL_VALUES, (record,)))[0][0]
        return text


@lru_cache(maxsize=256)
def _records_query(columns: tuple[TableColumn, ...]) -> bytes:
    """SQL that takes one array of texts for each column and returns each row as jsonb."""
    names = [f"c{index}" for index in range(len(columns))]
    query = sql.SQL(
        "select to_jsonb(o.*)::text from unnest({}) with ordinality as r({}, n), "
        "lateral (select {}) as o order by r.n"
    ).format(
        sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(columns)),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(
            sql.SQL("{} as {}").format(_as_logged(name, column), sql.Identifier(column.name))
            for name, column in zip(names, columns, strict=True)
        ),
    )
    return query.as_bytes()


@lru_cache(maxsize=256)
def _filter_query(condition: Filter, column: TableColumn) -> bytes:
    """SQL that takes the filter's value and an array of texts and tells of each whether it passes."""
    query = sql.SQL(
        "select coalesce({} {} ({}), false) from unnest(%s::text[]) with ordinality as r(c0, n) order by r.n"
    ).format(
        _cast("c0", column),
        sql.SQL(condition.operator.sql),
        typed_placeholder(condition, column.sql_type),
    )
    return query.as_bytes()


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
