"""A day in small, through the real daemon: what the web's process tells of it is what the command and plain SQL tell.

One world, one worker and one web process for all of it. They are staged once, so this is one test with many sentences:
tests of their own would be spread over processes, each with a world of its own.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Town, open_town
from tests.support.eventually import eventually
from tests.web.conftest import TOKEN, named_by, open_site, operations, stream
from worker.sandbox.postgres import Postgres
from worker.sandbox.second_terminal import way_in
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
NEWEST_IS_LATE = timedelta(hours=2)
_SETTLED = """
select (select count(*) from public.lt_fills where state = 'provisional')
  + (select count(*) from public.lt_order_attempts where state in ('submitting', 'unknown', 'matched') and closed_at is null)
  as waiting, (select count(*) from public.lt_decisions where mode = 'live') as decided
"""


@dataclass(frozen=True, slots=True)
class Day:
    town: Town
    web: httpx.AsyncClient
    script: Path

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

    async def command(self, *arguments: str) -> dict[str, Any]:
        """What `polycopy-worker ... --json` prints."""
        process = await asyncio.create_subprocess_exec(
            self.script, *arguments, "--json", stdout=asyncio.subprocess.PIPE
        )
        told: dict[str, Any] = json.loads((await process.communicate())[0])
        return told

    async def count(self, query: str, *values: Any) -> Counter[str]:
        """Of rows (word, number)."""
        return Counter({row["word"]: row["number"] for row in await self.town.rows(query, *values)})


@asynccontextmanager
async def web_process(environment: Mapping[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with WorkerProcess.start(environment, verb="web") as web:
        async with httpx.AsyncClient(base_url=web.status.removeprefix("listening on "), timeout=30) as client:
            yield client
        assert await web.stop() == 0


@pytest.fixture
async def day(cluster: Postgres, migrated_template: str) -> AsyncIterator[Day]:
    async with open_town(cluster, migrated_template) as town:
        environment = {
            **town.world.worker_environment(),
            "POLYCOPY_WEB_TOKEN": TOKEN,
            "POLYCOPY_WEB__PORT": "0",
            "POLYCOPY_WEB__FEED_EVERY_S": "0.1",
        }
        async with town.worker(SELDOM), web_process(environment) as web:
            await _everything_happens(town)
            with way_in(environment) as script:
                yield Day(town, web, script)


async def _everything_happens(town: Town) -> None:
    too_late = datetime.now(UTC) - NEWEST_IS_LATE
    for paper in ("FT_MOMENTUM", "FT_VALUE"):
        for changes in (
            {}, {}, {}, {"entry_price": "0.0401"}, {"created_at": too_late}, {"created_at": too_late},
            {"outcome": "WON"}, {"entry_price": "0"}, {"token_label": "Neither"}, {"condition_id": "0x" + "77" * 32},
        ):  # fmt: skip
            await town.signal(paper, **changes)
    await eventually(lambda: _settled(town, 30), within_s=60)


async def _settled(town: Town, decisions: int) -> bool:
    (row,) = await town.rows(_SETTLED)
    return bool(row["waiting"] == 0 and row["decided"] >= decisions)


async def api_command_and_plain_sql_give_the_same_totals(day: Day) -> None:
    api, command = await asyncio.gather(day.get("execution-audit"), day.command("audit"))
    states = await day.count(
        "select state as word, count(*) as number from public.lt_decisions where mode = 'live' group by state"
    )
    reasons = await day.count(
        "select reason as word, count(*) as number from public.lt_decisions where mode = 'live' and state = 'skipped' group by 1"
    )
    pairs = await day.count(
        "select s.strategy_id as word, count(*) as number from public.lt_strategies s "
        "join public.ft_orders o on o.wallet_id = s.ft_wallet_id group by 1"
    )
    summary, total = api["summary"], command["total"]
    assert set(reasons) == {"signal_too_old", "ft_not_open", "bad_price", "token_label_mismatch"}
    assert reasons["signal_too_old"] == 6
    assert states["executed"] > 0
    assert states["deferred"] > 0
    assert summary["total_ft_orders"] == total["seen"] == pairs.total() == states.total()
    assert summary["already_executed"] == total["executed"] == states["executed"]
    assert summary["too_old"] == reasons["signal_too_old"]
    assert summary["skipped"] + summary["too_old"] == total["skipped"] == states["skipped"]
    assert summary["eligible"] == total["deferred"] + total["undecided"] == states["deferred"]
    assert api["skip_reasons"] == {one["reason"]: one["count"] for one in total["skipped_by"]} == reasons
    assert {one["strategy_id"]: one["total_ft_orders"] for one in api["strategies"]} == pairs
    assert summary["holds"] is total["holds"] is True
    for one in (summary, *(each["breakdown"] | each for each in api["strategies"])):
        parts = ("already_executed", "too_old", "eligible", "skipped")
        assert one["total_ft_orders"] == sum(one[part] for part in parts)


async def the_audits_samples_and_advice_come_from_what_was_decided(day: Day) -> None:
    api = await day.get("execution-audit")
    nobody = await day.web.get("/api/lt/execution-audit", params={"strategy_id": "LT_NOBODY"})
    assert (nobody.status_code, "LT_NOBODY" in nobody.json()["error"]) == (httpx.codes.NOT_FOUND, True)
    told = await day.town.rows(
        "select ft_order_id::text, strategy_id, reason from public.lt_decisions where mode = 'live'"
    )
    decided = {(row["strategy_id"], row["ft_order_id"]): row["reason"] for row in told}
    for one in api["strategies"]:
        samples = one["sample_skipped"]
        assert len(samples) == 5
        for sample in (*samples, *one["sample_eligible"]):
            assert decided[one["strategy_id"], sample["ft_order_id"]] == sample["reason"]
        assert {sample["state"] for sample in one["sample_eligible"]} == {"deferred"}
    issues = [one["issue"] for one in api["recommendations"]]
    assert [reason for reason in api["skip_reasons"] if not any(reason in issue for issue in issues)] == []
    (old,) = [one for one in api["recommendations"] if "signal_too_old" in one["issue"]]
    assert old["priority"] == "HIGH"
    assert "signal.max_age_s at least" in old["solution"]


async def every_order_of_a_strategy_stands_in_one_list_as_the_figures_and_sql_tell_it(day: Day) -> None:
    api, recent = await asyncio.gather(
        day.get(f"strategies/{FAST}/orders"), day.get("recent-activity", strategy_id=FAST)
    )
    rows = await day.town.rows(
        "select lt_order_id, status, outcome, fill_rate, signal_size_usd from public.lt_orders where strategy_id = %s",
        FAST,
    )
    lists = {
        name: [one["lt_order_id"] for one in api[name]]
        for name in ("open_orders", "pending_orders", "failed_orders", "closed_orders")
    }
    every = [one for ids in lists.values() for one in ids]
    assert sorted(every) == sorted(one["lt_order_id"] for one in recent["orders"])
    assert sorted(every) == sorted(row["lt_order_id"] for row in rows)
    assert set(lists["open_orders"]) == {row["lt_order_id"] for row in rows if row["fill_rate"] > 0}
    failed = {row["lt_order_id"] for row in rows if row["status"] in {"CANCELLED", "REJECTED"}}
    assert failed == set(lists["failed_orders"]) != set()
    assert all(one["why"] for one in api["failed_orders"])
    stats, by_status = api["stats"], Counter(row["status"] for row in rows)
    assert stats["attempts"] == len(rows)
    assert stats["filled"] == by_status["FILLED"] > 0
    assert stats["total_signal_usd"] == str(sum(row["signal_size_usd"] for row in rows))


async def the_diagnostic_passes_what_holds_and_names_what_does_not(day: Day) -> None:
    told = await day.get("diagnostic")
    verdicts = {one["category"]: one["status"] for one in told["results"]}
    assert verdicts["Worker"] == verdicts["Pending Execution"] == verdicts["Active Strategies"] == "PASS"
    assert verdicts["Realtime"] == verdicts["Exchange"] == "PASS"
    assert told["summary"]["total"] == len(verdicts)
    assert told["health"] != "CRITICAL"
    await day.post("kill", {"reason": "a drill"})
    killed = await day.get("diagnostic")
    await day.post("arm")
    assert killed["health"] == "CRITICAL"
    assert {one["category"] for one in killed["results"] if one["status"] == "FAIL"} >= {"Risk State"}
    assert any("polycopy-worker arm" in one for one in killed["recommended_actions"])


async def a_pause_by_the_api_holds_for_the_next_signal_and_its_end_too(day: Day) -> None:
    turned = await day.post(f"strategies/{FAST}/pause", {"reason": "a look at it", "actor": "night shift"})
    (standing,) = turned["strategies"]
    assert (turned["changed"], standing["standing"]) == (True, "paused")
    signal = await day.town.signal()
    decided = await eventually(lambda: _both_decided(day.town, signal))
    assert decided == {FAST: "strategy_paused", "LT_MOMENTUM_WHOLE": "executed"}
    (row,) = await day.town.rows("select actor, reason from public.lt_controls where cleared_at is null")
    assert row == {"actor": "night shift", "reason": "a look at it"}
    assert (await day.post(f"strategies/{FAST}/resume"))["changed"]
    assert not (await day.post(f"strategies/{FAST}/resume"))["changed"]


async def _both_decided(town: Town, signal: str) -> dict[str, str]:
    found = await town.decisions(signal)
    return found if len(found) == 2 else {}


async def _both_executed(town: Town, signal: str) -> dict[str, str]:
    found = await _both_decided(town, signal)
    return found if set(found.values()) == {"executed"} else {}


async def a_sweep_that_is_asked_for_executes_what_nobody_heard_of_and_counts_it(day: Day) -> None:
    town = day.town
    await town.rows(
        "insert into public.ft_wallets (wallet_id, config_id, display_name) values ('FT_QUIET', '', '') returning 1"
    )
    signals = [await town.signal("FT_QUIET"), await town.signal("FT_QUIET", outcome="LOST")]
    await town.rows(  # an update is no insert: the feed tells of none
        "update public.ft_orders set wallet_id = 'FT_MOMENTUM' where order_id = any(%s::uuid[]) returning 1",
        signals,
    )
    told = await day.post("execute")
    assert (told["success"], told["undecided"], told["total_errors"]) == (True, 0, 0)
    assert told["total_executed"] == sum(one["executed"] for one in told["results"].values()) <= 2
    fast = told["results"][FAST]
    assert (fast["skipped"], fast["errors"]) == (1, 0)
    assert fast["reasons"]["ft_not_open"] == 1
    # A pair whose strategy was changed a moment before is put off for a second, by the claim.
    await eventually(lambda: _both_executed(town, signals[0]))
    assert told["results"]["LT_VALUE_PATIENT"]["executed"] == 0
    assert told["strategies_processed"] == 3


async def the_feed_tells_of_a_fill_and_goes_on_in_another_process_without_gap_or_echo(day: Day) -> None:
    told: list[dict[str, Any]] = []
    async with stream(day.web, told):
        before = await day.town.signal()
        await eventually(lambda: _filled(told, before))
    missed = await day.town.signal()
    await eventually(lambda: _both_decided(day.town, missed))
    async with (
        open_site(day.town.world.supabase, POLYCOPY_MODE="live") as other,
        stream(other.client, told, last_event_id=told[-1]["id"]),
    ):
        await eventually(lambda: _filled(told, missed))
        after = await day.town.signal()
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


async def no_endpoint_of_the_document_tells_a_secret_or_a_signed_body(day: Day) -> None:
    world = day.town.world
    document = (await day.web.get("/openapi.json")).json()
    bodies = await day.town.rows("select signed_body from public.lt_order_attempts")
    signatures = [json.loads(row["signed_body"])["order"]["signature"] for row in bodies]
    key = world.supabase.service_role_key
    secrets = {key, key.rpartition(".")[2], world.supabase.keys.secret, TOKEN, *signatures}
    secrets |= {wallet.key.removeprefix("0x") for wallet in world.wallets}
    assert len(signatures) > 5
    walked = 0
    for method, path, operation in operations(document):
        filled = path.replace("{strategy_id}", FAST)
        for headers in ({"Authorization": f"Bearer {TOKEN}"}, {}):
            answer = await day.web.request(
                method,
                filled,
                params=named_by(operation, follow="false", back_s=3600, wait_s=1),
                headers=headers,
            )
            walked += answer.status_code == httpx.codes.OK
            shown = (answer.text + str(answer.headers)).lower()
            assert [secret for secret in secrets if secret.lower() in shown] == []
            assert "signed_body" not in shown
    assert walked >= len(operations(document))


async def test_what_the_web_tells_of_a_day_is_so_and_what_it_is_asked_to_do_happens(day: Day) -> None:
    for sentence in (
        api_command_and_plain_sql_give_the_same_totals,
        the_audits_samples_and_advice_come_from_what_was_decided,
        every_order_of_a_strategy_stands_in_one_list_as_the_figures_and_sql_tell_it,
        the_diagnostic_passes_what_holds_and_names_what_does_not,
        a_pause_by_the_api_holds_for_the_next_signal_and_its_end_too,
        a_sweep_that_is_asked_for_executes_what_nobody_heard_of_and_counts_it,
        the_feed_tells_of_a_fill_and_goes_on_in_another_process_without_gap_or_echo,
        no_endpoint_of_the_document_tells_a_secret_or_a_signed_body,
    ):
        await sentence(day)
