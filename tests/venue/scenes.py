"""The exchange's known behaviours (docs/exchange-behaviours.md), each as a scene under a production worker.

A scene is a signal, or a few, under one behaviour, and says what is to become of them.
"""

import json
from collections.abc import Awaitable, Callable

from tests.support.eventually import eventually
from tests.venue.stage import ASK, Stage
from worker.sandbox.exchange.fault_catalogue import FaultName

F = FaultName
PLENTY = (ASK, "1000")


async def a_clock_that_is_off_is_said(stage: Stage) -> None:
    """Point 21. That it is mended is heard at the next question, while the other scenes are played."""
    await eventually(lambda: "This machine's clock is -" in stage.worker.status, within_s=60)
    await stage.exchange.call("clock", offset_s=0)


# --- signatures and rules (1, 3-8) --------------------------------------------------------------------------------


async def every_kind_of_market_takes_orders_signed_for_its_own_contract(stage: Stage) -> None:
    """Points 3, 4, 5, 6 and 23: the exchange recovers each signature and computes each id by itself."""
    for to in ("FAK", "DEPOSIT"):
        await stage.play(await stage.market(), "matched", to=to)
        await stage.play(await stage.market(neg_risk=True), "matched", to=to)
        positions = await stage.market(protocol_v2=True)
        await stage.play(
            positions, "matched", to=to, condition=positions.listed_as
        )  # 62 digits, as the listing says


async def a_tick_that_changed_costs_one_refusal(stage: Stage) -> None:
    """Point 7."""
    market = await stage.market(tick="0.001")
    await stage.play(market, "matched")
    await stage.exchange.call("tick", condition=market.condition, tick="0.01")
    await stage.play(market, "rejected", "matched")


async def an_order_that_money_or_the_market_forbids_is_refused(stage: Stage) -> None:
    """Point 8."""
    await stage.inflict(F.REFUSED_WITH_200)
    await stage.play(await stage.market(), "rejected")
    paused = await stage.market()
    await stage.play(paused, "matched")
    await stage.exchange.call("pause", condition=paused.condition)
    await stage.play(paused, "rejected")
    await stage.exchange.call("pause", condition=paused.condition, accepting=True)


# --- matching (9-12) ----------------------------------------------------------------------------------------------


async def each_order_type_takes_what_it_may_and_no_more(stage: Stage) -> None:
    """Points 9, 10 and 11: partial fills, better prices, odd amounts and their fees."""
    await stage.play(await stage.market((ASK, "5")), "matched")
    await stage.play(await stage.market(), "matched", to="FOK")
    await stage.play(await stage.market((ASK, "5")), "killed", to="FOK")
    await stage.play(await stage.market(("0.47", "3.33"), ("0.49", "1.01"), PLENTY), "matched")
    resting = await stage.market((ASK, "5"))
    signal = await stage.play(resting, "matched", to="GTC")
    await stage.exchange.call("print", token=resting.token, side="SELL", price="0.01", shares="7")
    await eventually(lambda: _has(stage, signal, "12"), within_s=30, every_s=0.1)
    await stage.exchange.call("print", token=resting.token, side="SELL", price="0.01", shares="1000")


async def an_order_that_is_held_up_is_followed_to_its_end(stage: Stage) -> None:
    """Point 12."""
    await stage.play(await stage.market(taker_hold_s=0.25), "matched")
    delayed = await stage.market(seconds_delay=0.5)
    await stage.reach(await stage.play(delayed, "matched"), "matched")
    gone = await stage.market((ASK, "30"), seconds_delay=1.0)
    await stage.play(gone, "cancelled")
    await stage.exchange.quote(gone.token, "SELL", ASK, "0")


# --- lifecycle (13-16) --------------------------------------------------------------------------------------------


async def a_trade_is_ours_when_it_is_confirmed_and_is_taken_back_when_it_failed(stage: Stage) -> None:
    """Point 13."""
    signals = []
    for fate in ("retries", "fails", "fails_after_retry"):
        await stage.exchange.call("fates", **{fate: 1.0})
        signals.append(await stage.play(await stage.market(), "matched"))
    await stage.exchange.call("fates")
    for signal in signals:
        await eventually(lambda one=signal: _is_booked(stage, one), within_s=30, every_s=0.1)  # type: ignore[misc]


async def fills_are_found_while_the_stream_is_silent_broken_or_garbled(stage: Stage) -> None:
    """Point 14."""
    await stage.exchange.call("stream-noise", lost=0.3, doubled=0.3, overtaken=0.3)
    await stage.exchange.call("stall")
    resting = await stage.market(("0.99", "10"))
    signal = await stage.play(resting, "matched", to="GTC")
    await stage.exchange.call("print", token=resting.token, side="SELL", price="0.01", shares="1000")
    await stage.reach(signal, "matched")
    await stage.exchange.call("stall", on=False)
    await stage.exchange.call("disconnect", code=4001)
    await stage.play(await stage.market(), "matched")
    await stage.exchange.call("disconnect", abort=True)
    await stage.play(await stage.market(), "matched")
    await stage.exchange.call("stream-noise")


async def what_a_look_up_does_not_tell_is_asked_again(stage: Stage) -> None:
    """Point 15: `null` for what is not found, pages of two, answers that lie or fail."""
    await stage.exchange.call("visibility", missing_as_null=True, page_size=2)
    await stage.inflict(F.DROP_BEFORE)
    await stage.play(await stage.market(), "matched")
    await stage.inflict(F.DROP_AFTER, F.LOOKUP_NULL, F.LOOKUP_NO_TRADES, F.LOOKUP_SERVER_ERROR)
    await stage.play(await stage.market(("0.48", "3"), ("0.49", "3"), PLENTY), "matched")
    await stage.exchange.call("visibility", missing_as_null=False, page_size=100)


async def a_cancel_is_believed_when_the_book_says_so(stage: Stage) -> None:
    """Point 16: of three resting orders one is filled before its cancellation, and one answer is lost."""
    markets = [await stage.market((ASK, "5")) for _ in range(3)]
    ends = ("matched", "cancelled", "cancelled")
    signals = [await stage.play(market, end, to="GTC") for market, end in zip(markets, ends, strict=True)]
    for signal in signals:
        await stage.reach(signal, "live")
    await stage.exchange.call("stall")
    await stage.exchange.call("print", token=markets[0].token, side="SELL", price="0.01", shares="1000")
    await stage.inflict(F.CANCEL_DROP_AFTER)
    pause = b"update public.lt_strategies set is_paused = %b where strategy_id = 'LT_GTC'"
    await stage.town.database.execute(pause % b"true")
    for signal, end in zip(signals, ends, strict=True):
        await stage.reach(signal, end)
    await stage.exchange.call("stall", on=False)
    await stage.town.database.execute(pause % b"false")


# --- faults (18-22, 24) -------------------------------------------------------------------------------------------


async def an_answer_that_is_lost_late_or_odd_makes_no_second_order(stage: Stage) -> None:
    """Points 6, 18, 20 and 24: whatever the client saw, the order is looked up, and only the same bytes go again."""
    for fault in (
        F.DROP_BEFORE,
        F.DROP_AFTER,
        F.NUMERIC_AMOUNTS,
        F.MISSING_FIELDS,
        F.NOT_JSON,
        F.UNKNOWN_STATUS,
    ):
        await stage.inflict(fault)
        await stage.play(await stage.market(), "matched")
    await stage.inflict(F.DROPPED_AND_SLOW, seconds=1.0)
    hidden = await stage.play(await stage.market(), "matched")
    await stage.reach(hidden, "matched")
    posts = await stage.exchange.read("journal", order_id=await stage.order_id(hidden))
    assert len(posts) > 1
    assert any("Duplicated" in outcome for post in posts for outcome in post["outcomes"])
    assert len({post["body"] for post in posts}) == 1
    await stage.inflict(F.HANG_BEFORE, F.HANG_AFTER)
    await stage.inflict(F.PROCESS_LATE, seconds=2.5)
    await stage.play_at_once(*[await stage.market() for _ in range(3)])


async def an_order_that_must_not_rest_is_called_off(stage: Stage) -> None:
    """Point 20: `unmatched` and `live` for orders that were to take at once or not at all."""
    for fault in (F.UNMATCHED, F.LIVE_FAK, F.UNMATCHED_RESTING):
        await stage.inflict(fault)
        await stage.reach(await stage.play(await stage.market(), "cancelled"), "cancelled")


async def a_failing_exchange_costs_a_look_up_and_a_throttling_one_a_wait(stage: Stage) -> None:
    """Point 19."""
    for fault in (
        F.NO_EXECUTION_BEFORE,
        F.NO_EXECUTION_AFTER,
        F.ORDER_TIMED_OUT,
        F.BAD_GATEWAY_AFTER,
        F.TOO_MANY_BEFORE,
    ):
        await stage.inflict(fault)
        await stage.play(await stage.market(), "matched")
    await stage.exchange.call("rate-limit", errand="order", per_s=4, burst=1)
    markets = [await stage.market() for _ in range(4)]
    await stage.play_at_once(*markets)
    await stage.exchange.call("rate-limit", errand="order")


async def a_slow_exchange_that_hangs_up_on_the_idle_loses_nothing(stage: Stage) -> None:
    """Point 22."""
    await stage.exchange.call("latency", median_s=0.1)
    await stage.exchange.call("hang-up")
    await stage.play_at_once(*[await stage.market() for _ in range(3)])
    await stage.exchange.call("clear-faults")


# --- what only a human mends (2, 8, 19, 20) -----------------------------------------------------------------------


async def a_wallet_that_is_not_wanted_is_stopped_and_no_other(stage: Stage) -> None:
    """Points 2, 5, 8, 19 and 20, each in a wallet of its own."""
    closed_only = stage.town.world.wallets[3].address
    await stage.exchange.call("restrict", address=closed_only, closed_only=True)
    await stage.play(await stage.market(), "rejected", to="CLOSED")
    mismatch = {"error": "order_version_mismatch"}
    await stage.exchange.call("fault", action="answer_instead", status=400, body=json.dumps(mismatch))
    await stage.play(await stage.market(), "rejected", to="VERSION")
    for fault, to, end in (
        (F.UNAUTHORIZED, "KEY", "abandoned"),
        (F.CLOUDFLARE_BLOCK, "PLACE", "abandoned"),
        (F.WRONG_ID, "ID", "matched"),
    ):
        await stage.inflict(fault)
        await stage.play(await stage.market(), end, to=to)
    for to, reason in (("KEY", "credentials_refused"), ("PLACE", "geoblocked"), ("CLOSED", "geoblocked")):
        (later,) = await stage.signals(await stage.market(), to=to)
        wanted = {f"LT_{to}": reason}
        await eventually(lambda one=later, so=wanted: _decided(stage, one, so), within_s=30, every_s=0.1)  # type: ignore[misc]
    await stage.exchange.call("restrict", address=closed_only)
    await stage.play(await stage.market(), "matched")


SCENES: tuple[Callable[[Stage], Awaitable[None]], ...] = (
    a_clock_that_is_off_is_said,
    every_kind_of_market_takes_orders_signed_for_its_own_contract,
    a_tick_that_changed_costs_one_refusal,
    an_order_that_money_or_the_market_forbids_is_refused,
    each_order_type_takes_what_it_may_and_no_more,
    an_order_that_is_held_up_is_followed_to_its_end,
    a_trade_is_ours_when_it_is_confirmed_and_is_taken_back_when_it_failed,
    fills_are_found_while_the_stream_is_silent_broken_or_garbled,
    what_a_look_up_does_not_tell_is_asked_again,
    a_cancel_is_believed_when_the_book_says_so,
    an_answer_that_is_lost_late_or_odd_makes_no_second_order,
    an_order_that_must_not_rest_is_called_off,
    a_failing_exchange_costs_a_look_up_and_a_throttling_one_a_wait,
    a_slow_exchange_that_hangs_up_on_the_idle_loses_nothing,
    a_wallet_that_is_not_wanted_is_stopped_and_no_other,
)


async def _has(stage: Stage, signal: str, shares: str) -> bool:
    return str((await stage.filled(signal)).normalize()) == shares


async def _is_booked(stage: Stage, signal: str) -> bool:
    rows = await stage.town.rows(
        "select f.state from public.lt_fills f join public.lt_order_attempts a using (exchange_order_id)"
        " where a.ft_order_id = %s::uuid",
        signal,
    )
    return bool(rows) and all(row["state"] != "provisional" for row in rows)


async def _decided(stage: Stage, signal: str, wanted: dict[str, str]) -> bool:
    return await stage.town.decisions(signal) == wanted
