"""What an answer leaves behind: states, the platform's row, look-ups - recorded once however often it is told."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from tests.support.attempts import claimed, put
from tests.support.desk import WALLET, Desk, Row, fill
from tests.support.eventually import eventually
from worker.orders.lifecycle import ALIVE, AttemptState, transition_rows


async def test_nobody_abandons_an_order_that_a_successor_may_have_sent(trading: Desk) -> None:
    attempt = await claimed(trading)
    await trading.rows("update public.lt_leases set expires_at = now() - interval '1 s' returning fence")
    assert (await trading.lease(worker="successor"))["held"]
    with pytest.raises(psycopg.errors.RaiseException, match="the lease it was claimed under has passed on"):
        await trading.record(attempt["exchange_order_id"], "abandoned")
    assert (await trading.record(attempt["exchange_order_id"], "matched"))["state"] == "matched"


async def test_an_expired_lease_that_nobody_took_still_lets_its_holder_abandon(trading: Desk) -> None:
    attempt = await claimed(trading)
    await trading.rows("update public.lt_leases set expires_at = now() - interval '1 s' returning fence")
    assert (await trading.record(attempt["exchange_order_id"], "abandoned"))["state"] == "abandoned"


async def test_sql_and_the_worker_hold_the_same_transition_table(desk: Desk) -> None:
    rows = await desk.rows('select "from", "to" from public.lt_attempt_transitions() order by 1, 2')
    assert [(row["from"], row["to"]) for row in rows] == transition_rows()
    alive = await desk.rows("select unnest(%(states)s::text[]) as state", states=list(AttemptState))
    said = {
        row["state"]
        for row in alive
        if (await desk.row("select public.lt_attempt_is_alive(%(s)s) as yes", s=row["state"]))["yes"]
    }
    assert said == set(ALIVE)


async def test_every_step_that_is_not_in_the_table_is_refused_and_every_other_is_taken(trading: Desk) -> None:
    legal = set(transition_rows()) | {(state, state) for state in AttemptState}
    looked = {"lookup": "not_found", "answered_at": datetime.now(UTC).isoformat(), "lost_after_lookups": 1}
    for old in AttemptState:
        for new in AttemptState:
            # These two by the rule: as a look-up says them.
            keys = looked | {"lost_after_s": "0"} if new in {AttemptState.UNKNOWN, AttemptState.LOST} else {}
            async with trading.connection.transaction(force_rollback=True):
                attempt = await claimed(trading)
                await put(trading, attempt["exchange_order_id"], old)
                if (old, new) in legal:
                    assert (await trading.record(attempt["exchange_order_id"], new, **keys))["state"] == new
                    continue
                with pytest.raises(psycopg.errors.RaiseException) as refusal:
                    await trading.record(attempt["exchange_order_id"], new, **keys)
                assert f"cannot go from {old} to {new}" in str(refusal.value)
                assert "lt_attempt_transitions" in str(refusal.value.diag.message_hint)


async def test_an_attempt_that_was_never_claimed_cannot_be_recorded(trading: Desk) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="no attempt"):
        await trading.record("0xunheard", "live")


async def test_what_was_signed_and_reserved_cannot_be_changed_afterwards(trading: Desk) -> None:
    await claimed(trading)
    for change in (
        "signed_body = 'x'",
        "reserve_usd = 1000",
        "limit_price = 0.9",
        "attempt_no = 7",
        "amount_usd = 60",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="immutable"):
            await trading.connection.execute(f"update public.lt_order_attempts set {change}")  # noqa: S608


async def test_recording_twice_changes_nothing(trading: Desk) -> None:
    attempt = await claimed(trading)
    record = {
        "closed": True,
        "fills": [fill("12")],
        "sent_at": datetime.now(UTC).isoformat(),
        "answered_at": datetime.now(UTC).isoformat(),
        "answer": {"status": "matched"},
    }
    snapshot = (
        "select a.*, f.*, o.status, o.executed_size_usd, o.shares_bought, o.fill_rate from public.lt_order_attempts a"
        " join public.lt_fills f using (exchange_order_id) join public.lt_orders o using (lt_order_id)"
    )
    first = await trading.record(attempt["exchange_order_id"], "matched", **record)
    before = await trading.row(snapshot)
    again = await trading.record(attempt["exchange_order_id"], "matched", **record)
    assert (first["changed"], again["changed"]) == (True, False)
    assert (first["status"], again["status"]) == ("FILLED", "FILLED")
    assert await trading.row(snapshot) == before


async def test_an_order_shows_what_its_trades_say(trading: Desk) -> None:
    attempt = await claimed(trading)
    answered_at = datetime.now(UTC)
    placed_at = answered_at - timedelta(milliseconds=40)
    in_whole_seconds = placed_at - timedelta(milliseconds=700)
    filled_at = placed_at + timedelta(milliseconds=250)
    fills = [
        fill("4", "0.50", matched_at=in_whole_seconds.isoformat(), fee_usd="0.01"),
        fill("8", "0.505", matched_at=filled_at.isoformat()),
    ]
    await trading.record(
        attempt["exchange_order_id"],
        "matched",
        closed=True,
        fills=fills,
        sent_at=placed_at.isoformat(),
        answered_at=answered_at.isoformat(),
    )
    order = await trading.order(attempt["lt_order_id"])
    assert (order["executed_price"], order["executed_size_usd"]) == (Decimal("0.503333"), Decimal("6.04"))
    assert (order["shares_bought"], order["shares_remaining"]) == (Decimal(12), Decimal(12))
    assert (order["fill_rate"], order["slippage_bps"], order["status"]) == (Decimal(1), 67, "FILLED")
    moments = order["order_placed_at"], order["first_fill_at"], order["fully_filled_at"]
    assert moments == (placed_at, placed_at, filled_at)
    assert 200 <= order["execution_latency_ms"] < 5000
    capital = await trading.capital()
    assert (capital["locked_usd"], capital["available_usd"]) == ("6.05", "993.95")  # with the fee


@pytest.mark.parametrize(
    ("state", "shares", "closed", "status", "outcome"),
    [
        ("submitting", None, False, "PENDING", "OPEN"),
        ("live", None, False, "PENDING", "OPEN"),
        ("unknown", None, False, "PENDING", "OPEN"),
        ("live", "3", False, "PARTIAL", "OPEN"),
        ("matched", None, False, "PENDING", "OPEN"),  # its trades are still to be booked
        ("matched", "11.99", True, "FILLED", "OPEN"),  # half a cent short: dust
        ("matched", "11.97", True, "PARTIAL", "OPEN"),
        ("cancelled", "3", True, "PARTIAL", "OPEN"),
        ("cancelled", None, False, "PENDING", "OPEN"),
        ("cancelled", None, True, "CANCELLED", "CANCELLED"),
        ("killed", None, False, "CANCELLED", "CANCELLED"),
        ("expired", None, False, "CANCELLED", "CANCELLED"),
        ("abandoned", None, False, "CANCELLED", "CANCELLED"),
        ("rejected", None, False, "REJECTED", "CANCELLED"),
        ("lost", None, False, "LOST", "CANCELLED"),
    ],
)
async def test_every_attempt_state_has_one_of_the_platforms_words(
    trading: Desk,
    state: str,
    shares: str | None,
    closed: bool,  # noqa: FBT001 - a column of the table above
    status: str,
    outcome: str,
) -> None:
    attempt = await claimed(trading)
    await put(trading, attempt["exchange_order_id"], state)
    if state != "submitting":
        fills = [fill(shares)] if shares else []
        await trading.record(attempt["exchange_order_id"], state, closed=closed, fills=fills)
    order = await trading.order(attempt["lt_order_id"])
    assert (order["status"], order["outcome"]) == (status, outcome)


async def test_an_order_for_shares_is_filled_by_shares(trading: Desk) -> None:
    order = {"order_type": "GTC", "amount_usd": None, "shares": "10", "reserve_usd": "5.10"}
    attempt = await claimed(trading, order=order)
    half = await trading.record(attempt["exchange_order_id"], "live", fills=[fill("5", "0.40")])
    assert (half["status"], (await trading.order(attempt["lt_order_id"]))["fill_rate"]) == (
        "PARTIAL",
        Decimal("0.5"),
    )
    full = await trading.record(
        attempt["exchange_order_id"], "matched", closed=True, fills=[fill("4.99", "0.40")]
    )
    assert full["status"] == "FILLED"


async def test_a_rejection_keeps_the_exchanges_words(trading: Desk) -> None:
    attempt = await claimed(trading)
    await trading.record(attempt["exchange_order_id"], "rejected", note="refused: not enough balance")
    order = await trading.order(attempt["lt_order_id"])
    assert (order["status"], order["rejection_reason"]) == ("REJECTED", "refused: not enough balance")


async def test_lookups_are_counted_since_the_last_post_and_once_each(trading: Desk) -> None:
    attempt = await claimed(trading)
    start = datetime.now(UTC)

    async def tell(second: int, *, sent: int | None = None) -> int:
        sent_at = None if sent is None else (start + timedelta(seconds=sent)).isoformat()
        answered_at = (start + timedelta(seconds=second)).isoformat()
        record = await trading.record(
            attempt["exchange_order_id"], "unknown", sent_at=sent_at, answered_at=answered_at
        )
        lookups: int = record["lookups"]
        return lookups

    assert [await tell(1, sent=0), await tell(2), await tell(2), await tell(3)] == [0, 1, 1, 2]
    assert [await tell(5, sent=4), await tell(5, sent=4), await tell(6)] == [0, 0, 1]


async def test_lookups_of_a_takeover_count_although_nobody_knows_whether_it_was_sent(trading: Desk) -> None:
    attempt = await claimed(trading)
    answer = await trading.record(
        attempt["exchange_order_id"], "unknown", answered_at=datetime.now(UTC).isoformat()
    )
    assert answer["lookups"] == 1


async def open_attempts(desk: Desk, limit: int = 10) -> Row:
    return await desk.call("lt_open_attempts", {"mode": desk.mode, "wallets": [WALLET], "limit": limit})


async def test_attempts_stay_open_until_they_are_closed_and_their_trades_settled(trading: Desk) -> None:
    attempt = await claimed(trading)
    trade = fill("12")
    await trading.record(attempt["exchange_order_id"], "matched", closed=True, fills=[trade])
    (listed,) = (await open_attempts(trading))["attempts"]
    assert listed["exchange_order_id"] == attempt["exchange_order_id"]
    assert listed["signed_body"] == f'{{"order":"{attempt["exchange_order_id"]}"}}'
    assert (listed["reserve_usd"], listed["limit_price"], listed["filled_shares"]) == (
        "6.00",
        "0.51",
        "12.00",
    )
    await trading.record(attempt["exchange_order_id"], "matched", fills=[trade | {"state": "final"}])
    assert (await open_attempts(trading))["attempts"] == []


async def test_a_lost_order_is_watched_for_a_day(trading: Desk) -> None:
    attempt = await claimed(trading)
    await put(trading, attempt["exchange_order_id"], "lost")
    assert len((await open_attempts(trading))["attempts"]) == 1
    await trading.execute("update public.lt_config set value = '0 s' where key = 'lost_watch'")
    assert (await open_attempts(trading))["attempts"] == []


async def turned_away(desk: Desk) -> str:
    """The id of an attempt that was abandoned after its body had gone out, longer ago than it is watched for."""
    await desk.execute("update public.lt_config set value = '1 microsecond' where key = 'unsent_watch'")
    attempt = await claimed(desk)
    await desk.record(attempt["exchange_order_id"], "abandoned", sent_at="now()")
    return str(attempt["exchange_order_id"])


async def watched(desk: Desk) -> list[str]:
    return [attempt["exchange_order_id"] for attempt in (await open_attempts(desk))["attempts"]]


async def test_a_body_that_went_out_and_was_not_processed_is_watched_until_that_is_said_once_more(
    trading: Desk,
) -> None:
    order_id = await turned_away(trading)
    await trading.record((await claimed(trading))["exchange_order_id"], "abandoned")  # never went out
    assert await watched(trading) == [order_id]
    await trading.record(order_id, "abandoned", lookup="not_found", answered_at="now()")
    assert await watched(trading) == []


async def test_what_is_found_against_the_exchanges_own_word_is_watched_for_a_day(trading: Desk) -> None:
    order_id = await turned_away(trading)
    await trading.record(order_id, "abandoned", lookup="found", answered_at="now()")
    assert await watched(trading) == [order_id]
    await trading.execute("update public.lt_config set value = '0 s' where key = 'lost_watch'")
    assert await watched(trading) == []


async def test_the_attempt_that_waited_longest_for_a_look_comes_first(trading: Desk) -> None:
    ids = [(await claimed(trading))["exchange_order_id"] for _ in range(3)]
    for id_ in ids:
        await trading.record(id_, "unknown")
    await trading.record(
        ids[0], "unknown", answered_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    )
    page = await open_attempts(trading, limit=2)
    assert [attempt["exchange_order_id"] for attempt in page["attempts"]] == ids[1:]
    assert page["more"] is True
    assert (await open_attempts(trading, limit=3))["more"] is False


async def test_attempts_that_are_to_be_looked_at_later_take_nobodys_place(trading: Desk) -> None:
    first, second, third = [(await claimed(trading))["exchange_order_id"] for _ in range(3)]
    params = {"mode": trading.mode, "wallets": [WALLET], "limit": 1, "without": [first, "0xunheard"]}
    page = await trading.call("lt_open_attempts", params)
    assert [attempt["exchange_order_id"] for attempt in page["attempts"]] == [second]
    assert page["more"] is True
    page = await trading.call("lt_open_attempts", params | {"without": [first, second]})
    assert [attempt["exchange_order_id"] for attempt in page["attempts"]] == [third]
    assert page["more"] is False


async def test_records_of_one_attempt_told_at_once_book_each_trade_once(trading: Desk, database: str) -> None:
    attempt = await claimed(trading)
    trade = fill("12")
    desks = [await Desk.open(database) for _ in range(4)]
    answers = await asyncio.gather(
        *(desk.record(attempt["exchange_order_id"], "matched", closed=True, fills=[trade]) for desk in desks)
    )
    assert sorted(answer["changed"] for answer in answers) == [False, False, False, True]
    assert (await trading.order(attempt["lt_order_id"]))["shares_bought"] == Decimal(12)
    for desk in desks:
        await desk.close()


async def test_two_attempts_of_one_order_recorded_at_once_both_count(trading: Desk, database: str) -> None:
    signal = await trading.signal()
    first = await trading.claim(signal)
    await trading.record(first["exchange_order_id"], "killed")
    second = await trading.claim(signal, lt_order_id=first["lt_order_id"])
    other = await Desk.open(database)
    async with trading.connection.transaction():
        await trading.record(
            first["exchange_order_id"], "killed", fills=[fill("4")]
        )  # a trade nobody expected
        waiting = asyncio.create_task(
            other.record(second["exchange_order_id"], "matched", closed=True, fills=[fill("8")])
        )
        await eventually(trading.somebody_waits)
    assert (await waiting)["status"] == "FILLED"
    assert (await trading.order(first["lt_order_id"]))["shares_bought"] == Decimal(12)
    await other.close()
