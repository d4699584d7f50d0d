"""What the gateway asks PostgreSQL: about tables and grants, and for values as PostgreSQL writes them.

One connection serves all questions. What is learnt about a table is kept as long as its `Relation` is
the current one, because PostgreSQL announces a new one after every change of the table or its grants.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg
from psycopg import sql

from worker.sandbox.gateway.bindings import Binding, Filter, Operator
from worker.sandbox.gateway.pgoutput import Relation
from worker.sandbox.gateway.replication import PUBLICATION
from worker.sandbox.gateway.views import TableColumn, TableView

T = TypeVar("T")

_RETRY_S: Final = 0.2
_CLOSE_WITHIN_S: Final = 2.0
_VIEW: Final = """
select a.attname, t.typname, a.atttypid::int8, format_type(a.atttypid, a.atttypmod),
       coalesce(a.attnum = any(i.indkey), false),
       has_column_privilege(r.oid, a.attrelid, a.attnum, 'SELECT'),
       c.relrowsecurity and not (r.rolbypassrls or r.rolsuper)
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_type t on t.oid = a.atttypid
join pg_roles r on r.rolname = %s
left join pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped
order by a.attnum
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
_REFUSAL: Final = "Unable to subscribe to changes with given parameters."


class Catalog:
    """Answers are PostgreSQL's at the moment of asking."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection | None = None
        self._lock = asyncio.Lock()
        self._views: dict[tuple[int, str], TableView] = {}

    async def close(self) -> None:
        """Lets go of the connection, in the middle of a question if that is never answered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_S), self._lock:
                pass
        if self._connection is not None:
            await self._connection.close()

    async def rows(
        self,
        query: str | bytes | sql.Composed,
        parameters: Sequence[Any] = (),
        *,
        prepare: bool | None = None,
    ) -> list[tuple[Any, ...]]:
        """Raises psycopg.OperationalError while PostgreSQL is away."""
        statement = query.encode() if isinstance(query, str) else query

        async def ask(connection: psycopg.AsyncConnection) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement, parameters or None, prepare=prepare)
            return await cursor.fetchall()

        return await self._asking(ask)

    async def view(self, relation: Relation, role: str) -> TableView:
        """Returns the table as `role` may read it."""
        known = self._views.get((relation.oid, role))
        if known is not None and known.relation is relation:
            return known
        found = await self.rows(_VIEW, (role, relation.oid))
        columns = tuple(TableColumn(*row[:6]) for row in found)
        view = TableView(relation, columns, hides_rows=bool(found) and found[0][6])
        self._views[relation.oid, role] = view
        return view

    async def visible(self, view: TableView, role: str, claims: str, row: Mapping[str, str | None]) -> bool:
        """Whether row security shows the row with this primary key to `role` with these claims."""
        question = sql.SQL("select exists (select from {} where {})").format(
            sql.Identifier(view.relation.schema, view.relation.table),
            sql.SQL(" and ").join(
                sql.SQL("{} = %s::text::{}").format(sql.Identifier(column.name), sql.SQL(column.sql_type))
                for column in view.primary_key
            ),
        )

        async def look(connection: psycopg.AsyncConnection) -> bool:
            async with connection.transaction():
                await connection.execute(
                    "select set_config('request.jwt.claims', %s, true), set_config('role', %s, true)",
                    (claims, role),
                )
                cursor = await connection.execute(question, [row[column.name] for column in view.primary_key])
                found = await cursor.fetchone()
            return bool(found and found[0])

        return await self._asking(look)

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
        table = binding.table or "*"
        if not (await self.rows(_PUBLISHED, (PUBLICATION, binding.schema, table)))[0][0]:
            return unpublished_table(binding, parsed)
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
        described = binding.described(parsed)
        return f"{_REFUSAL} An exception happened so please check your connect parameters: {described}. Exception: {exception}"

    async def _asking(self, ask: Callable[[psycopg.AsyncConnection], Awaitable[T]]) -> T:
        """Asks, and once more over a new connection when PostgreSQL has ended the old one meanwhile."""
        async with self._lock:
            if self._connection is not None and not self._connection.closed:
                try:
                    return await ask(self._connection)
                except psycopg.OperationalError:
                    if not self._connection.closed:
                        raise
            self._connection = await psycopg.AsyncConnection.connect(
                self._dsn,
                autocommit=True,
                application_name="realtime_rls",
                # Type names come out qualified, and values as the hosted server writes them.
                options="-c search_path= -c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres",
            )
            return await ask(self._connection)


def unpublished_table(binding: Binding, parsed: Filter | None) -> str:
    """Returns the objection to a table that is not in the publication."""
    described = binding.described(parsed)
    return f"{_REFUSAL} Please check Realtime is enabled for the given connect parameters: {described}"


def typed_placeholder(condition: Filter, sql_type: str) -> sql.Composed:
    """Returns SQL for the filter's value, of the column's type (of its array type for `in`)."""
    array = sql.SQL("[]") if condition.operator is Operator.IN else sql.SQL("")
    return sql.SQL("%s::text::{}{}").format(sql.SQL(sql_type), array)


def _described(error: psycopg.Error) -> str:
    """As the server's database driver prints an error: code, condition name, message."""
    condition = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    return f"ERROR {error.diag.sqlstate} ({condition}) {error.diag.message_primary}"
