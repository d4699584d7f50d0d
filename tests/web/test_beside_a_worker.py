"""The web's process beside the real daemon: it sees what happens there, and what it is asked to do happens there.

One world, one worker and one web process for all of it. They are staged once, so this is one test with many sentences:
tests of their own would be spread over processes, each with a world of its own.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Town, open_town
from tests.support.eventually import eventually
from tests.web.conftest import TOKEN, named_by, open_site, operations, stream
from worker.sandbox.postgres import Postgres
from worker.sandbox.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(300)  # processes come and go: on a busy machine each takes its time

FAST = "LT_MOMENTUM_FAST"
# Nothing is found by a sweep within the test, unless it is asked for.
SELDOM = {
    "POLYCOPY_SWEEP__EVERY_S": "300",
    "POLYCOPY_SWEEP__EVERY_DEGRADED_S": "300",
    "POLYCOPY_SIGNAL__MAX_AGE_S": "3600",
    "POLYCOPY_RETAKE__MAX": "0",
}


@dataclass(frozen=True, slots=True)
class Beside:
    town: Town
    web: httpx.AsyncClient

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        answer = await self.web.get(f"/api/lt/{path}", params=params)
        assert answer.status_code == httpx.codes.OK, answer.text
        told: dict[str, Any] = answer.json()
        return told

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        answer = await self.web.post(
            f"/api/lt/{path}", json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=90
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        told: dict[str, Any] = answer.json()
        return told


@asynccontextmanager
async def web_process(environment: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with WorkerProcess.start(environment, verb="web") as web:
        async with httpx.AsyncClient(base_url=web.status.removeprefix("listening on "), timeout=30) as client:
            yield client
        assert await web.stop() == 0


@pytest.fixture
async def beside(cluster: Postgres, migrated_template: str) -> AsyncIterator[Beside]:
    async with open_town(cluster, migrated_template) as town:
        environment = {
            **town.world.worker_environment(),
            "POLYCOPY_WEB_TOKEN": TOKEN,
            "POLYCOPY_WEB__PORT": "0",
            "POLYCOPY_WEB__FEED_EVERY_S": "0.1",
        }
        async with town.worker(SELDOM), web_process(environment) as web:
            yield Beside(town, web)


async def an_audit_of_a_strategy_that_is_not_there_is_refused(beside: Beside) -> None:
    nobody = await beside.web.get("/api/lt/execution-audit", params={"strategy_id": "LT_NOBODY"})
    assert (nobody.status_code, "LT_NOBODY" in nobody.json()["error"]) == (httpx.codes.NOT_FOUND, True)


async def the_diagnostic_passes_what_holds_and_names_what_does_not(beside: Beside) -> None:
    told = await eventually(lambda: _passed(beside))
    assert told["summary"]["total"] == len(told["results"])
    assert told["health"] != "CRITICAL"
    await beside.post("kill", {"reason": "a drill"})
    killed = await beside.get("diagnostic")
    await beside.post("arm")
    await eventually(lambda: _trades_again(beside.town), every_s=0.5)
    assert killed["health"] == "CRITICAL"
    assert {one["category"] for one in killed["results"] if one["status"] == "FAIL"} >= {"Risk State"}
    assert any("polycopy-worker arm" in one for one in killed["recommended_actions"])


async def _passed(beside: Beside) -> dict[str, Any]:
    """The answer, once the worker has heard of its own row and seen its balances."""
    told = await beside.get("diagnostic")
    passed = {one["category"] for one in told["results"] if one["status"] == "PASS"}
    assert passed >= {"Worker", "Pending Execution", "Active Strategies", "Realtime", "Exchange"}
    return told


async def a_pause_by_the_api_holds_for_the_next_signal_and_its_end_too(beside: Beside) -> None:
    turned = await beside.post(f"strategies/{FAST}/pause", {"reason": "a look at it", "actor": "night shift"})
    (standing,) = turned["strategies"]
    assert (turned["changed"], standing["standing"]) == (True, "paused")
    signal = await beside.town.signal()
    decided = await eventually(lambda: _both_decided(beside.town, signal))
    assert decided == {FAST: "strategy_paused", "LT_MOMENTUM_WHOLE": "executed"}
    (row,) = await beside.town.rows("select actor, reason from public.lt_controls where cleared_at is null")
    assert row == {"actor": "night shift", "reason": "a look at it"}
    assert (await beside.post(f"strategies/{FAST}/resume"))["changed"]
    assert not (await beside.post(f"strategies/{FAST}/resume"))["changed"]
    await eventually(lambda: _trades_again(beside.town), every_s=0.5)


async def _trades_again(town: Town) -> bool:
    """The worker has heard of the end of the pause: within a second, on a machine that has one to spare."""
    signal = await town.signal()
    decided = await eventually(lambda: _both_decided(town, signal))
    return decided[FAST] == "executed"


async def _both_decided(town: Town, signal: str) -> dict[str, str]:
    found = await town.decisions(signal)
    return found if len(found) == 2 else {}


async def _both_executed(town: Town, signal: str) -> dict[str, str]:
    found = await _both_decided(town, signal)
    return found if set(found.values()) == {"executed"} else {}


async def a_sweep_that_is_asked_for_executes_what_nobody_heard_of_and_counts_it(beside: Beside) -> None:
    town = beside.town
    await town.rows(
        "insert into public.ft_wallets (wallet_id, config_id, display_name) values ('FT_QUIET', '', '') returning 1"
    )
    signals = [await town.signal("FT_QUIET"), await town.signal("FT_QUIET", outcome="LOST")]
    await town.rows(  # an update is no insert: the feed tells of none
        "update public.ft_orders set wallet_id = 'FT_MOMENTUM' where order_id = any(%s::uuid[]) returning 1",
        signals,
    )
    told = await beside.post("execute")
    assert (told["success"], told["undecided"], told["total_errors"]) == (True, 0, 0)
    assert told["total_executed"] == sum(one["executed"] for one in told["results"].values()) <= 2
    fast = told["results"][FAST]
    assert (fast["reasons"], fast["errors"]) == ({"ft_not_open": fast["skipped"]}, 0)
    assert fast["skipped"] == 1
    # A pair whose strategy was changed a moment before is put off for a second, by the claim.
    await eventually(lambda: _both_executed(town, signals[0]))
    assert told["results"]["LT_VALUE_PATIENT"]["executed"] == 0
    assert told["strategies_processed"] == 3


async def the_feed_tells_of_a_fill_and_goes_on_in_another_process_without_gap_or_echo(beside: Beside) -> None:
    told: list[dict[str, Any]] = []
    async with stream(beside.web, told):
        before = await beside.town.signal()
        await eventually(lambda: _filled(told, before))
    missed = await beside.town.signal()
    await eventually(lambda: _both_decided(beside.town, missed))
    async with (
        open_site(beside.town.world.supabase, POLYCOPY_MODE="live") as other,
        stream(other.client, told, last_event_id=told[-1]["id"]),
    ):
        await eventually(lambda: _filled(told, missed))
        after = await beside.town.signal()
        await eventually(lambda: _filled(told, after))
    decided = Counter(
        (one["strategy_id"], one["ft_order_id"]) for one in told if one["event"] == "order.decided"
    )
    assert set(decided.values()) == {1}
    assert {(FAST, one) for one in (before, missed, after)} <= set(decided)


def _filled(told: list[dict[str, Any]], signal: str) -> bool:
    """Whoever comes later may find it settled already."""
    fills = {"fill.booked", "fill.settled"}
    return any(one["event"] in fills and one["ft_order_id"] == signal for one in told)


async def no_endpoint_of_the_document_tells_a_secret_or_a_signed_body(beside: Beside) -> None:
    world = beside.town.world
    document = (await beside.web.get("/openapi.json")).json()
    bodies = await beside.town.rows("select signed_body from public.lt_order_attempts")
    signatures = [json.loads(row["signed_body"])["order"]["signature"] for row in bodies]
    key = world.supabase.service_role_key
    secrets = {key, key.rpartition(".")[2], world.supabase.keys.secret, TOKEN, *signatures}
    secrets |= {wallet.key.removeprefix("0x") for wallet in world.wallets}
    assert len(signatures) > 5
    answered = set()
    for method, path, operation in operations(document):
        body = {"reason": "a drill"} if "requestBody" in operation else None
        for headers in ({"Authorization": f"Bearer {TOKEN}"}, {}):
            answer = await beside.web.request(
                method,
                path.replace("{strategy_id}", FAST),
                params=named_by(operation, follow="false", back_s=3600, wait_s=1),
                json=body,
                headers=headers,
            )
            if answer.status_code == httpx.codes.OK:
                answered.add((method, path))
            shown = (answer.text + str(answer.headers)).lower()
            assert [secret for secret in secrets if secret.lower() in shown] == []
            assert "signed_body" not in shown
    assert answered == {(method, path) for method, path, _ in operations(document)}
    for held in ("arm", "resume", f"strategies/{FAST}/arm", f"strategies/{FAST}/resume"):
        await beside.post(held)


async def test_what_the_web_tells_of_a_worker_is_so_and_what_it_is_asked_to_do_happens(
    beside: Beside,
) -> None:
    for sentence in (
        an_audit_of_a_strategy_that_is_not_there_is_refused,
        the_diagnostic_passes_what_holds_and_names_what_does_not,
        a_pause_by_the_api_holds_for_the_next_signal_and_its_end_too,
        a_sweep_that_is_asked_for_executes_what_nobody_heard_of_and_counts_it,
        the_feed_tells_of_a_fill_and_goes_on_in_another_process_without_gap_or_echo,
        no_endpoint_of_the_document_tells_a_secret_or_a_signed_body,
    ):
        await sentence(beside)
