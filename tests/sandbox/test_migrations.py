"""Applying migrations as the Supabase CLI does."""

from pathlib import Path

import psycopg
import pytest

from worker.sandbox.errors import SandboxError
from worker.sandbox.migrations import apply_migrations, migrations_dir, split_statements

TABLE = "create table if not exists things (id int);"
INDEX = "-- no-transaction\ncreate index concurrently if not exists things_id on things (id);\nselect 1;\n"


def _write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"2026{name.removeprefix('_')}.sql").write_text(text)
    return folder


async def _recorded(dsn: str) -> list[tuple[str, str, int]]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        rows = await connection.execute(
            "select version, name, cardinality(statements) "
            "from supabase_migrations.schema_migrations order by version"
        )
        return await rows.fetchall()


async def test_each_file_is_applied_once_in_order_and_recorded(empty_database: str, tmp_path: Path) -> None:
    folder = _write(tmp_path, _0002_index=INDEX, _0001_table=TABLE)
    assert await apply_migrations(empty_database, folder) == ["20260001", "20260002"]
    assert await apply_migrations(empty_database, folder) == []
    assert await _recorded(empty_database) == [("20260001", "table", 1), ("20260002", "index", 2)]


async def test_force_applies_everything_again(empty_database: str, tmp_path: Path) -> None:
    folder = _write(tmp_path, _0001_table=TABLE, _0002_index=INDEX)
    await apply_migrations(empty_database, folder)
    assert await apply_migrations(empty_database, folder, force=True) == ["20260001", "20260002"]
    assert len(await _recorded(empty_database)) == 2


async def test_a_file_that_fails_leaves_nothing_of_itself(empty_database: str, tmp_path: Path) -> None:
    folder = _write(tmp_path, _0001_table=TABLE, _0002_bad="create table half (id int); select 1/0;")
    with pytest.raises(SandboxError, match="20260002_bad failed: division by zero"):
        await apply_migrations(empty_database, folder)
    assert [version for version, _, _ in await _recorded(empty_database)] == ["20260001"]
    async with await psycopg.AsyncConnection.connect(empty_database) as connection:
        row = await (await connection.execute("select to_regclass('half'), to_regclass('things')")).fetchone()
    assert row == (None, "things")


async def test_our_own_migrations_can_be_applied_twice(database: str) -> None:
    assert await apply_migrations(database) == []
    applied = await apply_migrations(database, force=True)
    assert len(applied) == len(list(migrations_dir().glob("*.sql")))


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select 'a;b', \"c;d\"; -- e;f\n", ["select 'a;b', \"c;d\""]),
        ("select e'it\\'s;'; /* ; */ select 2;", ["select e'it\\'s;'", "/* ; */ select 2"]),
        ("do $$ begin; end $$; do $x$ ; $$ ; $x$;", ["do $$ begin; end $$", "do $x$ ; $$ ; $x$"]),
        (
            "create function f() returns int begin atomic select 1; select 2; end; select 3;",
            ["create function f() returns int begin atomic select 1; select 2; end", "select 3"],
        ),
        ("-- nothing\n;;", []),
    ],
)
def test_statements_end_at_semicolons_outside_of_quotes(text: str, statements: list[str]) -> None:
    assert list(split_statements(text)) == statements
