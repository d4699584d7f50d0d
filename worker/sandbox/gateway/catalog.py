"""What the gateway asks PostgreSQL: about tables and grants, and for values as PostgreSQL writes them.

One connection serves all questions. What is learnt about a table is kept as long as its `Relation` is
the current one, because PostgreSQL announces a new one after every change of the table or its grants.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from worker.sandbox.gateway.bindings import Binding, Filter, Operator
from worker.sandbox.gateway.pgoutput import Relation
from worker.sandbox.gateway.replication import PUBLICATION

_RETRY_S: Final = 0.2
_COLUMNS: Final = """
select a.attname, t.typname, a.atttypid::int8, format_type(a.atttypid, a.atttypmod),
       coalesce(a.attnum = any(i.indkey), false), c.relrowsecurity
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_type t on t.oid = a.atttypid
left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""
_READABLE: Final = """
select a.attname from pg_attribute a
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
  and has_column_privilege(%s, a.attrelid, a.attnum, 'SELECT')
"""
_PUBLISHED: Final = """
select exists (
  select from pg_publication_tables
  where pubname = %s and %s::text in (schemaname, '*') and %s::text in (tablename, '*')
)
"""
_COLUMN_TYPE: Final = """
select format_type(a.atttypid, a.atttypmod) from pg_attribute a
where a.attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) and a.attname = %s
  and a.attnum > 0 and not a.attisdropped and has_column_privilege(%s, a.attrelid, a.attnum, 'SELECT')
"""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`type_name` is the catalog's short name, `sql_type` what a cast needs."""

    name: str
    type_name: str
    type_oid: int
    sql_type: str
    in_primary_key: bool


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    relation: Relation
    columns: tuple[TableColumn, ...]
    row_security: bool

    @property
    def primary_key(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.in_primary_key)


class Catalog:
    """Answers are PostgreSQL's at the moment of asking."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()
        self._tables: dict[int, Table] = {}
        self._readable: dict[tuple[Relation, str], frozenset[str]] = {}

    async def close(self) -> None:
        async with self._lock:
            if self._connection is not None:
                await self._connection.close()

    async def rows(
        self, query: str | sql.Composed, parameters: Sequence[Any] = (), *, prepare: bool | None = None
    ) -> list[tuple[Any, ...]]:
        """Raises psycopg.OperationalError when PostgreSQL is away; the next call connects anew."""
        statement = query.encode() if isinstance(query, str) else query
        async with self._lock:
            connection = await self._connected()
            cursor = await connection.execute(statement, parameters or None, prepare=prepare)
            return await cursor.fetchall()

    async def table(self, relation: Relation) -> Table:
        known = self._tables.get(relation.oid)
        if known is not None and known.relation is relation:
            return known
        found = await self.rows(_COLUMNS, (relation.oid,))
        columns = tuple(TableColumn(*row[:5]) for row in found)
        table = Table(relation, columns, row_security=bool(found) and found[0][5])
        self._tables[relation.oid] = table
        self._readable = {key: value for key, value in self._readable.items() if key[0].oid != relation.oid}
        return table

    async def readable(self, table: Table, role: str) -> frozenset[str]:
        """Returns the columns that `role` may select."""
        key = (table.relation, role)
        if key not in self._readable:
            found = await self.rows(_READABLE, (table.relation.oid, role))
            self._readable[key] = frozenset(name for (name,) in found)
        return self._readable[key]

    async def bypasses_row_security(self, role: str) -> bool:
        found = await self.rows("select rolbypassrls or rolsuper from pg_roles where rolname = %s", (role,))
        return bool(found and found[0][0])

    async def visible(self, table: Table, role: str, claims: str, row: Mapping[str, str | None]) -> bool:
        """Whether row security shows the row with this primary key to `role` with these claims."""
        key = [column for column in table.columns if column.in_primary_key]
        question = sql.SQL("select exists (select from {} where {})").format(
            sql.Identifier(table.relation.schema, table.relation.table),
            sql.SQL(" and ").join(
                sql.SQL("{} = %s::text::{}").format(sql.Identifier(column.name), sql.SQL(column.sql_type))
                for column in key
            ),
        )
        async with self._lock:
            connection = await self._connected()
            async with connection.transaction():
                await connection.execute(
                    "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                    (claims, role),
                )
                cursor = await connection.execute(question, [row[column.name] for column in key])
                found = await cursor.fetchone()
        return bool(found and found[0])

    async def objection(self, binding: Binding, parsed: Filter | None, role: str) -> str | None:
        """Returns why the server would not subscribe to `binding`, None if it would.

        Waits for PostgreSQL while that is away.
        """
        while True:
            try:
                return await self._objection(binding, parsed, role)
            except psycopg.OperationalError:
                await asyncio.sleep(_RETRY_S)

    async def _objection(self, binding: Binding, parsed: Filter | None, role: str) -> str | None:
        refusal = "Unable to subscribe to changes with given parameters."
        described = binding.described(parsed)
        table = binding.table or "*"
        if not (await self.rows(_PUBLISHED, (PUBLICATION, binding.schema, table)))[0][0]:
            return f"{refusal} Please check Realtime is enabled for the given connect parameters: {described}"
        if parsed is None:
            return None
        found = await self.rows(_COLUMN_TYPE, (binding.schema, table, parsed.column, role))
        exception = f"ERROR P0001 (raise_exception) invalid column for filter {parsed.column}"
        if found:
            try:
                await self.rows(
                    sql.SQL("select {}").format(typed_placeholder(parsed, found[0][0])), (parsed.value,)
                )
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                exception = _described(error)
            else:
                return None
        return f"{refusal} An exception happened so please check your connect parameters: {described}. Exception: {exception}"

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                application_name="realtime_rls",
                # Type names come out qualified, and values as the hosted server writes them.
                options="-c search_path= -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres",
            )
        return self._connection


def typed_placeholder(condition: Filter, sql_type: str) -> sql.Composed:
    """Returns SQL for the filter's value, of the column's type (of its array type for `in`)."""
    array = sql.SQL("[]") if condition.operator is Operator.IN else sql.SQL("")
    return sql.SQL("%s::text::{}{}").format(sql.SQL(sql_type), array)


def _described(error: psycopg.Error) -> str:
    """As the server's database driver prints an error: code, condition name, message."""
    condition = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    return f"ERROR {error.diag.sqlstate} ({condition}) {error.diag.message_primary}"
