"""What an operator is told who asks with the settings of another mode, or about a strategy that is not there."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.contract import undocumented
from tests.support.desk import WALLET, Desk, fill
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.reports import OrderChoice, Reports
from worker.errors import ExitCode, UsageError
from worker.orders.paper import purse_of
from worker.orders.terms import Mode, StrategyId
from worker.sandbox.supabase import SupabaseSandbox
from worker.verbs.audit import read_audit
from worker.verbs.explain import read_story
from worker.verbs.orders import read_orders
from worker.verbs.standing import read_standing
from worker.verbs.words import Part, laid_out

ONE, HOUR = StrategyId("LT_ONE"), timedelta(hours=1)
LONG_AGO = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Office:
    """One project, asked in both modes."""

    desk: Desk
    paper: Reports
    live: Reports

    async def lease(self, mode: Mode, wallet: str = WALLET, *, worker: str) -> None:
        asked = {"wallet_address": wallet, "mode": mode, "worker": worker, "ttl_s": "600"}
        await self.desk.call("lt_lease", asked)


@pytest.fixture
async def office(supabase: SupabaseSandbox) -> AsyncIterator[Office]:
    access = DatabaseAccess(url=supabase.url, key=supabase.service_role_key)
    desk = await Desk.open(supabase.dsn, mode="live")
    await desk.strategy()
    async with await SupabaseDatabase.open(access) as database:
        yield Office(desk, Reports(database, Mode.PAPER), Reports(database, Mode.LIVE))
    await desk.close()


def text_of(parts: Iterable[Part]) -> str:
    return " ".join("\n".join(line.plain for line in laid_out(parts)).split())


async def test_whoever_asks_in_another_mode_than_the_workers_is_told_so_and_not_that_nobody_trades(
    office: Office,
) -> None:
    signal = await office.desk.signal(created_at=datetime.now(UTC) - LONG_AGO)
    for reports in (office.paper, office.live):
        alone = await read_standing(reports)
        assert (alone.answer["standing"], alone.exit_code) == ("down", ExitCode.USAGE)
        assert {one["what"] for one in alone.needs_human} == {"missed", "no_worker"}

    await office.lease(Mode.LIVE, worker="worker-live")
    await office.desk.balance()
    right, wrong = await read_standing(office.live), await read_standing(office.paper)
    assert right.answer["elsewhere"] == []
    assert {one["what"] for one in right.needs_human} == {"missed"}
    elsewhere = [{"worker": "worker-live", "mode": "live", "strategies": [ONE]}]
    assert (wrong.answer["standing"], wrong.answer["elsewhere"]) == ("other_mode", elsewhere)
    assert (wrong.exit_code, [one["what"] for one in wrong.needs_human]) == (ExitCode.USAGE, ["other_mode"])
    told = text_of(wrong.lines())
    assert "worker-live: it trades LT_ONE in live mode, and these settings ask about paper mode" in told
    assert "POLYCOPY_MODE=live polycopy-worker status" in told
    assert "start polycopy-worker run" not in told

    audit = await read_audit(office.paper, HOUR, None)
    assert undocumented(wrong.as_json(), "status") == undocumented(audit.as_json(), "audit") == set()
    assert "worker worker-live trades LT_ONE in live mode, and these settings ask about paper" in text_of(
        audit.lines()
    )
    assert "balances, but 1 undecided in this mode" in text_of(audit.lines())
    assert "other mode" not in text_of((await read_audit(office.live, HOUR, None)).lines())
    story = await read_story(office.paper, signal)
    assert undocumented(story.as_json(), "explain") == set()
    for look in (right, wrong, audit, story):
        assert [one.plain for one in laid_out(look.lines(), 80) if len(one.plain) > 80] == []
    assert "is traded in live mode, by worker worker-live: ask with POLYCOPY_MODE=live" in text_of(
        story.lines()
    )
    assert "No such orders in paper mode" in text_of(
        (await read_orders(office.paper, OrderChoice.ALL, HOUR, limit=5)).lines()
    )

    # --- the other way round: a worker on paper, asked about live
    await office.desk.execute("update public.lt_leases set expires_at = clock_timestamp()")
    await office.lease(Mode.PAPER, purse_of(ONE), worker="worker-paper")
    assert (await read_standing(office.paper)).answer["elsewhere"] == []
    wrong = await read_standing(office.live)
    assert (wrong.answer["standing"], [one["what"] for one in wrong.needs_human]) == (
        "other_mode",
        ["other_mode"],
    )
    # A shadow is traded on paper whichever the worker's mode.
    await office.desk.execute("update public.lt_strategies set shadow_mode = true")
    assert (await read_standing(office.live)).answer["elsewhere"] == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("LT_ONR", "did you mean LT_ONE\\? There are LT_ONE, LT_TWO\\.$"),
        ("lt_one", "did you mean LT_ONE\\?"),
        ("momentum", "of lt_strategies: There are LT_ONE, LT_TWO\\.$"),
    ],
)
async def test_a_misspelt_strategy_gets_no_all_clear_but_the_names_that_there_are(
    office: Office, asked: str, words: str
) -> None:
    await office.desk.strategy("LT_TWO")
    only = StrategyId(asked)
    with pytest.raises(UsageError, match=f"--strategy {asked} is no strategy.*{words}") as refused:
        await read_audit(office.live, HOUR, only)
    assert refused.value.exit_code is ExitCode.USAGE
    with pytest.raises(UsageError, match=words):
        await read_orders(office.live, OrderChoice.OPEN, HOUR, only, limit=5)


async def test_a_trade_of_a_whole_second_makes_no_negative_time_and_what_was_put_off_is_told_apart(
    office: Office,
) -> None:
    desk = office.desk
    await desk.ready()
    now = datetime.now(UTC)
    later = (now + timedelta(minutes=9)).isoformat()
    put_off = await desk.signal(created_at=now - LONG_AGO)
    await desk.decide(
        put_off,
        state="deferred",
        reason="market_not_ready",
        retry_at=now.isoformat(),
        expires_at=later,
    )
    for signal in (put_off, await desk.signal()):
        claimed = await desk.claim(signal)
        said = {"sent_at": datetime.now(UTC).isoformat(), "answered_at": datetime.now(UTC).isoformat()}
        await desk.record(claimed["exchange_order_id"], "matched", closed=True, fills=[fill("12")], **said)
    await desk.execute("update public.lt_orders set fully_filled_at = order_placed_at - interval '900 ms'")
    audit = await read_audit(office.live, HOUR, None)
    assert audit.total["orders"]["average_fill_minutes"] == "0.00"
    assert "0.00 minutes on average" in text_of(audit.lines())
    latency = audit.answer["latency_ms"]
    assert latency["insert_to_sent"]["count"] == latency["insert_to_sent_late"]["count"] == 1
    assert (
        float(latency["insert_to_sent"]["max_ms"]) < 60_000 < float(latency["insert_to_sent_late"]["p50_ms"])
    )
    assert "once put off" in text_of(audit.lines())
