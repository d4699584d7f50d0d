"""An operator beside a running worker: what he switches takes effect, and what he asks is answered as it is documented."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import BOTH_MOMENTUM, Town
from tests.support.eventually import eventually
from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction
from worker.database.keys import DatabaseAccess
from worker.database.reports import OrderChoice, Reports
from worker.errors import ExitCode
from worker.orders.terms import Mode, StrategyId
from worker.sandbox.second_terminal import how_to_look, way_in
from worker.sandbox.worker_process import WorkerProcess
from worker.verbs.audit import read_audit
from worker.verbs.explain import read_story
from worker.verbs.switches import Order, turn

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

CONTRACT = Path(__file__).parents[2] / "docs" / "cli-json.md"
FAST, WHOLE = map(StrategyId, BOTH_MOMENTUM)
MONITORED = {"POLYCOPY_ENDPOINTS__PORT": "0"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """The second terminal that `demo` shows the way into."""

    script: Path

    async def __call__(self, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
        """What the command prints to stdout."""
        process = await asyncio.create_subprocess_exec(
            self.script, *arguments, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        stdout, stderr = await process.communicate()
        assert process.returncode == code, stderr.decode()
        return stdout.decode()


async def decided(town: Town, *words: str) -> str:
    """A signal, once both of its strategies have decided it; its id. It must come to these words."""
    signal, found = await _signal(town)
    assert found == list(words)
    return signal


async def executed_again(town: Town) -> str:
    """The first signal that both strategies execute: a worker knows within a second that it may go on."""

    async def attempt() -> str:
        signal, found = await _signal(town)
        assert found == ["executed", "executed"]
        return signal

    return await eventually(attempt)


async def _signal(town: Town) -> tuple[str, list[str]]:
    async def is_decided() -> dict[str, str]:
        found = await town.decisions(signal)
        return found if len(found) == len(BOTH_MOMENTUM) else {}

    signal = await town.signal()
    found = await eventually(is_decided)
    return signal, [found[strategy] for strategy in BOTH_MOMENTUM]


def undocumented(answers: Iterable[Mapping[str, Any]]) -> set[str]:
    contract = CONTRACT.read_text(encoding="utf-8")
    keys = {key for answer in answers for key in answer}
    return {key for key in keys if not re.search(rf"\b{key}\b", contract)}


async def test_switches_take_effect_in_a_running_worker_and_every_question_is_answered(town: Town) -> None:
    access = DatabaseAccess(url=town.world.supabase.url, key=town.world.supabase.service_role_key)
    with way_in(town.world.worker_environment()) as script:
        ask = Terminal(script)
        assert all(str(script) in line for line in how_to_look(script)[1:])
        async with await SupabaseDatabase.open(access) as database, town.worker(MONITORED) as worker:
            reports = Reports(database, Mode.LIVE)
            paused = await turn(reports, Order(ControlAction.PAUSE, FAST, reason="too hasty"))
            assert [one["standing"] for one in paused.strategies] == ["paused"]
            skipped = await decided(town, "strategy_paused", "executed")
            await turn(reports, Order(ControlAction.RESUME, FAST))
            executed = await executed_again(town)
            killed = json.loads(await ask("kill", "--reason", "wrong prices", "--yes", "--json"))
            assert (killed["scope"], killed["changed"]) == ("global", True)
            await decided(town, "kill_switch", "kill_switch")
            standing = json.loads(await ask("status", "--json", code=ExitCode.KILLED))
            assert [one["what"] for one in standing["needs_human"]] == ["killed"]
            await turn(reports, Order(ControlAction.ARM))
            await executed_again(town)
            text, feed = await asyncio.gather(
                ask("explain", skipped[:8]), ask("feed", "--since", "1h", "--json")
            )
            assert "polycopy-worker resume" in " ".join(text.split())
            await _answers_agree(town, reports, executed, [json.loads(line) for line in feed.splitlines()])
            await _monitor_agrees(town, worker)
            await _exchange_is_asked_too(town, ask)


async def _exchange_is_asked_too(town: Town, ask: Terminal) -> None:
    """By the verbs that need the wallets' keys."""
    (order,) = await town.rows("select exchange_order_id from public.lt_order_attempts limit 1")
    checked, resolved = await asyncio.gather(
        ask("check", "--json"), ask("resolve", order["exchange_order_id"], "--json")
    )
    findings = json.loads(checked)
    assert findings["ready"], findings
    assert {"database", "exchange"} <= {one["thing"] for one in findings["findings"]}
    (case,) = json.loads(resolved)["attempts"]
    assert (case["order_id"], "no answer" in case["exchange_says"]) == (order["exchange_order_id"], False)


async def _answers_agree(town: Town, reports: Reports, executed: str, events: list[dict[str, Any]]) -> None:
    story = (await read_story(reports, executed)).as_json()
    for strategy in story["strategies"]:
        stages = {one["stage"] for one in strategy["timeline"]}
        assert {"received", "decided", "claimed", "sent", "answered"} <= stages
    audit = (await read_audit(reports, timedelta(hours=1), None)).as_json()
    equation = await town.equation()
    assert {name: audit["total"][name] for name in equation} == equation
    placed = await town.rows("select strategy_id from public.lt_orders")
    assert audit["total"]["orders"]["placed"] == len(placed)
    orders = await reports.orders(OrderChoice.ALL, timedelta(hours=1), strategy_id=WHOLE)
    assert len(orders["orders"]) == sum(row["strategy_id"] == WHOLE for row in placed)
    told = [(one["strategy_id"], one["ft_order_id"]) for one in events if one["event"] == "order.decided"]
    assert len(told) == len(set(told)) == equation["seen"]
    parts = (story["strategies"][0], audit["total"], audit["total"]["orders"], orders["orders"][0], *events)
    assert undocumented((story, audit, orders, *parts)) == set()


async def _monitor_agrees(town: Town, worker: WorkerProcess) -> None:
    """What the worker tells its monitor is what the database says that it did."""
    (served,) = (line for line in map(json.loads, worker.new_lines()) if line["event"] == "endpoints.served")
    equation = await town.equation()

    async def counted() -> bool:
        told = text_string_to_metric_families((await monitor.get("/metrics")).text)
        (decisions,) = (family for family in told if family.name == "polycopy_decisions")
        by_outcome = Counter[str]()
        for sample in decisions.samples:
            if sample.name.endswith("_total"):
                by_outcome[sample.labels["outcome"]] += int(sample.value)
        return all(by_outcome[name] == equation[name] for name in ("executed", "skipped"))

    async with httpx.AsyncClient(base_url=served["url"]) as monitor:
        await eventually(counted)
        ready, alive = await monitor.get("/readyz"), await monitor.get("/livez")
    assert (ready.status_code, ready.json()["phase"], alive.status_code) == (200, "serving", 200)
    assert {"sweep", "feed", "wallets", "exchange", "tasks", "patterns"} <= {
        check["name"] for check in ready.json()["checks"]
    }
