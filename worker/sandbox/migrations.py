"""Applies supabase/migrations/*.sql as `supabase db push` does, and records them in the same table.

A file runs in one transaction, unless its first line is `-- no-transaction`: then each statement runs on
its own (CREATE INDEX CONCURRENTLY needs that).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from worker.sandbox.errors import SandboxError

_CHECKOUT: Final = Path(__file__).parents[2] / "supabase" / "migrations"
_INSTALLED: Final = Path(__file__).parents[1] / "migrations"
_NO_TRANSACTION: Final = "-- no-transaction"
_LEDGER: Final = """
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key, statements text[], name text
);
"""
_RECORD: Final = """
insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)
on conflict (version) do update set statements = excluded.statements, name = excluded.name
"""
# Everything in which a semicolon does not end a statement.
_TOKEN: Final = re.compile(
    r"""
      --[^\n]*                          # comment to the end of the line
    | /\*.*?\*/                         # comment (not nested)
    | [eE]'(?:[^'\\]|\\.|'')*'          # string with escapes
    | '(?:[^']|'')*'                    # string
    | "(?:[^"]|"")*"                    # quoted name
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$   # dollar-quoted body
    | \bbegin\s+atomic\b.*?\bend\s*(?=;) # body of a standard SQL function
    | ;
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `<version>_<name>.sql`."""

    version: str
    name: str
    text: str

    @property
    def in_transaction(self) -> bool:
        return not self.text.startswith(_NO_TRANSACTION)


def migrations_dir() -> Path:
    """Returns where the migrations are: in a checkout, else inside the installed package."""
    for folder in (_CHECKOUT, _INSTALLED):
        if folder.is_dir():
            return folder
    raise SandboxError("No migrations found: expected supabase/migrations in the checkout.")


def read_migrations(folder: Path | None = None) -> list[Migration]:
    """Reads the migrations of `folder` (default `migrations_dir()`) in the order of their versions."""
    migrations = []
    for path in sorted((folder or migrations_dir()).glob("*.sql")):
        version, _, name = path.stem.partition("_")
        migrations.append(Migration(version, name, path.read_text(encoding="utf-8")))
    return migrations


async def apply_migrations(dsn: str, folder: Path | None = None, *, force: bool = False) -> list[str]:
    """Applies what is not recorded yet (`force`: everything again) and returns the versions applied.

    Raises SandboxError naming the file that PostgreSQL refused; what earlier files did stays.
    """
    applied = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(_LEDGER)
        rows = await connection.execute("select version from supabase_migrations.schema_migrations")
        recorded = {version for (version,) in await rows.fetchall()}
        for migration in read_migrations(folder):
            if migration.version in recorded and not force:
                continue
            try:
                await _apply(connection, migration)
            except psycopg.Error as error:
                raise SandboxError(
                    f"Migration {migration.version}_{migration.name} failed: {error}"
                ) from error
            applied.append(migration.version)
    return applied


async def _apply(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    statements = list(split_statements(migration.text))
    record = (migration.version, statements, migration.name)
    if migration.in_transaction:
        async with connection.transaction():
            await connection.execute(migration.text.encode())
            await connection.execute(_RECORD, record)
    else:
        for statement in statements:
            await connection.execute(statement.encode())
        await connection.execute(_RECORD, record)


def split_statements(text: str) -> Iterator[str]:
    """Splits SQL at the semicolons that end statements; comments stay with the statement they precede."""
    start = 0
    for token in _TOKEN.finditer(text):
        if token.group() == ";":
            yield from _unless_empty(text[start : token.start()])
            start = token.end()
    yield from _unless_empty(text[start:])


def _unless_empty(statement: str) -> Iterator[str]:
    if re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL).strip():
        yield statement.strip()
