"""The live feed: each event once to everybody, whoever comes, goes, falls behind or comes back, and one look for all."""

import asyncio
import base64
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import pytest

from tests.support.desk import ago, fill
from tests.support.eventually import eventually
from tests.web.conftest import Site, events_of, stream
from tests.web.following import (
    Ear,
    Watched,
    decided,
    ids,
    now_of,
    past,
    running,
    told_by,
    told_in,
    watched,
)
from worker.database.values import Row
from worker.orders.numbers import utc_moment
from worker.orders.terms import StrategyId
from worker.web import hub as hub_module
from worker.web.cursors import read_cursor
from worker.web.dashboard import tape as tape_module
from worker.web.dashboard.look import Look
from worker.web.dashboard.tape import Tape
from worker.web.hub import FeedHub

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_order_is_told_from_its_decision_to_its_settled_fill(site: Site) -> None:
    heard: list[dict[str, Any]] = []
    async with stream(site.client, heard):
        claimed = await site.desk.claim(await site.desk.signal())
        order, moment = claimed["exchange_order_id"], datetime.now(UTC).isoformat()
        traded = fill("12")
        record = {"sent_at": moment, "answered_at": moment, "closed": True}
        await site.desk.record(order, "matched", fills=[traded], **record)
        await eventually(lambda: len(heard) == 2)
        await site.desk.record(order, "matched", fills=[{**traded, "state": "final"}])
        await eventually(lambda: len(heard) == 3)
    assert [one["event"] for one in heard] == ["order.decided", "fill.booked", "fill.settled"]
    assert {one["exchange_order_id"] for one in heard[1:]} == {order}


async def test_whoever_comes_back_hears_what_he_missed_and_nothing_twice(site: Site) -> None:
    mark = await now_of(site)
    first = await decided(site, 3)
    told = await past(site, mark)
    assert ids(told) == first
    second = await decided(site, 2)
    for place, one in enumerate(told):
        assert ids(await past(site, one["id"])) == [*first[place + 1 :], *second]
    heard: list[dict[str, Any]] = []
    async with stream(site.client, heard, last_event_id=told[0]["id"]):
        third = await decided(site, 2)
        await eventually(lambda: ids(heard) == [*first[1:], *second, *third])


async def test_a_place_in_the_middle_of_a_long_page_is_as_good_as_one_at_its_end(site: Site) -> None:
    mark = await now_of(site)
    signals = await decided(site, 230)  # more than a page
    told = await past(site, mark)
    assert ids(told) == signals
    for place in (0, 100, 198, 199, 200, 228, 229):
        assert ids(await past(site, told[place]["id"])) == signals[place + 1 :]

    # --- many who come back at once: a page each at a time, and a few of them at a time
    cursor = read_cursor(mark, now=datetime.now(UTC))
    async with watched(site) as ours:
        hub = FeedHub(ours.reports, every_s=60)
        async with aclosing(hub.until_now(cursor)) as slow:
            assert told_in(await anext(slow)) == signals[:200]
            read = ours.calls["lt_feed"]
            assert told_in(await anext(slow)) == signals[200:]
            assert ours.calls["lt_feed"] == read + 1
        assert await asyncio.gather(*(told_by(hub.until_now(cursor)) for _ in range(12))) == [signals] * 12
    assert ours.line.at_once_most <= hub_module._PASTS_AT_ONCE


async def test_what_is_written_to_a_row_after_its_event_tells_nothing_once_more(site: Site) -> None:
    told: list[tuple[str, str]] = []
    async with watched(site) as ours:
        cursor = (await ours.reports.feed()).cursor

        async def record(order: str, state: str, **keys: Any) -> None:
            nonlocal cursor
            await site.desk.record(order, state, **keys)
            page = await ours.reports.feed(cursor)
            cursor = page.cursor
            told.extend((one["event"], one["key"]) for one in page.events if one["event"] != "order.decided")

        async def order() -> str:
            return str((await site.desk.claim(await site.desk.signal()))["exchange_order_id"])

        killed, abandoned, traded, moment = await order(), await order(), await order(), ago()
        for _ in range(2):  # the answer was lost, so it is recorded once more
            await record(killed, "killed", sent_at=moment, answered_at=moment)
        await record(abandoned, "abandoned", sent_at=moment, answered_at=moment)
        await record(abandoned, "abandoned", lookup="not_found", answered_at=datetime.now(UTC).isoformat())
        assert told == [("order.closed", f"c{killed}"), ("order.closed", f"c{abandoned}")]
        trade = fill("12")
        for change in ({}, {"fee_usd": "0.01"}, {"fee_usd": "0.01", "state": "final"}):
            await record(traded, "matched", sent_at=moment, answered_at=moment, fills=[trade | change])
        assert [event for event, _ in told[2:]] == ["fill.booked", "fill.settled"]
        # --- as after a restore, where the numbers of transactions begin anew: the past is told all the same
        async with site.desk.connection.transaction():
            await site.desk.execute("set local role none")
            await site.desk.execute("set local session_replication_role = replica")
            await site.desk.execute("update public.lt_order_attempts set closed_xid = '9999999999'")
        page = await site.desk.call("lt_feed", {"mode": "paper", "back_s": 60, "limit": 1000})
        assert {one["key"] for one in page["events"]} >= {f"c{killed}", f"c{abandoned}"}


async def test_a_further_page_reads_nothing_of_those_before_it(site: Site) -> None:
    asked: dict[str, Any] = {"mode": "paper", "limit": 20}
    asked["cursor"] = (await site.desk.call("lt_feed", asked))["cursor"]
    signals, heard, read = await decided(site, 60), list[str](), list[int]()

    async def read_by_now() -> int:
        counted = await site.desk.row(
            "select idx_tup_fetch as rows from pg_stat_xact_user_tables where relname = 'lt_decisions'"
        )
        return int(counted["rows"])

    async with site.desk.connection.transaction():
        await site.desk.execute("set local role none")
        await site.desk.execute("analyze public.lt_decisions")
    for _ in range(3):
        async with site.desk.connection.transaction():
            # As in a session that has asked a few times already.
            await site.desk.execute("set local plan_cache_mode = force_generic_plan")
            before = await read_by_now()
            page = await site.desk.call("lt_feed", asked)
            read.append(await read_by_now() - before)
        heard += ids(page["events"])
        asked["cursor"] = page["cursor"]
    assert heard == signals
    assert read[0] >= 60
    assert read[2] <= read[0] / 2


async def test_one_strategy_is_followed_alone(site: Site) -> None:
    heard: list[dict[str, Any]] = []
    mark = await now_of(site)
    async with stream(site.client, heard, last_event_id=mark, strategy_id="LT_TWO"):
        await decided(site, 2)
        signals = await decided(site, 2, "LT_TWO")
        await decided(site, 1)
        await eventually(lambda: ids(heard) == signals)
    assert ids(await past(site, mark, strategy_id="LT_TWO")) == signals


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "!!!", "A" * 5000, {}, {"from": "soon"}, {"from": "2020-01-01T00:00:00Z"}, {"from": "2999-01-01T00:00:00Z"},
        {"seen": "1:1:'; drop table"}, {"upto": "1:1:"}, {"after": 7}, {"after": {"at": "x", "key": "y"}}, [1], "null",
        {"from": "0001-01-01T00:00:00+14:00"},
        {"seen": "3:3:", "upto": "3:3:", "as_of": "1970-01-02T00:00:00Z"}, {"seen": "9:5:"}, {"seen": "0:0:"},
        {"seen": "9999999999999999999:9999999999999999999:"}, {"seen": "5:9:4"}, {"seen": "5:9:9"}, {"seen": "5:9:7,6"},
        {"after": {"at": "2026-01-01T00:00:00Z", "key": "\ud800"}}, base64.urlsafe_b64encode(b"[" * 3000).decode(),
    ],
)  # fmt: skip
async def test_an_id_that_is_none_of_ours_begins_anew_and_is_not_an_error(site: Site, cursor: object) -> None:
    known = {"from": datetime.now(UTC).isoformat()}
    told = known | cursor if isinstance(cursor, dict) and cursor else cursor
    text = told if isinstance(told, str) else base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
    assert read_cursor(text, now=datetime.now(UTC)) is None
    (signal,) = await decided(site, 1)
    answer = await site.client.get(
        "/api/lt/feed", params={"follow": "false", "back_s": 60}, headers={"Last-Event-ID": text}
    )
    assert answer.status_code == 200
    assert ": that Last-Event-ID is too old, or none of ours" in answer.text
    assert signal in ids(events_of(answer.text))


async def test_a_look_ends_where_another_one_did_and_reaches_back_as_far_as_that(site: Site) -> None:
    async with watched(site) as ours:
        asking = ours.reports
        first = await asking.feed()
        signals = await decided(site, 2)
        until = await asking.feed(first.cursor)
        later = await decided(site, 2)
        bound = {name: until.page[name] for name in ("upto", "as_of")}
        again = await asking.feed({**first.cursor, **bound})
        assert ids(again.events) == signals
        assert ids((await asking.feed(again.cursor)).events) == later
        # Whoever comes back late to a page goes on from the time of its look, and not from that of his return.
        long_ago = datetime.now(UTC) - timedelta(minutes=30)
        late = await asking.feed({**first.cursor, **bound, "as_of": long_ago.isoformat()})
        assert utc_moment(late.cursor["from"]) == long_ago - timedelta(minutes=1)


async def test_fifty_followers_hear_everything_and_cost_the_looks_of_one(site: Site) -> None:
    async with watched(site) as ours, running(FeedHub(ours.reports, every_s=0.2)) as hub:
        assert ours.calls["lt_feed"] == 0  # while nobody follows
        ears = [Ear(hub) for _ in range(50)]
        async with asyncio.TaskGroup() as group:
            for ear in ears:
                group.create_task(ear.listen())
            await asyncio.gather(*(ear.follows.wait() for ear in ears))
            joined, began_s = ours.calls["lt_feed"], monotonic()
            signals = await decided(site, 10)
            await eventually(lambda: all(ear.heard == signals for ear in ears))
            looks = (monotonic() - began_s) / 0.2 + 2
            assert ours.calls["lt_feed"] - joined <= looks
            assert len({id(one) for ear in ears for one in ear.tellings}) <= looks  # written once for all
            hub.close()


async def test_who_follows_one_strategy_is_told_that_nothing_happens_while_others_are_busy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_QUIET_S", 0.5)
    async with watched(site) as ours, running(FeedHub(ours.reports, every_s=0.02)) as hub:
        places: list[Row | None] = []

        async def listen() -> None:
            async with aclosing(hub.follow(None, strategy_id=StrategyId("LT_TWO"))) as told:
                async for one in told:
                    assert not one.events
                    places.append(one.cursor)

        async with asyncio.TaskGroup() as group, asyncio.timeout(30):
            group.create_task(listen())
            await eventually(lambda: places)
            signals: list[str] = []
            while len(places) < 3:
                signals += await decided(site, 1)
            signals += await decided(site, 1)
            hub.close()
        # What was not yet told is not passed over: from that place, all that came after it is heard.
        heard = await told_by(hub.until_now(places[-1]))
        assert heard
        assert heard == signals[-len(heard) :]


async def test_what_was_filled_while_nobody_looked_is_not_told_in_toasts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched(site) as ours, running(FeedHub(ours.reports, every_s=0.05)) as hub:
        tape = Tape(ours.reports, hub)

        async def heard() -> None:
            (signal,) = await decided(site, 1)
            await eventually(
                lambda: signal in {pair[2] for pair in tape.noes} or tape.watch() < 0, within_s=20
            )

        async with asyncio.TaskGroup() as group:
            running_tape = group.create_task(tape.run())
            await heard()
            monkeypatch.setattr(tape_module, "_UNWATCHED_AFTER_S", -1.0)
            await heard()  # and falls asleep
            monkeypatch.setattr(tape_module, "_UNWATCHED_AFTER_S", 60.0)
            claimed = await site.desk.claim(await site.desk.signal())
            now = datetime.now(UTC).isoformat()
            await site.desk.record(
                claimed["exchange_order_id"],
                "matched",
                sent_at=now,
                answered_at=now,
                closed=True,
                fills=[fill("12")],
            )
            await heard()
            assert tape.fills_after(0) == []
            running_tape.cancel()


async def test_a_story_that_many_read_is_read_once_for_them_and_anew_when_it_is_old(site: Site) -> None:
    one, other = await decided(site, 2)
    async with watched(site) as ours:
        look = Look(ours.reports, ttl_s=60)
        for signal in (one, other):
            told = await asyncio.gather(*(look.story(signal) for _ in range(10)))
            assert {story.ft_order_ids for story in told} == {(signal,)}
        assert ours.calls["lt_explain"] == 2
        restless = Look(ours.reports, ttl_s=0)
        for _ in range(2):
            await restless.story(one)
        assert (
            ours.calls["lt_explain"] == 3
        )  # what was just read is as good, for ten times as long as it took
        await eventually(lambda: _read_anew(restless, one, ours))


async def _read_anew(look: Look, signal: str, ours: Watched) -> bool:
    await look.story(signal)
    return ours.calls["lt_explain"] > 3
