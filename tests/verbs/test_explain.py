"""`explain` as an operator sees it: every reason with its numbers, an order with its timeline, and why there is nothing.

The answers come through PostgREST. All stories are written and read once, for all tests of a process.
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from tests.support.desk import Desk, fill
from tests.support.noes import NUMBERED, no_of
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.orders.reasons import SkipReason
from worker.orders.terms import Mode
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox
from worker.verbs.explain import Story, read_story
from worker.verbs.words import laid_out

OLD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Told:
    """A story as it is printed and as it is in JSON."""

    text: str
    json: Mapping[str, Any]

    @property
    def only(self) -> Mapping[str, Any]:
        """The one strategy that has to do with it."""
        (strategy,) = self.json["strategies"]
        return dict(strategy)


def told(story: Story) -> Told:
    return Told("\n".join(line.plain for line in laid_out(story.lines())), story.as_json())


async def _write(desk: Desk) -> dict[str, str]:
    """What is asked -> the id that it is asked by."""
    await desk.strategy()
    await desk.ready()
    asked: dict[str, str] = {}
    for reason in SkipReason:
        no, asked[reason] = no_of(reason), await desk.signal()
        await desk.decide(
            asked[reason], reason=reason, value=no.value, limit=no.limit, snapshot=dict(no.snapshot)
        )
    asked["executed"] = await desk.signal(market_title="Will it rain?")
    claimed = await desk.claim(asked["executed"])
    now = datetime.now(UTC).isoformat()
    trade = fill("12", state="final", fee_usd="0.02")
    await desk.record(
        claimed["exchange_order_id"],
        "matched",
        sent_at=now,
        answered_at=now,
        closed=True,
        fills=[trade],
        note="filled at once",
    )
    asked["by the exchange's id"] = claimed["exchange_order_id"]
    asked["by the order's id"] = claimed["lt_order_id"]
    asked["by its first digits"] = asked["executed"].replace("-", "")[:12]
    asked["deferred"] = await desk.signal()
    soon, later = (datetime.now(UTC) + timedelta(seconds=s) for s in (-1, 600))
    put_off = {"state": "deferred", "retry_at": soon.isoformat(), "expires_at": later.isoformat()}
    await desk.decide(asked["deferred"], reason="market_not_ready", value="", limit="", **put_off)
    await desk.decide(asked["deferred"], reason="exchange_restarting", value="425", limit="", **put_off)
    asked["waiting"] = await desk.signal()
    await _write_what_nobody_decides(desk, asked)
    asked["gone"] = str(uuid.uuid4())
    gone = {
        "strategy_id": "LT_ONE",
        "ft_order_id": asked["gone"],
        "mode": "paper",
        "state": "skipped",
        "reason": "ft_not_open",
    }
    await desk.insert("lt_decisions", gone | {"history": Jsonb([])})
    return asked


async def _write_what_nobody_decides(desk: Desk, asked: dict[str, str]) -> None:
    now = datetime.now(UTC)
    await desk.strategy("LT_ALONE", ft_wallet_id="FT_ALONE", wallet_address="0x" + "cd" * 20)
    asked["no_worker"] = await desk.signal(wallet_id="FT_ALONE")
    asked["no_insert_time"] = await desk.signal(wallet_id="FT_ALONE", created_at=None)
    asked["before_scope"] = await desk.signal(wallet_id="FT_ALONE", created_at=now - OLD)
    await desk.strategy("LT_IDLE", ft_wallet_id="FT_IDLE", is_active=False)
    asked["never_active"] = await desk.signal(wallet_id="FT_IDLE")
    await desk.strategy("LT_ENDED", ft_wallet_id="FT_ENDED")
    await desk.execute("update public.lt_strategies set is_active = false where strategy_id = 'LT_ENDED'")
    asked["after_scope"] = await desk.signal(wallet_id="FT_ENDED")
    await desk.strategy("LT_LONG", ft_wallet_id="FT_LONG", is_active=False)
    long_ago = {
        "scope_from": now - 2 * OLD,
        "scope_to": now - OLD,
        "opened_at": now - 2 * OLD,
        "reason": "activated",
    }
    await desk.insert("lt_scopes", {"strategy_id": "LT_LONG", "ft_wallet_id": "FT_LONG"} | long_ago)
    asked["beyond_horizon"] = await desk.signal(wallet_id="FT_LONG", created_at=now - OLD - timedelta(days=1))
    await desk.ft_wallet("FT_NOBODY")
    asked["nobody"] = await desk.signal(wallet_id="FT_NOBODY")


async def _tell(cluster: Postgres, template: str) -> dict[str, Told]:
    async with SupabaseSandbox.start(postgres=cluster, template=template) as project:
        desk = await Desk.open(project.dsn)
        asked = await _write(desk) | {"unknown": str(uuid.uuid4()), "nonsense": "' or true --", "0x": "0x"}
        access = DatabaseAccess(url=project.url, key=project.service_role_key)
        async with await SupabaseDatabase.open(access) as database:
            reports = Reports(database, Mode.PAPER)
            stories = {name: told(await read_story(reports, one)) for name, one in asked.items()}
        await desk.close()
        return stories


@pytest.fixture(scope="module")
def stories(cluster: Postgres, migrated_template: str) -> dict[str, Told]:
    return asyncio.run(_tell(cluster, migrated_template))


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_is_told_with_the_number_that_failed_and_the_one_that_would_have_passed(
    stories: dict[str, Told], reason: SkipReason
) -> None:
    story, no = stories[reason], no_of(reason)
    assert reason.sentence in " ".join(story.text.split())
    rows = {line[:14].strip(): line[14:] for line in story.text.splitlines()}
    failed = no.failed or no.value
    assert failed
    assert failed in rows["failed"]
    assert no.would_pass
    assert no.would_pass in rows["would pass"]
    if reason in NUMBERED:
        assert no.limit in rows["limit"]
    only = story.only
    assert (only["state"], only["reason"], only["stage"]) == ("skipped", reason, reason.stage)
    assert no.would_pass in only["passing"]["would_pass"]
    assert only["passing"]["is_number"] == (reason in NUMBERED)


def test_an_order_is_told_from_the_trade_to_the_settlement(stories: dict[str, Told]) -> None:
    story = stories["executed"]
    stages = [stage["stage"] for stage in story.only["timeline"]]
    assert stages == [
        "traded", "inserted", "received", "decided", "prepared", "claimed", "sent", "answered", "filled", "settled",
    ]  # fmt: skip
    for word in (
        "executed",
        "FILLED: $6.00",
        "attempt 1",
        "matched: FAK BUY $6.00",
        "fee $0.02",
        "filled at once",
    ):
        assert word in story.text
    (attempt,) = story.only["attempts"]
    assert len(attempt["fills"]) == 1
    assert "signed_body" not in str(story.json)


@pytest.mark.parametrize("by", ["by the exchange's id", "by the order's id", "by its first digits"])
def test_an_order_is_found_by_whatever_name_it_is_known_by(stories: dict[str, Told], by: str) -> None:
    assert stories[by].json["ft_order_ids"] == stories["executed"].json["ft_order_ids"]


def test_a_deferral_tells_when_it_is_asked_again_and_what_it_was_put_off_for_before(
    stories: dict[str, Told],
) -> None:
    story = stories["deferred"]
    assert story.only["state"] == "deferred"
    assert [spell["reason"] for spell in story.only["history"]] == ["market_not_ready"]
    for word in ("exchange_restarting", "asked again", "2 tries so far", "market_not_ready, 1 try,"):
        assert word in story.text


@pytest.mark.parametrize(
    ("why", "state", "words"),
    [
        ("waiting", "undecided", "worker worker-a holds the wallet"),
        ("no_worker", "undecided", "no worker trades for this wallet in paper mode"),
        ("no_insert_time", "out_of_scope", "no created_at"),
        ("before_scope", "out_of_scope", "run --backfill-only --since TIME --strategy LT_ALONE"),
        ("after_scope", "out_of_scope", "after the strategy was deactivated"),
        ("never_active", "out_of_scope", "never activated"),
        ("beyond_horizon", "out_of_scope", "horizon"),
    ],
)
def test_a_signal_without_a_decision_is_told_why(
    stories: dict[str, Told], why: str, state: str, words: str
) -> None:
    story = stories[why]
    assert (story.only["state"], story.only["undecided"]["why"]) == (state, why)
    assert words in " ".join(story.text.split())


def test_a_signal_that_nobody_follows_names_who_is_followed(stories: dict[str, Told]) -> None:
    story = stories["nobody"]
    assert story.json["strategies"] == []
    assert (
        "No strategy follows the paper wallet FT_NOBODY; active strategies follow FT_ALONE, FT_ONE"
        in " ".join(story.text.split())
    )


def test_a_decision_outlives_its_signal(stories: dict[str, Told]) -> None:
    assert stories["gone"].json["signal"] is None
    assert stories["gone"].only["reason"] == "ft_not_open"
    assert "deleted" in stories["gone"].text


@pytest.mark.parametrize("asked", ["unknown", "nonsense", "0x"])
def test_what_is_not_known_is_said_to_be(stories: dict[str, Told], asked: str) -> None:
    assert stories[asked].json["found"] is False
    assert "is known by" in stories[asked].text
