"""Every step to the outside goes through one seam: what does not pass it could not be struck in a chaos run."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.schedule import STEPS
from worker.database.ledger import SupabaseLedger
from worker.exchange.paper import PaperExchange
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.orders.ports import Exchange, Ledger

WORKER = Path(__file__).parents[2] / "worker"
EFFECTS = sorted([*(WORKER / "execution").glob("*.py"), *(WORKER / "handlers").glob("*.py")])
OUTSIDE = frozenset(
    {
        "aiohttp",
        "http",
        "httpx",
        "polymarket",
        "psycopg",
        "realtime",
        "requests",
        "socket",
        "supabase",
        "urllib",
    }
    | {"websockets"}
)
ADAPTERS = ("worker.adapters", "worker.database", "worker.exchange", "worker.sandbox")
PORTS = {"ledger": Ledger, "exchange": Exchange}
# Taken by the daemon, before there are any effects.
AT_THE_START = {"ledger.foreign_orders"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in EFFECTS:
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def calls_of_ports(tree: ast.Module) -> Iterator[str]:
    """`ledger.claim` for each call of a port's method, whatever the port is a field of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            port = ast.unparse(node.func.value).rpartition(".")[2].lstrip("_")
            if port in PORTS:
                yield f"{port}.{node.func.attr}"


def test_the_effects_know_nobody_outside_but_the_ports_that_they_are_handed() -> None:
    for path, tree in trees():
        for name in imports_of(tree):
            assert name.split(".")[0] not in OUTSIDE, f"{path} imports {name}"
            assert not name.startswith(ADAPTERS), f"{path} imports {name}"


def test_the_daemon_hands_out_nothing_but_the_ports_behind_the_seam() -> None:
    tree = ast.parse((WORKER / "daemon.py").read_text(encoding="utf-8"))
    serve = next(
        node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == "serve"
    )
    uses = [node for node in ast.walk(serve) if isinstance(node, ast.Name) and node.id == "opened"]
    wrapped = [
        node
        for node in ast.walk(serve)
        if isinstance(node, ast.Call) and ast.unparse(node) == "opened.stepped(observer)"
    ]
    assert len(wrapped) == 1
    assert sum(isinstance(node.ctx, ast.Load) for node in uses) == 1
    assert sum(
        isinstance(node, ast.Call) and ast.unparse(node.func) == "Daemon" for node in ast.walk(tree)
    ) == len(wrapped)


def test_every_step_that_the_effects_take_is_a_point_where_a_chaos_run_kills() -> None:
    taken = {step for _, tree in trees() for step in calls_of_ports(tree)}
    awaited = {
        step
        for step in taken
        if inspect.iscoroutinefunction(getattr(PORTS[step.split(".")[0]], step.split(".")[1]))
    }
    assert taken == awaited
    assert taken ^ STEPS.keys() == AT_THE_START


@pytest.mark.parametrize("adapter", [SupabaseLedger, PolymarketExchange, PaperExchange])
def test_every_awaited_call_of_a_port_is_one_that_the_seam_can_see(adapter: type) -> None:
    port = Ledger if adapter is SupabaseLedger else Exchange
    for name, method in inspect.getmembers(port, inspect.iscoroutinefunction):
        assert inspect.iscoroutinefunction(getattr(adapter, name)), (
            f"{adapter.__name__}.{name} hides from {method}"
        )
