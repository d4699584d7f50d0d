"""Rules of the house that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKER = ROOT / "worker"
MODULES = sorted(path for path in WORKER.rglob("*.py") if path.stat().st_size)
# One noun fits; what is longer holds two. A test says each case anew, and may take a little more.
LONGEST = {"worker": 350, "supabase/migrations": 350, "benchmarks": 350, "tests": 450}


def name_of(path: Path) -> str:
    return str(path.relative_to(WORKER))


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_promises(path: Path) -> None:
    promise = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert promise
    assert promise.splitlines()[0].endswith((".", ":", ",", ";")) or "\n" in promise


@pytest.mark.parametrize("room", LONGEST)
def test_a_file_is_short_enough_to_be_read(room: str) -> None:
    files = [path for path in (ROOT / room).rglob("*") if path.suffix in {".py", ".sql"}]
    assert files
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: length for path, length in lengths.items() if length > LONGEST[room]} == {}


def test_one_room_alone_knows_the_exchanges_sdk() -> None:
    knowing = {
        str(path.parent.relative_to(WORKER))
        for path in MODULES
        for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if name.split(".")[0] == "polymarket"
    }
    assert knowing == {"exchange/polymarket"}


def test_the_pipeline_knows_no_float_no_clock_and_no_chance() -> None:
    for path in sorted((WORKER / "orders").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not {"time", "random", "asyncio", "os", "httpx"} & set(imports_of(tree)), path
        for node in ast.walk(tree):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func).rpartition(".")[2] not in {"float", "now", "today"}, where
            if isinstance(node, ast.Constant):
                assert not isinstance(node.value, float), where
