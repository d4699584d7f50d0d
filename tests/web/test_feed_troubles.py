"""The live feed in trouble: too many who follow, those who take nothing, and a database that is away."""

import asyncio
import socket
from contextlib import aclosing
from time import monotonic

import httpx
import pytest
import structlog

from tests.support.eventually import eventually
from tests.web.conftest import Site, open_site, stream
from tests.web.following import (
    Ear,
    Watched,
    decided,
    running,
    told_by,
    told_in,
    watched,
)
from worker.web import feed as feed_module
from worker.web import hub as hub_module
from worker.web.hub import FeedHub

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_so_many_feeds_are_open_and_whoever_comes_then_is_told_when_to_come_back(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_site(site.supabase, POLYCOPY_WEB__FEEDS_MOST="2") as small:

        async def refused(**params: str) -> bool:
            answer = await small.client.get("/api/lt/feed", params=params)  # one that follows never ends
            assert answer.status_code == httpx.codes.OK  # or a browser would never come back
            return "retry: 10000\n: as many feeds are open as there may be" in answer.text

        async with stream(small.client, []), stream(small.client, []):
            with structlog.testing.capture_logs() as said:
                for _ in range(2):
                    assert await refused()
                    assert await refused(follow="false")
            assert [one["event"] for one in said].count("web.feed_crowded") == 1
            assert (await small.client.get("/api/lt/recent-activity")).status_code == 200

        async def seated() -> bool:
            return not await refused(follow="false")

        await eventually(seated)
        async with stream(small.client, []):  # those who were refused have taken no seat
            await eventually(seated)
            async with stream(small.client, []):
                assert await refused()


async def test_who_takes_nothing_of_what_he_is_sent_keeps_no_seat(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_TAKEN_WITHIN_S", 0.5)
    async with open_site(site.supabase, POLYCOPY_WEB__FEEDS_MOST="1") as small:
        url = httpx.URL(small.address)
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with deaf:
            await asyncio.to_thread(deaf.connect, (url.host, url.port))
            deaf.sendall(f"GET /api/lt/feed HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n\r\n".encode())
            await eventually(lambda: small.hub._open == 1)
            for _ in range(16):
                signal = await site.desk.signal(market_title="x" * 500_000)
                await site.desk.decide(signal)
            await eventually(lambda: small.hub._open == 0)


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


async def test_while_the_database_is_away_everybody_is_told_so_whoever_comes_then_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_QUIET_S", 0.3)
    async with (
        watched(site, deadline_s=0.3) as ours,
        running(FeedHub(ours.reports, every_s=0.05)) as hub,
        asyncio.TaskGroup() as group,
    ):
        early, late = Ear(hub), Ear(hub)
        group.create_task(early.listen())
        await early.follows.wait()
        ours.line.is_cut = True
        await eventually(lambda: early.away)
        group.create_task(late.listen())
        await eventually(lambda: late.away)
        assert early.away[0].startswith(b": the database does not answer since 20")
        assert b"\nid: " in early.away[0]
        assert late.away[0] == early.away[0].partition(b"\n")[0] + b"\n\n"  # he has no place yet
        ours.line.is_cut = False
        await late.follows.wait()
        signals = await decided(site, 1)
        await eventually(lambda: early.heard == late.heard == signals)
        hub.close()


async def test_whoever_comes_while_the_database_is_away_hastens_no_look(site: Site) -> None:
    async with watched(site, deadline_s=0.3) as ours, running(FeedHub(ours.reports, every_s=0.5)) as hub:
        ours.line.is_cut, began_s = True, monotonic()
        with structlog.testing.capture_logs() as said:
            for _ in range(20):
                async with aclosing(hub.follow(None)) as told:
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.05):
                            await anext(told)
        failed = [one["event"] for one in said].count("web.feed_not_read")
        assert 0 < failed <= (monotonic() - began_s) / 0.5 + 2


@pytest.mark.parametrize("path", ["feed", "recent-activity", "execution-audit"])
async def test_a_strategy_that_there_is_not_gets_no_all_clear(site: Site, path: str) -> None:
    only = {"strategy_id": "LT_TYPO"} | ({"follow": "false"} if path == "feed" else {})
    answer = await site.client.get(f"/api/lt/{path}", params=only)
    assert (answer.status_code, answer.json()) == (404, {"error": "There is no strategy 'LT_TYPO'."})


async def test_a_parameter_that_is_given_twice_is_refused(site: Site) -> None:
    answer = await site.client.get("/api/lt/recent-activity?window_s=1&window_s=86400")
    assert answer.status_code == 422
    assert answer.json()["error"] == "`window_s` is given 2 times: once is what it takes."
