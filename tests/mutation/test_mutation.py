"""The tool that changes the money's code: what it changes, what it leaves alone, and that it can tell dead from alive."""

import ast
import asyncio

import pytest

from tests.mutation import run
from tests.mutation.mutations import Mutant, mutants
from tests.mutation.run import NOTICED_LEAST, ROOT, SURVIVORS, TARGETS, Outcome, Server, Trial, excused
from tests.mutation.trial import Verdict

SIZING = ROOT / "worker" / "orders" / "sizing.py"


def changes(source: str) -> set[tuple[str, str]]:
    return {(mutant.before, mutant.after) for mutant in mutants("some", source)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {("a < b", "a <= b"), ("a < b", "a >= b")}),
        ("x = a in b", {("a in b", "a not in b")}),
        ("x = a + b", {("a + b", "a - b")}),
        ("x = not a", {("not a", "a")}),
        ("x = a and b", {("a and b", "a or b"), ("a and b", "a"), ("a and b", "b")}),
        ("x = a if b else c", {("a if b else c", "a"), ("a if b else c", "c")}),
        ("x = Decimal('0.05')", {("Decimal('0.05')", f"Decimal('0.0{n}')") for n in (4, 6)}),
        ("x = 7", {("7", "8"), ("7", "6")}),
        ("x = 'word'", {("'word'", "''")}),
        ("x = min(a, b)", {("min(a, b)", "a"), ("min(a, b)", "b"), ("min", "max")}),
        ("x = a.lower()", {("a.lower()", "a")}),
        ("x = ROUND_HALF_UP", {("ROUND_HALF_UP", "'ROUND_HALF_DOWN'")}),
        ("x = f(a, b=c)", {("f(a, b=c)", "f(a)")}),
        ("x = (f(a), f(b))", {("f(a)", "left out"), ("f(b)", "left out")}),
        ("x = f'{a} USD'", {("f'{a} USD'", "f' USD'"), ("f'{a} USD'", "f'{a}'")}),
        ("x = {a: b}", {("b", "left out")}),
    ],
)  # fmt: skip
def test_each_kind_of_expression_has_its_near_misses(source: str, expected: set[tuple[str, str]]) -> None:
    assert changes(source) == expected


def test_a_condition_is_forced_both_ways_and_an_answer_taken_away() -> None:
    source = "def f(a):\n    if a:\n        return a\n    return None\n"
    assert changes(source) == {("a", "True"), ("a", "False"), ("a", "None")}


def test_members_of_an_enum_change_places() -> None:
    assert changes("x = [Side.BUY, Side.SELL]") == {("Side.BUY", "Side.SELL"), ("Side.SELL", "Side.BUY")}


def test_a_rounding_is_turned_even_where_its_twin_is_not_imported() -> None:
    (turned, without) = mutants("some", "from worker.orders.numbers import floor_to\nx = floor_to(a, b)\n")[
        ::-1
    ]
    assert (turned.after, without.after) == ("ceil_to", "a")
    assert "import ceil_to" in turned.source


def test_what_types_and_linters_judge_is_left_alone() -> None:
    source = '"""Words."""\nfrom a import b\n__all__ = ["b"]\n@c(frozen=True)\nclass D:\n    e: "f"\n    """More."""\n'
    assert changes(source) == set()


@pytest.mark.parametrize("module", TARGETS)
def test_every_mutant_of_the_money_is_python_and_has_a_name_of_its_own(module: str) -> None:
    source = (ROOT / "worker" / "orders" / f"{module}.py").read_text(encoding="utf-8")
    made = mutants(module, source)
    assert len(made) > 25
    assert len({mutant.name for mutant in made}) == len({mutant.source for mutant in made}) == len(made)
    for mutant in made[:: len(made) // 10]:
        assert ast.dump(ast.parse(mutant.source)) != ast.dump(ast.parse(source))


def test_every_listed_survivor_is_a_mutant_of_today_and_has_a_reason() -> None:
    paths = {module: ROOT / "worker" / "orders" / f"{module}.py" for module in TARGETS}
    names = {each.name for name, path in paths.items() for each in mutants(name, path.read_text("utf-8"))}
    assert set(excused()) <= names
    assert all(len(why.split()) > 3 for why in excused().values())
    assert SURVIVORS.read_text("utf-8").count("[[survivor]]") == len(excused())


def trial(name: str, verdict: Verdict) -> Trial:
    return Trial(Mutant("sizing", name, 1, "a", "b", ""), verdict, "")


def outcome(*trials: Trial, listed: str = "") -> Outcome:
    return Outcome(trials, {trial(listed, Verdict.FAILED).mutant.name: "no money"} if listed else {}, 1.0)


def test_a_run_holds_if_enough_is_noticed_and_each_of_the_rest_is_listed() -> None:
    dead = [trial(f"dead{n}", Verdict.FAILED) for n in range(8)] + [trial("hung", Verdict.TIMED_OUT)]
    alive = trial("alive", Verdict.SURVIVED)
    assert outcome(*dead).problems() == []
    assert outcome(*dead, alive, listed="alive").problems() == []
    assert outcome(*dead, alive, listed="alive").share == NOTICED_LEAST
    (unlisted,) = outcome(*dead, alive).problems()
    assert "nothing noticed" in unlisted
    (stale,) = outcome(*dead, listed="dead1").problems()
    assert "take it off the list" in stale
    assert any("less than 90%" in problem for problem in outcome(*dead[1:], alive, listed="alive").problems())
    (broken,) = outcome(*dead, trial("odd", Verdict.BROKEN), trial("odd2", Verdict.FAILED)).problems()
    assert "could not be run" in broken


async def test_a_mutant_that_a_test_notices_is_told_from_one_that_none_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        run, "_rounds", lambda _module: [["tests/orders/test_sizing.py::test_a_bet_is_whole_cents"]]
    )
    of_kind = {
        each.after: each for each in mutants("sizing", await asyncio.to_thread(SIZING.read_text, "utf-8"))
    }
    async with Server.started() as server:
        found = [
            await server.tried(of_kind[after], 60.0) for after in ("'ROUND_HALF_DOWN'", "affordable < 0")
        ]
    assert [each.verdict for each in found] == [Verdict.FAILED, Verdict.SURVIVED]
    assert found[0].by.endswith("test_a_bet_is_whole_cents")
