"""An order in doubt that a human ends: what he is shown, what he may say, and that nobody sends it again."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.desk import WALLET, Desk, Row, fill
from tests.support.doubt import START, in_doubt, listed, looked, posted, tell
from worker.orders.lifecycle import AttemptState


async def resolve(desk: Desk, attempt: Row, state: str, **keys: Any) -> Row:
    asked = {"mode": desk.mode, "exchange_order_id": attempt["exchange_order_id"], "state": state}
    return await desk.call("lt_resolve", asked | {"reason": "seen on chain", "actor": "operator"} | keys)


async def age(desk: Desk, seconds: float) -> None:
    await desk.execute(
        "update public.lt_order_attempts set state_changed_at = now() - make_interval(secs => %(age)s)",
        age=seconds,
    )


@pytest.mark.parametrize(
    ("state", "keys", "locked_usd"),
    [
        ("lost", {}, "0.00"),
        ("killed", {}, "0.00"),
        ("rejected", {}, "0.00"),
        ("cancelled", {}, "0.00"),
        ("matched", {}, "6.00"),
        ("matched", {"closed": True}, "0.00"),
    ],
)
@pytest.mark.parametrize("was", ["unknown", "submitting"])
async def test_a_human_ends_a_doubt_and_his_words_stay(
    trading: Desk, was: str, state: str, keys: Row, locked_usd: str
) -> None:
    attempt = await trading.claim(await trading.signal())
    if was == "unknown":
        await tell(trading, attempt, posted(0))
    await age(trading, 61)
    await trading.execute("update public.lt_order_attempts set sent_at = now() - interval '61 s'")
    answer = await resolve(trading, attempt, state, **keys)
    assert (answer["was"], answer["state"], answer["changed"]) == (was, state, True)
    assert (await trading.capital())["locked_usd"] == locked_usd
    await trading.record(attempt["exchange_order_id"], state, note="looked up: not found")
    row = await trading.row("select note, decided_by from public.lt_order_attempts")
    assert row == {"note": "resolved by operator: seen on chain", "decided_by": "operator"}


async def test_a_decision_whose_answer_was_lost_is_answered_again_and_no_other_is(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    assert (await resolve(trading, attempt, "lost"))["changed"] is True
    assert (await resolve(trading, attempt, "lost"))["changed"] is False
    for other in ({"actor": "another"}, {"reason": "changed my mind"}):
        with pytest.raises(psycopg.errors.RaiseException, match="cannot be resolved"):
            await resolve(trading, attempt, "lost", **other)


@pytest.mark.parametrize("state", sorted(set(AttemptState) - {AttemptState.UNKNOWN, AttemptState.ABANDONED}))
async def test_only_what_hangs_in_a_doubtful_state_may_be_decided(trading: Desk, state: AttemptState) -> None:
    attempt = await trading.claim(await trading.signal())
    if state is not AttemptState.SUBMITTING:
        await tell(trading, attempt, {}, {"state": state, "decided_by": "somebody"})

    async def possible(after_s: float) -> list[str]:
        await age(trading, after_s)
        taken = []
        for target in ("lost", "killed", "rejected", "cancelled", "matched"):
            async with trading.connection.transaction(force_rollback=True):
                try:
                    await resolve(trading, attempt, target)
                except psycopg.errors.RaiseException:
                    continue
                taken.append(target)
        return taken

    assert await possible(59) == []
    assert await possible(61) == {
        AttemptState.SUBMITTING: ["lost", "killed", "rejected", "cancelled", "matched"],
        AttemptState.CANCELLING: ["rejected", "cancelled", "matched"],
        AttemptState.CANCELLED: ["cancelled"],  # to be closed as it is
        AttemptState.MATCHED: ["matched"],
    }.get(state, [])


async def test_an_order_that_waits_for_trades_in_vain_may_be_closed_as_it_is(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, {"state": "matched", "fills": [fill("4")]})
    with pytest.raises(psycopg.errors.RaiseException, match="cannot be resolved"):
        await resolve(trading, attempt, "matched", closed=True)
    await age(trading, 61)
    answer = await resolve(trading, attempt, "matched", closed=True)
    assert (answer["closed"], answer["status"]) == (True, "PARTIAL")
    assert (await trading.capital())["locked_usd"] == "2.00"


@pytest.mark.parametrize("keys", [{"actor": " "}, {"reason": ""}, {"actor": None}])
async def test_a_decision_without_a_name_or_a_reason_is_refused(trading: Desk, keys: Row) -> None:
    attempt = await in_doubt(trading)
    with pytest.raises(psycopg.errors.RaiseException, match="an actor and a reason"):
        await resolve(trading, attempt, "lost", **keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"state": "live"},
        {"state": "teapot"},
        {"state": None},
        {"mode": "live"},
        {"exchange_order_id": "0xab"},
    ],
)
async def test_a_decision_that_names_nothing_that_can_be_is_refused(trading: Desk, keys: Row) -> None:
    attempt = await in_doubt(trading)
    with pytest.raises(psycopg.errors.RaiseException):
        await resolve(trading, attempt, **({"state": "lost"} | keys))
    assert (await listed(trading))["state"] == "unknown"


async def leave_to_resend(desk: Desk, attempt: Row) -> Row:
    return await desk.call(
        "lt_resend", {"mode": desk.mode, "exchange_order_id": attempt["exchange_order_id"]}
    )


@pytest.mark.parametrize(("action", "lifted_by"), [("kill", "arm"), ("pause", "resume")])
@pytest.mark.parametrize("scope", ["global", f"wallet:{WALLET}", "strategy:LT_ONE"])
async def test_nothing_goes_out_again_under_a_switch_that_holds_for_it(
    trading: Desk, scope: str, action: str, lifted_by: str
) -> None:
    attempt = await in_doubt(trading)
    switch = {"reason": "look", "actor": "operator"}
    await trading.call("lt_control", switch | {"action": action, "scope": "strategy:LT_TWO"})
    assert (await leave_to_resend(trading, attempt))["why"] == ""
    await trading.call("lt_control", switch | {"action": action, "scope": scope})
    answer = await leave_to_resend(trading, attempt)
    assert (answer["why"], answer["over"]) == (f"{action} of {scope}", False)
    await trading.call("lt_control", switch | {"action": lifted_by, "scope": scope})
    assert (await leave_to_resend(trading, attempt))["why"] == ""


@pytest.mark.parametrize(
    ("state", "keys"),
    [("lost", {}), ("killed", {}), ("rejected", {}), ("cancelled", {}), ("matched", {"closed": True})],
)
async def test_what_a_human_ended_never_goes_out_again_and_is_watched_for_a_day(
    trading: Desk, state: str, keys: Row
) -> None:
    attempt = await in_doubt(trading)
    assert (await leave_to_resend(trading, attempt))["why"] == ""
    await trading.execute("update public.lt_order_attempts set resend_at = now() - interval '61 s'")
    await resolve(trading, attempt, state, **keys)
    answer = await leave_to_resend(trading, attempt)
    assert (answer["why"], answer["over"]) == (f"it is {state}", True)
    watched = await listed(trading)
    assert (watched["state"], watched["barred"]) == (state, True)
    late = await tell(trading, attempt, {"state": state, "fills": [fill("4") | {"state": "final"}]})
    assert (late["late"], late["status"], late["closed"]) == (True, "PARTIAL", True)
    await trading.execute("update public.lt_config set value = '0 s' where key = 'lost_watch'")
    asked = {"mode": trading.mode, "wallets": [WALLET], "limit": 9}
    assert (await trading.call("lt_open_attempts", asked))["attempts"] == []


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("update public.lt_strategies set is_paused = true", "its strategy is paused"),
        ("update public.lt_strategies set is_active = false", "its strategy is off"),
        ("update public.ft_orders set outcome = 'WON'", "its signal is WON"),
        (
            """insert into public.lt_controls (scope, action, mode, reason, actor)
            values ('strategy:LT_ONE', 'breaker', 'paper', 'loss', 'breaker')""",
            "breaker of strategy:LT_ONE",
        ),
    ],
)
async def test_nothing_goes_out_again_that_would_not_be_claimed_any_more(
    trading: Desk, statement: str, why: str
) -> None:
    attempt = await in_doubt(trading)
    await trading.execute(statement)
    answer = await leave_to_resend(trading, attempt)
    assert (answer["why"], answer["over"]) == (why, False)


async def test_nothing_is_bought_any_more_once_its_trader_has_sold(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await trading.signal(side="SELL")
    assert (await leave_to_resend(trading, attempt))["why"] == "its trader has sold"


@pytest.mark.parametrize("state", ["unknown", "submitting"])
async def test_a_human_ends_no_order_that_somebody_may_be_sending_again(trading: Desk, state: str) -> None:
    attempt = await trading.claim(await trading.signal())
    if state == "unknown":
        await tell(trading, attempt, {})
    await age(trading, 61)
    assert (await leave_to_resend(trading, attempt))["why"] == ""
    with pytest.raises(psycopg.errors.RaiseException, match="cannot be resolved") as refusal:
        await resolve(trading, attempt, "killed")
    assert "within the last minute" in str(refusal.value.diag.message_hint)
    await trading.execute("update public.lt_order_attempts set resend_at = now() - interval '61 s'")
    assert (await resolve(trading, attempt, "killed"))["state"] == "killed"


async def test_a_barred_body_and_an_order_that_is_known_get_no_leave_to_go_again(trading: Desk) -> None:
    barred, known = await in_doubt(trading), await in_doubt(trading)
    await tell(trading, barred, posted(0, barred=True))
    await tell(trading, known, {"state": "live"})
    answers = [await leave_to_resend(trading, each) for each in (barred, known)]
    assert [(answer["why"], answer["over"]) for answer in answers] == [
        ("its body is barred", True),
        ("it is live", True),
    ]
    with pytest.raises(psycopg.errors.RaiseException, match="no paper attempt"):
        await leave_to_resend(trading, {"exchange_order_id": "0xunheard"})


async def shown(desk: Desk, asked: str) -> list[Row]:
    answer = await desk.call("lt_attempt", {"mode": desk.mode, "exchange_order_id": asked})
    attempts: list[Row] = answer["attempts"]
    return attempts


async def test_a_human_sees_what_the_order_was_for_and_what_it_holds(trading: Desk) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "killed")
    second = await trading.claim(signal, lt_order_id=first["lt_order_id"])
    trade = fill("4", fee_usd="0.01")
    await tell(trading, second, posted(0), looked(1), {"fills": [trade]})
    (case,) = await shown(trading, second["exchange_order_id"])
    assert case["attempt"]["sends"] == 1
    assert [datetime.fromisoformat(moment) for moment in case["attempt"]["not_found_times"]] == [
        START + timedelta(seconds=1)
    ]
    assert (case["order"]["lt_order_id"], case["order"]["status"]) == (second["lt_order_id"], "PARTIAL")
    assert (case["strategy"]["strategy_id"], case["strategy"]["initial_capital"]) == ("LT_ONE", "1000.00")
    assert (case["signal"]["order_id"], case["signal"]["entry_price"]) == (signal, "0.5015")
    assert [(row["trade_id"], row["shares"], row["fee_usd"]) for row in case["fills"]] == [
        (trade["trade_id"], "4.00", "0.01")
    ]
    assert [row["exchange_order_id"] for row in case["others"]] == [first["exchange_order_id"]]
    assert case["reservation"] == {"usd": "3.99", "shares": "0.00"}
    assert case["resolutions"] == ["cancelled", "killed", "lost", "matched", "rejected"]
    (closed,) = await shown(trading, first["exchange_order_id"])
    assert (closed["resolutions"], closed["reservation"]["usd"]) == ([], "0.00")


async def test_nobody_is_shown_a_signed_body(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    assert "signed_body" not in str(await shown(trading, attempt["exchange_order_id"]))


async def test_an_order_is_found_by_the_beginning_of_its_id(trading: Desk) -> None:
    ids = ["0x" + start.ljust(64, "0") for start in ("abcdef01", "abcdef02", "abcdf")]
    for id_ in ids:
        await trading.claim(await trading.signal(), exchange_order_id=id_)

    async def found(asked: str) -> list[str]:
        return [case["attempt"]["exchange_order_id"] for case in await shown(trading, asked)]

    assert await found("0xabcdef01") == await found("ABCDEF01") == [ids[0]]
    assert await found("0xabcdef") == ids[:2]
    assert await found("abcdf0") == [ids[2]]
    for nothing in ("0xabcde", "abcdf", "0xabcdef03", "abcdef%", "0x", ""):
        assert await found(nothing) == []


async def test_orders_of_the_other_mode_are_not_shown(trading: Desk, database: str) -> None:
    attempt = await in_doubt(trading)
    live = await Desk.open(database, mode="live")
    assert await shown(live, attempt["exchange_order_id"]) == []
    await live.close()
