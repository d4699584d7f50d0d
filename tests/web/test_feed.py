"""The live feed: each event once to everybody, whoever comes, goes, falls behind or comes back, and one look for all."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.support.desk import fill
from tests.support.eventually import eventually
from tests.web.conftest import Site, events_of, open_site, stream
from worker.database.client import CallReport, CallTiming, SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.database.values import Row
from worker.orders.numbers import utc_moment
from worker.orders.terms import Mode, StrategyId
from worker.web import hub as hub_module
from worker.web.cursors import read_cursor
from worker.web.dashboard import tape as tape_module
from worker.web.dashboard.look import Look
from worker.web.dashboard.tape import Tape
from worker.web.hub import FeedHub
from worker.web.telling import Telling

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def decided(site: Site, count: int, strategy_id: str = "LT_ONE") -> list[str]:
    """So many new signals of the strategy, skipped one after the other; their ids."""
    wallet = "FT_ONE" if strategy_id == "LT_ONE" else "FT_TWO"
    signals = [await site.desk.signal(wallet_id=wallet) for _ in range(count)]
    for signal in signals:
        await site.desk.decide(signal, strategy_id)
    return signals


def ids(heard: Iterable[Mapping[str, Any]]) -> list[str]:
    return [one["ft_order_id"] for one in heard]


async def past(site: Site, last_event_id: str = "", **params: Any) -> list[dict[str, Any]]:
    """What a stream tells that goes no further than now."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    answer = await site.client.get("/api/lt/feed", params={"follow": "false", **params}, headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    return events_of(answer.text)


async def now_of(site: Site) -> str:
    """The id of this moment: of the last thing that happened."""
    await decided(site, 1)
    return str((await past(site, back_s=3600))[-1]["id"])


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


class Line(httpx.AsyncHTTPTransport):
    """A line to the database that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False
        self.at_once_most = 0
        self._at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("the line is cut", request=request)
        self._at_once += 1
        self.at_once_most = max(self.at_once_most, self._at_once)
        try:
            return await super().handle_async_request(request)
        finally:
            self._at_once -= 1


@dataclass
class Watched:
    """Reports of one's own, how often each function was called for them, and their line."""

    reports: Reports
    calls: Counter[str]
    line: Line


@asynccontextmanager
async def watched(site: Site, *, deadline_s: float = 10) -> AsyncIterator[Watched]:
    calls: Counter[str] = Counter()
    line = Line()

    def count(report: CallReport) -> None:
        calls[report.function] += 1

    access = DatabaseAccess(url=site.supabase.url, key=site.supabase.service_role_key)
    timing = CallTiming(deadline_s=deadline_s)
    async with await SupabaseDatabase.open(access, timing=timing, on_call=count, transport=line) as database:
        yield Watched(Reports(database, Mode.PAPER), calls, line)


@asynccontextmanager
async def running(hub: FeedHub) -> AsyncIterator[FeedHub]:
    looking = asyncio.create_task(hub.run())
    try:
        yield hub
    finally:
        looking.cancel()
        await asyncio.wait([looking])


class Ear:
    """One follower, and what he heard."""

    def __init__(self, hub: FeedHub) -> None:
        self.heard: list[str] = []
        self.tellings: list[Telling] = []
        self.follows = asyncio.Event()
        self._hub = hub

    async def listen(self) -> None:
        async with aclosing(self._hub.follow(None)) as tellings:
            async for telling in tellings:
                if telling.events:
                    self.tellings.append(telling)
                    self.heard += told_in(telling)
                else:
                    self.follows.set()


def told_in(telling: Telling) -> list[str]:
    return ids([one.event for one in telling.events])


async def told_by(tellings: AsyncGenerator[Telling, None]) -> list[str]:
    async with aclosing(tellings):
        return [signal async for telling in tellings for signal in told_in(telling)]


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


async def test_so_many_feeds_are_open_and_whoever_comes_then_is_told_when_to_come_back(site: Site) -> None:
    async with open_site(site.supabase, POLYCOPY_WEB__FEEDS_MOST="2") as small:
        async with stream(small.client, []), stream(small.client, []):
            refused = await small.client.get("/api/lt/feed")
            assert (refused.status_code, set(refused.json())) == (503, {"error"})
            assert int(refused.headers["Retry-After"]) > 0
            past_too = await small.client.get("/api/lt/feed", params={"follow": "false"})
            assert past_too.status_code == 503
            assert (await small.client.get("/api/lt/recent-activity")).status_code == 200

        async def seated() -> bool:
            return (await small.client.get("/api/lt/feed", params={"follow": "false"})).status_code == 200

        await eventually(seated)
        for _ in range(4):  # one that was refused has taken none
            await seated()
        async with stream(small.client, []), stream(small.client, []):
            assert not await seated()


async def test_a_follower_who_does_not_keep_up_is_let_go_and_misses_nothing_for_it(site: Site) -> None:
    async with (
        watched(site) as ours,
        running(FeedHub(ours.reports, every_s=0.01, behind_most=3)) as hub,
        asyncio.timeout(40),
    ):
        heard, signals = list[str](), list[str]()
        async with aclosing(hub.follow(None)) as told:
            cursor = (await anext(told)).cursor
            for _ in range(5):  # and he looks away, while page after page comes
                signals += await decided(site, 1)
                await _looked_at(ours, ours.calls["lt_feed"] + 2)
            async for one in told:
                heard += told_in(one)
        assert heard == []
        assert await told_by(hub.until_now(cursor)) == signals


async def _looked_at(ours: Watched, times: int) -> None:
    await eventually(lambda: ours.calls["lt_feed"] >= times)


async def test_a_line_that_is_cut_is_waited_for_and_nothing_is_missed(site: Site) -> None:
    async with (
        watched(site, deadline_s=0.3) as ours,
        running(FeedHub(ours.reports, every_s=0.05)) as hub,
    ):
        ear = Ear(hub)
        async with asyncio.TaskGroup() as group:
            group.create_task(ear.listen())
            await ear.follows.wait()
            ours.line.is_cut = True
            failed = ours.calls["lt_feed"]
            signals = await decided(site, 1)
            await eventually(lambda: ours.calls["lt_feed"] > failed + 2)
            assert ear.heard == []
            ours.line.is_cut = False
            signals += await decided(site, 1)
            await eventually(lambda: ear.heard == signals)
            hub.close()


async def test_who_follows_one_strategy_is_told_that_nothing_happens_while_others_are_busy(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_QUIET_S", 0.5)
    async with watched(site) as ours, running(FeedHub(ours.reports, every_s=0.02)) as hub:
        places: list[Row] = []

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
