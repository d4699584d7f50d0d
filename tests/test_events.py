"""The list of events that operators read is the list of events that the code logs: names, levels, fields."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from worker.database.realtime import FeedState

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "events.md"
LOGS = {"log", "_log"}
LEVELS = {"debug", "info", "warning", "error", "critical"}
LEVEL_OF = {"exception": "error"}
NAME = re.compile(r"[a-z_]+\.[a-z_]+")
ROW = re.compile(r"\| (?P<names>`[^|]+`) \| (?P<levels>[a-z, ]+) \| [^|]+ \| (?P<fields>[^|]*)\| [^|]+ \|")
# Names that are put together at run time, and what they come to.
PUT_TOGETHER = {"f'stream.{state.value}'": [f"stream.{state}" for state in FeedState]}


@dataclass
class Event:
    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    is_open: bool = False  # some of its fields are known at run time alone


def words_of(node: ast.expr) -> list[str]:
    """The texts that an expression may come to."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return words_of(one) + words_of(other)
        case ast.JoinedStr():
            return PUT_TOGETHER[ast.unparse(node)]
    return []


def methods_of(node: ast.expr) -> list[str]:
    """Of `log.info`, or of whichever of two the code chooses between: their names."""
    match node:
        case ast.Attribute(value=ast.Name(id=owner), attr=method) if owner in LOGS:
            return [method]
        case ast.IfExp(body=one, orelse=other):
            return methods_of(one) + methods_of(other)
    return []


class Module:
    """One file's log calls: also those by another name, and by a method that is handed the event's name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.functions = [
            node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def events(self) -> Iterator[tuple[str, list[str], ast.Call]]:
        """Name, levels and call."""
        seen: set[ast.Call] = set()
        for function in reversed(self.functions):  # what is inside another one is seen with its own names
            aliases = self._aliases(function)
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if call in seen:
                    continue
                seen.add(call)
                yield from self._said(function, call, aliases)

    def _said(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef, call: ast.Call, aliases: dict[str, list[str]]
    ) -> Iterator[tuple[str, list[str], ast.Call]]:
        methods = aliases.get(call.func.id, []) if isinstance(call.func, ast.Name) else methods_of(call.func)
        if not set(methods) & {*LEVELS, "exception", "log"}:
            return
        event = call.args[1 if methods == ["log"] else 0]
        levels = (
            self._levels(call.args[0], aliases)
            if methods == ["log"]
            else [LEVEL_OF.get(one, one) for one in methods]
        )
        if isinstance(event, ast.Name) and event.id in [arg.arg for arg in function.args.args]:
            for name, at in self._handed_to(function, event.id):
                yield name, levels, at
                yield name, levels, call
            return
        names = self._names(function, event)
        assert names, f"{self.path}:{call.lineno}: nobody knows what this says"
        for name in names:
            yield name, levels, call

    def _levels(self, node: ast.expr, aliases: dict[str, list[str]]) -> list[str]:
        """Of `log.log`: named there, under another name, or by the method that is asked."""
        named = aliases.get(ast.unparse(node), []) or levels_in(node)
        if not named and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = [one for each in self.functions if each.name == node.func.attr for one in levels_in(each)]
        assert named, f"{self.path}:{node.lineno}: nobody knows how loud this is"
        return named

    def _aliases(self, function: ast.AST) -> dict[str, list[str]]:
        """Names that a function gives to methods of the log, or to levels."""
        given = (node for node in ast.walk(function) if isinstance(node, ast.Assign))
        found = {
            ast.unparse(each.targets[0]): methods_of(each.value) or levels_in(each.value) for each in given
        }
        return {name: meant for name, meant in found.items() if meant}

    def _names(self, function: ast.AST, event: ast.expr) -> list[str]:
        """Of a text, one of a table of the module, or what the function has put under a name."""
        match event:
            case ast.Subscript(value=table):
                return self._table(table)
            case ast.Name(id=given):
                put = [
                    one
                    for one in ast.walk(function)
                    if isinstance(one, ast.Assign) and given in names_in(one)
                ]
                asked = [each for each in self.functions for one in put if each.name in names_in(one.value)]
                return [text for node in (*put, *asked) for text in event_texts_in(node)]
        return words_of(event)

    def _table(self, name: ast.expr) -> list[str]:
        for node in self.tree.body:
            match node:
                case ast.Assign(targets=[target], value=ast.Dict(values=values)) if ast.unparse(
                    target
                ) == ast.unparse(name):
                    return [word for value in values for word in words_of(value)]
        return []

    def _handed_to(
        self, function: ast.FunctionDef | ast.AsyncFunctionDef, parameter: str
    ) -> Iterator[tuple[str, ast.Call]]:
        """The event names with which the function is called in its module."""
        place = [arg.arg for arg in function.args.args].index(parameter) - 1  # `self` is not handed over
        for call in (node for node in ast.walk(self.tree) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == function.name:
                for name in words_of(call.args[place]):
                    yield name, call


def names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


def event_texts_in(node: ast.AST) -> list[str]:
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and NAME.fullmatch(text)]


def levels_in(node: ast.AST) -> list[str]:
    return [level.lower() for level in re.findall(r"logging\.([A-Z]+)", ast.unparse(node))]


def logged() -> dict[str, Event]:
    events: dict[str, Event] = defaultdict(Event)
    speaking = [
        path for path in (ROOT / "worker").rglob("*.py") if "get_logger" in path.read_text(encoding="utf-8")
    ]
    for path in sorted(speaking):
        for name, levels, call in Module(path).events():
            assert NAME.fullmatch(name), f"{path}:{call.lineno}: {name} is no noun.verb"
            event = events[name]
            event.levels.update(levels)
            event.fields.update(word.arg for word in call.keywords if word.arg is not None)
            event.is_open |= any(word.arg is None for word in call.keywords)
    return events


def documented() -> dict[str, Event]:
    events: dict[str, Event] = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        row = ROW.fullmatch(line)
        assert row is not None, f"not five columns of the known kinds: {line}"
        for name in re.findall(r"`([^`]+)`", row["names"]):
            assert name not in events, f"{name} is documented twice"
            events[name] = Event(set(row["levels"].split(", ")), set(re.findall(r"`([^`]+)`", row["fields"])))
    return events


@pytest.fixture(scope="module")
def code() -> dict[str, Event]:
    return logged()


@pytest.fixture(scope="module")
def page() -> dict[str, Event]:
    return documented()


def test_every_event_is_documented_and_none_that_is_documented_is_missing(
    code: dict[str, Event], page: dict[str, Event]
) -> None:
    assert len(code) > 80
    assert sorted(code.keys() - page.keys()) == []
    assert sorted(page.keys() - code.keys()) == []


def test_every_event_is_as_loud_as_its_page_says(code: dict[str, Event], page: dict[str, Event]) -> None:
    # Of one whose name is put together the page knows which of the levels are its own.
    together = {name for names in PUT_TOGETHER.values() for name in names}
    wrong = {
        name: (sorted(event.levels), sorted(page[name].levels))
        for name, event in code.items()
        if name in page
        and not (page[name].levels <= event.levels if name in together else page[name].levels == event.levels)
    }
    assert wrong == {}


def test_every_event_has_the_fields_that_its_page_names(
    code: dict[str, Event], page: dict[str, Event]
) -> None:
    wrong = {
        name: sorted(event.fields ^ page[name].fields)
        for name, event in code.items()
        if name in page
        and not (event.fields <= page[name].fields if event.is_open else event.fields == page[name].fields)
    }
    assert wrong == {}


def test_every_event_tells_an_operator_what_to_do() -> None:
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert all(len(line.split("|")[5].strip()) > 3 for line in rows)
