"""Small wrong changes to one Python module, each of which a good suite must notice. Pure: text in, mutants out.

A mutant replaces one expression by a near miss: the neighbouring comparison, the other rounding, the twin of an
operator, a number one step beside itself, a bound, a row or a condition left out, another member of the same enum.
Left alone is what types and linters judge: imports, annotations, decorators, docstrings. What only makes Python
stumble (a name that is not there) is not among them: such kills would flatter the tests.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

NUMBERS_MODULE = "worker.orders.numbers"

_BOUNDARY: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: Mapping[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_TWINS: Mapping[str, str] = {"floor_to": "ceil_to", "ceil_to": "floor_to", "min": "max", "max": "min"}
_FROM_NUMBERS = frozenset({"floor_to", "ceil_to"})
_ROUNDINGS: Mapping[str, str] = {
    "ROUND_HALF_UP": "ROUND_HALF_DOWN",
    "ROUND_HALF_EVEN": "ROUND_HALF_UP",
    "ROUND_FLOOR": "ROUND_CEILING",
    "ROUND_CEILING": "ROUND_FLOOR",
}
_BOUNDS = frozenset({"min", "max", "floor_to", "ceil_to", "abs", "bool"})  # a call that may be left out
_POLISH = frozenset({"quantize", "lower", "strip", "casefold"})  # a method that may be left out


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed module. `name` is stable while the expression and its function are."""

    module: str
    scope: str  # the function or class, dotted; "" is the module itself
    line: int
    before: str
    after: str
    source: str
    number: int = 1  # among those of one scope that read alike

    @property
    def name(self) -> str:
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.module} {self.scope or '(module)'}: {self.before} -> {self.after}{again}"


def mutants(module: str, source: str) -> Sequence[Mutant]:
    """Every mutant of the module `source`, in the order of its lines; each changes another expression, or otherwise."""
    tree = ast.parse(source)
    text = source.encode()
    lines = text.splitlines(keepends=True)
    seen: set[tuple[int, int, str]] = set()
    counted: Counter[tuple[str, str, str]] = Counter()
    found = []
    for scope, node, changed in _changes(tree, "", _members(tree)):
        start, end = _span(node, lines)
        after = ast.unparse(changed)
        if (start, end, after) in seen or after == ast.unparse(node):
            continue
        seen.add((start, end, after))
        told = _told(node, changed)
        counted[scope, *told] += 1
        mutated = (text[:start] + f"({after})".encode() + text[end:]).decode() + _needed(changed)
        found.append(Mutant(module, scope, node.lineno, *told, mutated, counted[scope, *told]))
    return sorted(found, key=lambda mutant: mutant.line)


def _told(node: ast.expr, changed: ast.expr) -> tuple[str, str]:
    """Before and after, for people: of a long table only the row that is left out."""
    rows, rest = (getattr(each, "elts", ()) or getattr(each, "values", ()) for each in (node, changed))
    if type(node) is type(changed) and isinstance(node, ast.Set | ast.Tuple | ast.Dict):
        (gone,) = [row for row in rows if row not in rest]
        return ast.unparse(gone), "left out"
    return ast.unparse(node), ast.unparse(changed)


# --- where -----------------------------------------------------------------------------------------------------------


def _changes(
    node: ast.AST, scope: str, members: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, ast.expr, ast.expr]]:
    """Where, what stands there, and what is to stand there instead."""
    for child in _judged(node):
        inner = scope
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{child.name}" if scope else child.name
        if isinstance(child, ast.expr):
            yield from ((scope, child, after) for after in _variants(child, node, members))
        if not isinstance(child, ast.JoinedStr):  # what stands inside one has no position of its own in 3.11
            yield from _changes(child, inner, members)


def _judged(node: ast.AST) -> Iterator[ast.AST]:
    """The children that a test, and no type checker, has to judge."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from [default for default in (*node.args.defaults, *node.args.kw_defaults) if default]
            yield from _without_docstring(node.body)
        case ast.ClassDef() | ast.Module():
            yield from _without_docstring(node.body)
        case ast.AnnAssign():
            if node.value is not None:
                yield node.value
        case ast.Import() | ast.ImportFrom():
            return
        case ast.Assign() if any(
            isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets
        ):
            return
        case _:
            yield from ast.iter_child_nodes(node)


def _without_docstring(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not text:
            yield statement


def _members(tree: ast.Module) -> Mapping[str, Sequence[str]]:
    """Enum -> its members as this module uses them: the attributes in capitals of a plain name."""
    used: dict[str, dict[str, None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr.isupper():
            used.setdefault(node.value.id, {})[node.attr] = None
    return {name: tuple(found) for name, found in used.items() if len(found) > 1}


def _span(node: ast.expr, lines: Sequence[bytes]) -> tuple[int, int]:
    """Where the node stands, in bytes of the whole text."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    return start, end


def _needed(changed: ast.expr) -> str:
    """The other rounding may not be imported yet. At the end is early enough: nothing rounds at import time."""
    if isinstance(changed, ast.Name) and changed.id in _FROM_NUMBERS:
        return f"\nfrom {NUMBERS_MODULE} import {changed.id}\n"
    return ""


# --- what ------------------------------------------------------------------------------------------------------------


def _variants(node: ast.expr, parent: ast.AST, members: Mapping[str, Sequence[str]]) -> Iterator[ast.expr]:
    condition = _is_condition(node, parent)
    if condition and not isinstance(parent, ast.IfExp):  # there each branch is tried by itself
        yield from (ast.Constant(True), ast.Constant(False))
    if isinstance(parent, ast.Return | ast.Expr):
        yield ast.Constant(None)
    yield from _operators(node, negated=not condition)
    yield from _names(node, members)
    match node:
        case ast.Constant() if not _is_decimal(parent):  # whose digits are one number
            yield from _constants(node)
        case ast.Call():
            yield from _calls(node)
        case ast.Tuple() if not _is_table(node, parent):
            return
        case ast.JoinedStr() | ast.Set() | ast.Tuple() | ast.Dict():
            yield from _shortened(node)
        case _:
            return


def _operators(node: ast.expr, *, negated: bool) -> Iterator[ast.expr]:
    match node:
        case ast.Compare():
            yield from _comparisons(node, negated=negated)
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            yield ast.BinOp(node.left, _ARITHMETIC[type(op)](), node.right)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            yield from (ast.BoolOp(op, rest) if len(rest) > 1 else rest[0] for rest in _one_less(values))
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.IfExp():
            yield from (node.body, node.orelse)
        case _:
            return


def _names(node: ast.expr, members: Mapping[str, Sequence[str]]) -> Iterator[ast.expr]:
    match node:
        case ast.Attribute(value=ast.Name(id=enum), attr=member) if member in members.get(enum, ()):
            others = members[enum]
            yield ast.Attribute(node.value, others[(others.index(member) + 1) % len(others)], ast.Load())
        case ast.Name(id=name) if name in _TWINS:
            yield ast.Name(_TWINS[name], ast.Load())
        case ast.Name(id=name) if name in _ROUNDINGS:
            yield ast.Constant(_ROUNDINGS[name])
        case _:
            return


def _shortened(node: ast.JoinedStr | ast.Set | ast.Tuple | ast.Dict) -> Iterator[ast.expr]:
    match node:
        case ast.JoinedStr(values=parts):
            yield from (ast.JoinedStr(rest) for rest in _one_less(parts))
        case ast.Set(elts=elements):
            yield from (ast.Set(rest) for rest in _one_less(elements) if rest)
        case ast.Tuple(elts=elements):
            yield from (ast.Tuple(rest, ast.Load()) for rest in _one_less(elements))
        case ast.Dict(keys=keys, values=values):
            for rest in _one_less(list(zip(keys, values, strict=True))):
                yield ast.Dict([key for key, _ in rest], [value for _, value in rest])


def _is_condition(node: ast.expr, parent: ast.AST) -> bool:
    match parent:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.match_case(guard=test):
            return test is node
        case ast.comprehension(ifs=ifs):
            return node in ifs
        case _:
            return False


def _is_table(node: ast.Tuple, parent: ast.AST) -> bool:
    """Rows to be looked through, and no pair to be unpacked."""
    unpacked = isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)
    return not unpacked and all(isinstance(each, ast.Call | ast.Tuple) for each in node.elts)


def _comparisons(node: ast.Compare, *, negated: bool) -> Iterator[ast.expr]:
    for place, op in enumerate(node.ops):
        for table in (_BOUNDARY, _OPPOSITE) if negated else (_BOUNDARY,):
            if type(op) in table:
                ops = [*node.ops[:place], table[type(op)](), *node.ops[place + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)


def _constants(node: ast.Constant) -> Iterator[ast.expr]:
    match node.value:
        case bool(value):
            yield ast.Constant(not value)
        case int(number):
            yield from (ast.Constant(number + 1), ast.Constant(number - 1))
        case str(text) if text:
            yield ast.Constant("")


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    if _is_decimal(node):
        yield from _decimals(node)
        return
    match node:
        case ast.Call(func=ast.Name(id=name), args=[_, *_]) if name in _BOUNDS:
            kept = node.args if name in {"min", "max"} else node.args[:1]
            yield from (each for each in kept if not isinstance(each, ast.GeneratorExp))
        case ast.Call(func=ast.Attribute(value=value, attr=method)) if method in _POLISH:
            yield value
        case _:
            pass
    for place, keyword in enumerate(node.keywords):
        if not isinstance(keyword.value, ast.Constant):  # a plain value has a mutant of its own
            rest = [*node.keywords[:place], *node.keywords[place + 1 :]]
            yield ast.Call(node.func, node.args, rest)


def _is_decimal(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Decimal"


def _decimals(node: ast.Call) -> Iterator[ast.expr]:
    """One more and one less of the last digit that is written."""
    number = Decimal(str(ast.literal_eval(node.args[0])))
    step = Decimal((0, (1,), int(number.as_tuple().exponent)))
    for near in (number + step, number - step):
        yield ast.Call(node.func, [ast.Constant(format(near, "f"))], [])


_T = TypeVar("_T")


def _one_less(items: Sequence[_T]) -> Iterator[list[_T]]:
    """The items without the first, without the second ..."""
    for place in range(len(items)):
        yield [*items[:place], *items[place + 1 :]]
