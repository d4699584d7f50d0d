"""What is asked of the API to be done: switches as the command turns them, and a sweep that never waits for longer than it said."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.support.eventually import eventually
from tests.web.conftest import Site
from worker.database.client import CallReport, SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.platform import PlatformReports
from worker.orders.terms import Mode
from worker.web.sweep import finished

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_switch_that_was_set_before_is_told_with_the_reason_that_stands(site: Site) -> None:
    first = (
        await site.post("/api/lt/strategies/LT_TWO/kill", {"reason": "wrong prices", "actor": "day"})
    ).json()
    again = (
        await site.post("/api/lt/strategies/LT_TWO/kill", {"reason": "too slow", "actor": "night"})
    ).json()
    assert (first["changed"], first["stands"], first["modes"]) == (True, None, ["paper", "live"])
    assert not again["changed"]
    assert (again["stands"]["reason"], again["stands"]["actor"]) == ("wrong prices", "day")
    armed = (await site.post("/api/lt/strategies/LT_TWO/arm")).json()
    assert (armed["changed"], armed["armed"], armed["breakers"]) == (True, [], [])


async def test_arming_a_strategy_arms_its_breakers_and_says_in_which_mode(site: Site) -> None:
    of_one = {"scope": "strategy:LT_ONE", "action": "breaker", "reason": "lost", "actor": "ledger"}
    await site.desk.insert("lt_controls", of_one | {"mode": "paper"})
    everything = (await site.post("/api/lt/arm")).json()
    assert everything["armed"] == []
    told = (await site.post("/api/lt/strategies/LT_ONE/arm", {"actor": "night shift"})).json()
    assert told["armed"] == ["LT_ONE"]
    assert told["breakers"] == [{"strategy_id": "LT_ONE", "mode": "paper"}]
    assert [one["breaker_active"] for one in told["strategies"]] == [False]
    rows = await site.desk.rows("select cleared_by from public.lt_controls where action = 'breaker'")
    assert rows == [{"cleared_by": "night shift"}]


async def test_a_switch_of_a_strategy_that_is_not_there_is_404_and_turns_nothing(site: Site) -> None:
    before = await site.desk.rows("select from public.lt_controls")
    for action in ("pause", "resume", "kill", "arm"):
        answer = await site.post(f"/api/lt/strategies/LT_NOBODY/{action}", {"reason": "why"})
        assert (answer.status_code, "LT_NOBODY" in answer.json()["error"]) == (404, True)
    assert await site.desk.rows("select from public.lt_controls") == before


@pytest.mark.parametrize("nothing", ["", "   ", "\x00", "\t\n\x1f"])
async def test_who_turns_a_switch_and_why_is_said_in_words_that_can_be_read(site: Site, nothing: str) -> None:
    before = await site.desk.rows("select from public.lt_controls")
    for path, body in (
        ("pause", {"reason": nothing}),
        ("kill", {"reason": "why", "actor": nothing}),
        ("resume", {"actor": nothing}),
        ("strategies/LT_ONE/arm", {"actor": nothing}),
    ):
        answer = await site.post(f"/api/lt/{path}", body)
        assert (answer.status_code, "is refused" in answer.json()["error"]) == (422, True), path
    assert await site.desk.rows("select from public.lt_controls") == before


async def test_a_sweep_that_nobody_makes_is_answered_when_its_time_is_up(site: Site) -> None:
    signal = await site.desk.signal()  # the desk holds the lease, and decides nothing
    answer = await site.post("/api/lt/execute", wait_s=0.3)
    told = answer.json()
    assert (answer.status_code, told["complete"], told["success"]) == (200, False, False)
    assert told["undecided"] == 1
    await site.desk.decide(signal)
    done = (await site.post("/api/lt/execute", wait_s=0)).json()
    assert (done["complete"], done["undecided"]) == (True, 0)
    longer = await site.post("/api/lt/execute", wait_s=61)
    assert longer.status_code == 422


class Stuck(httpx.AsyncHTTPTransport):
    """A line to the database that is lost without a word."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_stuck:
            await asyncio.Event().wait()
        return await super().handle_async_request(request)


async def test_a_database_that_falls_silent_meanwhile_leaves_the_answer_at_what_was_known(site: Site) -> None:
    await site.desk.signal()
    async with lost_line(site) as (asked, line, calls):
        sweep = await asked.ask_sweep()
        finishing = asyncio.create_task(finished(asked, sweep.asked_at, 0.5))
        await eventually(lambda: calls.count("lt_swept") >= 1)
        line.is_stuck = True
        assert (await finishing).left == 1


@asynccontextmanager
async def lost_line(site: Site) -> AsyncIterator[tuple[PlatformReports, Stuck, list[str]]]:
    """Reports of one's own, their line, and what was asked over it."""
    calls: list[str] = []

    def note(report: CallReport) -> None:
        calls.append(report.function)

    line = Stuck()
    access = DatabaseAccess(url=site.supabase.url, key=site.supabase.service_role_key)
    async with await SupabaseDatabase.open(access, on_call=note, transport=line) as database:
        yield PlatformReports(database, Mode.PAPER), line, calls
