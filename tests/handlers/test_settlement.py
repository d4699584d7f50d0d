"""A market ends: its orders are won or lost, once, to the cent, and only when nothing of them can change any more."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx
from structlog.testing import capture_logs

from tests.support.desk import Row
from tests.support.eventually import eventually
from tests.support.pending_desk import looking_up
from tests.support.trading_room import TradingRoom
from worker.handlers.settlement import Settlement, SettlementPace
from worker.observe.health import Health, Level
from worker.orders.lifecycle import AttemptState
from worker.orders.numbers import CENT
from worker.sandbox.exchange.faults import Action, Fault
from worker.sandbox.exchange.trades import Fate

D = Decimal
NOW = SettlementPace(round_every_s=0.05, least_s=0.001, most_s=0.001, markets_per_minute=100_000)


def settlement(
    room: TradingRoom, pace: SettlementPace = NOW, *, page: int = 200, health: Health | None = None
) -> Settlement:
    return Settlement(
        exchange=room.exchange,
        ledger=room.ledger,
        wallets=room.wallets,
        clock=room.clock,
        metrics=room.metrics,
        health=health or Health(room.clock),
        pace=pace,
        page=page,
    )


async def bought(room: TradingRoom) -> None:
    """An order that traded at 50 cents and paid a fee; its trade is not final yet."""
    assert (await room.executed()).state is AttemptState.MATCHED


async def all_final(room: TradingRoom) -> bool:
    waits = await room.desk.rows("select from public.lt_fills where state = 'provisional'")
    booked = await room.desk.rows("select from public.lt_fills")
    return bool(booked) and not waits and not await room.ledger.open_attempts(room.floor.wallet, limit=10)


async def bought_for_good(room: TradingRoom) -> None:
    await bought(room)
    async with looking_up(room):
        await eventually(lambda: all_final(room), within_s=20)


async def traded(room: TradingRoom) -> tuple[Decimal, Decimal]:
    """Shares and dollars with fees, by the trades."""
    row = await room.desk.row(
        "select sum(shares) as shares, sum(price * shares + fee_usd) as usd from public.lt_fills"
    )
    return row["shares"], row["usd"]


async def order(room: TradingRoom) -> Row:
    return await room.desk.row("select * from public.lt_orders")


async def capital(room: TradingRoom) -> Row:
    answer: Row = (await room.desk.call("lt_capital", {"mode": "live", "strategy_id": "LT_ONE"}))["capital"]
    return answer


async def settled(room: TradingRoom) -> list[dict[str, Any]]:
    """What a round tells of the markets that it settles."""
    with capture_logs() as logs:
        await settlement(room).round()
    return [dict(log) for log in logs if log["event"].startswith("market.")]


def ends(room: TradingRoom, *, won: bool = True) -> None:
    winner = room.floor.yes if won else room.floor.no
    room.floor.venue.backoffice.resolve(room.floor.condition_id, winner)


async def test_an_order_of_the_winner_is_won_to_the_cent_and_its_money_cools_down_and_is_free(
    room: TradingRoom,
) -> None:
    await bought_for_good(room)
    shares, spent_usd = await traded(room)
    assert await settled(room) == []
    ends(room)
    (told,) = await settled(room)
    assert (told["event"], told["winner"], told["won"], told["lost"], told["waiting"]) == (
        "market.settled",
        "Yes",
        1,
        0,
        0,
    )
    row = await order(room)
    assert (row["outcome"], row["winning_label"]) == ("WON", "Yes")
    gain_usd = shares - spent_usd
    assert row["pnl"] == gain_usd.quantize(CENT, ROUND_HALF_UP) > 0
    assert row["resolved_at"] is not None

    cooling = await capital(room)
    assert D(cooling["realised_usd"]) == gain_usd
    assert (D(cooling["locked_usd"]), D(cooling["cooldown_usd"])) == (D(0), shares)
    assert D(cooling["available_usd"]) == 1000 - spent_usd
    await room.desk.execute("update public.lt_strategies set cooldown_hours = 0")
    free = await capital(room)
    assert (D(free["cooldown_usd"]), D(free["available_usd"])) == (D(0), 1000 + gain_usd)
    assert await settled(room) == []


async def test_an_order_of_the_loser_is_lost_with_all_that_it_cost(room: TradingRoom) -> None:
    await bought_for_good(room)
    _, spent_usd = await traded(room)
    ends(room, won=False)
    (told,) = await settled(room)
    assert (told["won"], told["lost"]) == (0, 1)
    row, after = await order(room), await capital(room)
    assert (row["outcome"], row["winning_label"]) == ("LOST", "No")
    assert row["pnl"] == (-spent_usd).quantize(CENT, ROUND_HALF_UP)
    assert (D(after["realised_usd"]), D(after["locked_usd"])) == (-spent_usd, D(0))


async def test_an_order_whose_trades_are_not_final_is_settled_later(room: TradingRoom) -> None:
    await bought_and_stuck(room)
    ends(room)
    assert await settled(room) == []
    assert (await order(room))["outcome"] == "OPEN"
    async with looking_up(room):
        goes_on(room, Fate.SETTLES)
        await eventually(lambda: all_final(room), within_s=20)
    (told,) = await settled(room)
    assert (told["won"], (await order(room))["outcome"]) == (1, "WON")


async def test_a_trade_that_fails_after_the_platform_resolved_its_order_brings_its_money_back(
    room: TradingRoom,
) -> None:
    await bought_and_stuck(room)
    ends(room)
    await resolved_by_the_platform(room)
    assert D((await capital(room))["realised_usd"]) > 0
    async with looking_up(room):
        goes_on(room, Fate.FAILS)
        await eventually(lambda: reversed_(room), within_s=20)
    after = await capital(room)
    assert (after["realised_usd"], after["locked_usd"], after["available_usd"]) == ("0.00", "0.00", "1000.00")
    assert await settled(room) == []
    audited = await room.desk.call("lt_audit_capital", {"strategy_id": "LT_ONE", "orders": 100})
    assert audited["differences"] == []


async def bought_and_stuck(room: TradingRoom) -> None:
    """Its trade is booked, and neither final nor failed until it `goes_on`."""
    room.floor.venue.engine.settlement.fate_of = lambda _: Fate.STUCK
    await bought(room)
    async with looking_up(room):
        await eventually(lambda: room.desk.rows("select from public.lt_fills"), within_s=20)


def goes_on(room: TradingRoom, fate: Fate) -> None:
    engine = room.floor.venue.engine
    engine.settlement.fate_of = lambda _: fate
    for trade in engine.trades.values():
        engine.settlement.begin(trade)


async def reversed_(room: TradingRoom) -> bool:
    return bool(await room.desk.rows("select from public.lt_fills where state = 'reversed'"))


async def resolved_by_the_platform(room: TradingRoom, outcome: str = "WON") -> None:
    """Its own resolver, row after row, with a pnl of its own."""
    await room.desk.execute(
        "update public.lt_orders set outcome = %(outcome)s, pnl = 10, winning_label = 'Yes', resolved_at = now()",
        outcome=outcome,
    )


async def test_what_the_platform_has_resolved_is_left_as_it_is_and_paid_once(room: TradingRoom) -> None:
    await bought_for_good(room)
    ends(room)
    await resolved_by_the_platform(room)
    before = await order(room), await capital(room)
    assert await settled(room) == []
    assert (await order(room), await capital(room)) == before


async def test_what_was_resolved_otherwise_is_told_once_and_left_as_it_is(room: TradingRoom) -> None:
    await bought_for_good(room)
    await resolved_by_the_platform(room, outcome="LOST")
    await bought_for_good(room)
    ends(room)
    desk = settlement(room)
    with capture_logs() as logs:
        await desk.round()
        await desk.round()
    told = [log for log in logs if log["event"] == "market.contradicted"]
    assert len(told) == 1
    assert told[0]["log_level"] == "error"
    outcomes = await room.desk.rows("select outcome from public.lt_orders order by created_at")
    assert [row["outcome"] for row in outcomes] == ["LOST", "WON"]


async def test_two_workers_at_once_and_one_after_a_restart_settle_an_order_once(room: TradingRoom) -> None:
    await bought_for_good(room)
    ends(room)
    successor = room.successor()
    await successor.takes_over()
    answers = await asyncio.gather(
        settled(successor), settlement(room).round(), settlement(successor).round()
    )
    assert sum(log["won"] for log in answers[0]) <= 1
    before = await order(room), await capital(room)
    assert before[0]["outcome"] == "WON"
    assert await settled(successor) == []
    assert (await order(room), await capital(room)) == before


async def test_a_market_without_a_winner_is_left_alone_and_one_that_is_void_pays_half_a_dollar_a_share(
    room: TradingRoom,
) -> None:
    await bought_for_good(room)
    shares, spent_usd = await traded(room)
    room.floor.venue.backoffice.close(room.floor.condition_id)
    assert await settled(room) == []
    room.floor.venue.backoffice.void(room.floor.condition_id)
    desk = settlement(room)
    await desk.round()
    assert (await order(room))["outcome"] == "OPEN"  # said once, it may be a price of the listing
    with capture_logs() as logs:
        await desk.round()
        await desk.round()
    (told,) = [log for log in logs if log["event"].startswith("market.")]
    assert (told["event"], told["winner"], told["won"], told["lost"]) == ("market.settled", "nobody", 0, 1)
    loss_usd = shares / 2 - spent_usd  # bought at fifty cents: the fee is lost
    row, after = await order(room), await capital(room)
    assert (row["outcome"], row["winning_label"]) == ("LOST", "VOID")
    assert row["pnl"] == loss_usd.quantize(CENT, ROUND_HALF_UP) < 0
    assert D(after["realised_usd"]) == loss_usd
    assert (D(after["locked_usd"]), D(after["cooldown_usd"])) == (D(0), shares / 2)
    audited = await room.desk.call("lt_audit_capital", {"strategy_id": "LT_ONE", "orders": 100})
    assert audited["differences"] == []


async def test_a_void_that_is_taken_back_in_between_is_said_for_the_first_time_again(
    room: TradingRoom,
) -> None:
    await bought_for_good(room)
    room.floor.venue.backoffice.void(room.floor.condition_id)
    desk = settlement(room)
    await desk.round()
    silent = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/markets", status=200, times=None)
    room.floor.venue.faults.add(replace(silent, body="[]"))
    await desk.round()
    room.floor.venue.faults.clear()
    await desk.round()
    assert (await order(room))["outcome"] == "OPEN"
    await desk.round()
    assert (await order(room))["outcome"] != "OPEN"


async def test_a_market_whose_outcomes_pay_different_parts_is_told_once_and_left_to_a_human(
    room: TradingRoom,
) -> None:
    await bought_for_good(room)
    room.floor.venue.backoffice.void(room.floor.condition_id)
    listed = await _listed(room) | {"outcomePrices": '["0.3", "0.7"]'}
    faults = room.floor.venue.faults
    faults.add(
        Fault(action=Action.PROCESS, method="GET", path="/markets/", times=None)
    )  # the order book's own
    unlike = Fault(action=Action.ANSWER_INSTEAD, method="GET", path="/markets", status=200, times=None)
    faults.add(replace(unlike, body=json.dumps([listed])))
    desk = settlement(room)
    with capture_logs() as logs:
        await desk.round()
        await desk.round()
    (told,) = [log for log in logs if log["event"] == "market.voided"]
    assert (told["log_level"], told["open_orders"]) == ("error", 1)
    assert (await order(room))["outcome"] == "OPEN"


async def _listed(room: TradingRoom) -> dict[str, Any]:
    """The market as its listing shows it."""
    async with httpx.AsyncClient() as client:
        query = {"closed": "true", "clob_token_ids": room.floor.yes}
        answer = await client.get(f"{room.floor.settings.gamma_url}/markets", params=query)
    (market,) = answer.json()
    return dict(market)


async def test_markets_are_read_in_pages_and_asked_for_when_they_are_due(room: TradingRoom) -> None:
    rooms = [replace(room, floor=room.floor.with_market()) for _ in range(3)]
    for one in rooms:
        one.floor.offer("0.50", "1000")
        await bought_for_good(one)
    desk = settlement(room, replace(NOW, least_s=1000, most_s=1000), page=2)
    asked = gamma_calls(room)
    await desk.round()
    await desk.round()
    assert gamma_calls(room) - asked == 2  # once for each of the pages
    for one in rooms:
        ends(one)
    room.watch.slept_s += 2000
    await room.wallets.refresh()
    await desk.round()
    outcomes = await room.desk.rows("select outcome from public.lt_orders")
    assert [row["outcome"] for row in outcomes] == ["WON"] * 3


def gamma_calls(room: TradingRoom) -> int:
    return room.floor.venue.journal.counts["GET", "/markets"]


async def test_who_learns_nothing_of_ended_markets_says_so_in_health_until_he_does(
    room: TradingRoom,
) -> None:
    await bought(room)
    health = Health(room.clock)
    desk = settlement(room, health=health)
    room.line.cut = True
    async with running(desk):
        await eventually(lambda: health.level is Level.DEGRADED, within_s=20)
        assert "settlement" in health.sentence()
        room.line.cut = False
        await eventually(lambda: health.level is Level.OK, within_s=20)


@asynccontextmanager
async def running(desk: Settlement) -> AsyncIterator[None]:
    task = asyncio.create_task(desk.run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
