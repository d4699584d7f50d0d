"""The dashboard's pages as a visitor has them, before a whole Supabase project: NiceGUI's own simulated browser."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from nicegui import Client, ui
from nicegui.testing import User

from tests.support.desk import Desk, Row, fill
from tests.support.eventually import eventually
from tests.support.pages import open_house, rows, visit, words
from tests.web.conftest import TOKEN, settings_of
from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction
from worker.database.keys import DatabaseAccess
from worker.database.reports import Reports
from worker.orders.terms import Mode, StrategyId
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox
from worker.verbs.words import Columns
from worker.web.dashboard import office, session
from worker.web.dashboard.office import Visitor
from worker.web.dashboard.story import table_of
from worker.web.dashboard.switches import Switches
from worker.web.dashboard.tape import Tape

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True)
class House:
    """The application as it is served, the platform's side of its database, and the reads that the command uses."""

    app: FastAPI
    desk: Desk
    reports: Reports

    async def visitor(self, path: str = "/", *, token: str | None = None) -> User:
        return await visit(self.app, path, token=token)

    async def purchase(self, shares: str | None = None, **signal: object) -> Row:
        """An order of LT_ONE, filled with so many shares; None: not yet."""
        claimed = await self.desk.claim(await self.desk.signal(**signal))
        if shares is not None:
            await self.filled(claimed, shares)
        return claimed

    async def filled(self, claimed: Row, shares: str, **keys: str) -> None:
        await self.booked(claimed, fill(shares, **keys))

    async def booked(self, claimed: Row, trade: Row) -> None:
        now = datetime.now(UTC).isoformat()
        await self.desk.record(
            claimed["exchange_order_id"], "matched", sent_at=now, answered_at=now, closed=True, fills=[trade]
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(cluster: Postgres, migrated_template: str) -> AsyncIterator[House]:
    """One for all tests: on paper, with a strategy that trades, one that idles, and a few signals of the past hour."""
    async with SupabaseSandbox.start(postgres=cluster, template=migrated_template) as supabase:
        access = DatabaseAccess(url=supabase.url, key=supabase.service_role_key)
        async with await SupabaseDatabase.open(access) as database:
            reports = Reports(database, Mode.PAPER)
            desk = await Desk.open(supabase.dsn)
            await desk.strategy()
            await desk.strategy("LT_IDLE", ft_wallet_id="FT_IDLE")
            await desk.ready()
            async with open_house(settings_of(supabase), reports) as app:
                house = House(app, desk, reports)
                await house.purchase("12", market_title="Will it rain?")
                await house.purchase("4", market_title="Will it snow?")
                await desk.decide(await desk.signal(market_title="Will it hail?"))
                yield house
            await desk.close()


async def test_what_is_left_over_is_a_page_but_not_for_whoever_asks_the_api(house: House) -> None:
    user = await house.visitor()
    answer = await user.http_client.get("/api/lt/nonsense")
    assert (answer.status_code, "There is no such path" in answer.json()["error"]) == (404, True)
    assert (await user.http_client.get("/nonsense")).status_code == httpx.codes.NOT_FOUND


async def test_the_apis_document_is_a_page_with_every_operation_and_a_command_for_each(house: House) -> None:
    user = await house.visitor("/docs")
    document = (await user.http_client.get("/openapi.json")).json()
    asked = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {str(one.props["label"]) for one in user.find(ui.expansion).elements} == asked
    shown = [one.content for one in user.find(ui.code).elements]
    curls = [one for one in shown if one.startswith("curl ")]
    assert len(curls) == len(asked)
    (kill,) = [one for one in curls if one.endswith(" http://127.0.0.1/api/lt/kill")]
    assert "Bearer $POLYCOPY_WEB_TOKEN" in kill
    assert """-d '{"reason": "too many losses"}'""" in kill
    assert "curl http://127.0.0.1/api/lt/diagnostic" in curls
    assert '"health": "CRITICAL"' in "".join(shown)
    with user.scope(marker="manual-reads"):
        tables = [row for one in user.find(ui.table).elements for row in one.rows]
    assert {"name": "back_s", "place": "query", "takes": "integer from 0 to 86400, else 0"}.items() <= next(
        row for row in tables if row["name"] == "back_s"
    ).items()


@pytest.mark.parametrize(("state", "market"), [("provisional", "thunder"), ("final", "storm")])
async def test_an_order_appears_turns_filled_and_is_told_in_a_toast(
    house: House, state: str, market: str
) -> None:
    user = await house.visitor()
    await eventually(lambda: rows(user, "live"))
    claimed = await house.purchase(market_title=f"Will it {market}?")

    def status() -> list[str]:
        return [row["status"] for row in rows(user, "live") if market in row["market"]]

    await eventually(lambda: status() == ["PENDING"])
    assert not any(market in message for message in user.notify.messages)
    await house.filled(claimed, "12", state=state)
    await eventually(lambda: status() == ["FILLED"])
    await eventually(
        lambda: any(f"12.00 Yes at 0.50 - Will it {market}?" in message for message in user.notify.messages)
    )


async def test_each_fill_is_news_once_however_often_it_is_told(house: House) -> None:
    tape = Tape(house.reports, house.app.state.feed)
    listening = asyncio.create_task(tape.run())
    try:
        await heard(house, tape)
        begin = tape.newest
        first, last = await house.purchase(), await house.purchase()
        trade = fill("12")
        await house.booked(first, trade)
        await eventually(lambda: tape.watch() and tape.newest == begin + 1)
        for change in ({"fee_usd": "0.01"}, {"fee_usd": "0.01", "state": "final"}):
            await house.booked(first, trade | change)
            await heard(house, tape)
        await house.filled(last, "12", state="final")
        await eventually(lambda: tape.watch() and tape.newest > begin + 1)
        told = [event["exchange_order_id"] for event in tape.fills_after(begin)]
        assert told == [first["exchange_order_id"], last["exchange_order_id"]]
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def heard(house: House, tape: Tape) -> None:
    """Once the tape has heard of all that happened before this was asked."""
    signal = await house.desk.signal()
    await house.desk.decide(signal)
    await eventually(lambda: tape.watch() and any(signal in pair for pair in tape.noes))


async def test_the_live_orders_can_be_narrowed_by_kind_by_word_and_by_strategy(house: House) -> None:
    user = await house.visitor()
    await eventually(
        lambda: {"FILLED", "PARTIAL", "skipped"} <= {row["status"] for row in rows(user, "live")}
    )
    with user.scope(marker="live"):
        (kind,) = user.find(ui.select).elements
        (filter_,) = user.find(ui.input).elements
    kind.set_value("not traded")
    await eventually(lambda: {row["status"] for row in rows(user, "live")} == {"skipped"})
    kind.set_value("everything")
    filter_.set_value("snow")
    await eventually(lambda: [row["market"] for row in rows(user, "live")] == ["Yes - Will it snow?"])
    filter_.set_value("")
    await eventually(lambda: len(rows(user, "live")) > 1)
    (strategy,) = user.find(marker="strategy").elements
    assert isinstance(strategy, ui.select)
    await eventually(lambda: "LT_IDLE" in strategy.options)
    strategy.set_value("LT_IDLE")
    await eventually(lambda: rows(user, "live") == [])
    await eventually(lambda: "No signal came in this time" in words(user, "execution"))
    assert "last 24 hours, LT_IDLE" in words(user, "reasons")


async def test_an_address_keeps_what_was_chosen(house: House) -> None:
    user = await house.visitor("/?window=1h&strategy=LT_IDLE")
    await eventually(lambda: "last hour, LT_IDLE" in words(user, "reasons"))
    other = await house.visitor("/?window=nonsense")
    await eventually(lambda: "last 24 hours" in words(other, "reasons"))


async def test_a_signals_page_tells_the_number_that_failed_and_the_one_that_would_have_passed(
    house: House,
) -> None:
    signal = await house.desk.signal(market_title="Will it freeze?")
    await house.desk.decide(signal, reason="price_moved", value="0.61", limit="0.51")
    user = await house.visitor(f"/signal/{signal}")
    told = words(user, "story")
    for word in ("failed", "0.61", "limit", "0.51", "would pass", "price_moved"):
        assert word in told
    assert "Will it freeze?" in words(user, "signal")


async def test_rows_of_a_story_that_begin_alike_are_rows_of_their_own(house: House) -> None:
    del house  # it is what makes pages possible
    told = Columns((("stage", "took"), ("sent", "2 ms"), ("sent", "2 ms")))
    with Client(ui.page("/drill")):
        table = table_of(told)
    assert len({row[table.props["row-key"]] for row in table.rows}) == 2


async def test_a_signal_that_nobody_knows_is_said_to_be_unknown(house: House) -> None:
    user = await house.visitor("/signal/00000000-0000-4000-8000-00000000dead")
    await user.should_see("No signal, order or exchange order is known by", retries=100)


async def test_whoever_has_shown_the_token_pauses_a_strategy_after_being_asked_back(house: House) -> None:
    user = await house.visitor(token=TOKEN)
    await user.should_see(marker="pause-LT_IDLE", retries=100)
    user.find(marker="pause-LT_IDLE").click()
    await user.should_see("Pause LT_IDLE?", retries=100)
    user.find(marker="confirm").click()
    await eventually(lambda: "A reason is needed." in user.notify.messages)
    assert not await house.desk.rows("select from public.lt_controls where action = 'pause'")
    user.find(marker="reason").type("a look at the book")
    user.find(marker="confirm").click()
    await user.should_see(marker="resume-LT_IDLE", retries=100)
    held = await house.desk.row("select scope, reason from public.lt_controls where cleared_at is null")
    assert held == {"scope": "strategy:LT_IDLE", "reason": "a look at the book"}
    user.find(marker="resume-LT_IDLE").click()
    await user.should_see("Resume LT_IDLE?", retries=100)
    user.find(marker="confirm").click()
    await user.should_see(marker="pause-LT_IDLE", retries=100)
    assert not await house.desk.rows("select from public.lt_controls where cleared_at is null")


async def test_whoever_has_not_shown_it_is_asked_for_it_and_turns_nothing(house: House) -> None:
    for token in (None, "f" * len(TOKEN)):
        user = await house.visitor(token=token)
        await user.should_see(marker="kill-everything", retries=100)
        user.find(marker="kill-everything").click()
        await user.should_see("Pause, resume, kill and arm need the token", retries=100)
        assert not await house.desk.rows("select from public.lt_controls where cleared_at is null")


async def test_what_needs_a_human_stands_on_the_page_with_what_to_type(house: House) -> None:
    kill = {"scope": "strategy:LT_IDLE", "reason": "wrong prices", "actor": "me"}
    await house.desk.call("lt_control", kill | {"action": "kill"})
    user = await house.visitor()
    await eventually(lambda: "polycopy-worker arm --strategy LT_IDLE" in words(user, "needs"))
    assert "wrong prices" in words(user, "needs")
    await house.desk.call("lt_control", kill | {"action": "arm"})
    await eventually(lambda: "wrong prices" not in words(user, "needs"))


async def test_a_strategys_name_is_a_word_on_its_buttons_and_nothing_that_is_run(house: House) -> None:
    name = 'LT" :onclick="alert(1)'
    switches = Switches(house.reports, Visitor(0, reads_need_token=False, may_sign_in=True), lambda: None)
    with Client(ui.page("/drill")):
        made = switches.button(ControlAction.KILL, StrategyId(name))
    assert made.props["aria-label"] == f"kill {name}"
    assert not [key for key in made.props if key.startswith(":")]


async def test_a_dialog_that_stood_open_until_the_session_was_over_turns_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = await house.visitor(token=TOKEN)
    await user.should_see(marker="kill-LT_IDLE", retries=100)
    user.find(marker="kill-LT_IDLE").click()
    await user.should_see("Kill LT_IDLE?", retries=100)
    user.find(marker="reason").type("too late")
    monkeypatch.setattr(office, "time", lambda: time() + 2 * session.LASTS_S)
    user.find(marker="confirm").click()
    await user.should_see("Pause, resume, kill and arm need the token", retries=100)
    assert not await house.desk.rows("select from public.lt_controls where cleared_at is null")


@pytest.mark.parametrize("path", ["/", "/signal/00000000-0000-4000-8000-00000000dead"])
async def test_an_open_page_tells_no_more_once_the_session_is_over_where_reading_needs_one(
    house: House, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    door = house.app.state.door
    object.__setattr__(door, "reads_need_token", True)
    try:
        user = await house.visitor(path, token=TOKEN)
        await user.should_see("Live orders" if path == "/" else "Not found", retries=100)
        monkeypatch.setattr(office, "time", lambda: time() + 2 * session.LASTS_S)
        await user.should_see("Everything here needs the token", retries=100)
    finally:
        object.__setattr__(door, "reads_need_token", False)
