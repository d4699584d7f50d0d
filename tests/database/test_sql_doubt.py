"""Outcomes that nobody knows: counted by their moments, given up by rule, the same in any order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.desk import Desk, Row, fill
from tests.support.doubt import START, at, in_doubt, listed, looked, posted, tell
from worker.orders.lifecycle import ALIVE, AttemptState, adopted, allowed
from worker.orders.ports import LostRule

T = LostRule().after.total_seconds()
N = LostRule().lookups


def looked_evenly(times: int, over_s: float) -> list[Row]:
    return [looked(1 + over_s * number / (times - 1)) for number in range(times)]


async def test_sends_and_lookups_are_counted_once_each_whatever_order_they_are_told_in(trading: Desk) -> None:
    told = [posted(0), looked(1), posted(2), looked(3), looked(4)]
    for order in (told, told[::-1], told + told, told[3:] + told[:3] + told[2:4]):
        async with trading.connection.transaction(force_rollback=True):
            answer = await tell(trading, await in_doubt(trading), *order)
            assert (answer["sends"], answer["not_found"]) == (2, 2)
            attempt = await listed(trading)
            assert (attempt["sends"], attempt["not_found"], attempt["barred"]) == (2, 2, False)
            seen = [
                datetime.fromisoformat(attempt[name])
                for name in ("sent_at", "not_found_since", "looked_up_at")
            ]
            assert seen == [START + timedelta(seconds=second) for second in (2, 3, 4)]


async def test_a_send_or_a_find_starts_the_count_of_not_found_anew(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    assert (await tell(trading, attempt, posted(0), looked(1), looked(2)))["not_found"] == 2
    assert (await tell(trading, attempt, posted(3)))["not_found"] == 0
    assert (await tell(trading, attempt, looked(4)))["not_found"] == 1
    assert (await tell(trading, attempt, looked(5, "found")))["not_found"] == 0
    assert (await tell(trading, attempt, looked(4.5), looked(6)))["not_found"] == 1
    assert datetime.fromisoformat((await listed(trading))["not_found_since"]) == START + timedelta(seconds=6)


async def test_lookups_after_a_takeover_count_although_no_send_was_ever_recorded(trading: Desk) -> None:
    answer = await tell(trading, await in_doubt(trading), looked(1), looked(2))
    assert (answer["sends"], answer["not_found"]) == (0, 2)


@pytest.mark.parametrize("record", [{"lookup": "perhaps", "answered_at": at(1)}, {"lookup": "not_found"}])
async def test_a_lookup_that_says_something_else_or_not_when_is_refused(trading: Desk, record: Row) -> None:
    attempt = await in_doubt(trading)
    with pytest.raises(psycopg.errors.RaiseException, match="a look-up of attempt"):
        await tell(trading, attempt, record)


async def test_a_body_that_was_barred_stays_barred(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, posted(0, barred=True), posted(1, barred=False), looked(2))
    assert (await listed(trading))["barred"] is True


async def test_the_answer_of_an_older_send_that_is_told_late_replaces_nothing(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, posted(5, answer={"status": "new"}), posted(0, answer={"status": "old"}))
    assert (await listed(trading))["answer"] == {"status": "new"}


async def test_an_open_attempt_says_when_its_signal_came(trading: Desk) -> None:
    came = START - timedelta(minutes=1)
    await trading.claim(await trading.signal(created_at=came))
    attempt = await listed(trading)
    assert (datetime.fromisoformat(attempt["signal_created_at"]), attempt["limit_price"]) == (came, "0.51")
    await trading.execute("update public.ft_orders set created_at = null")
    attempt = await listed(trading)
    assert attempt["signal_created_at"] == attempt["created_at"]


async def test_an_order_is_lost_when_enough_lookups_over_long_enough_found_nothing(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    looks = looked_evenly(N, T)
    answer = await tell(trading, attempt, posted(0), *looks[:-1], looks[-1] | {"state": "lost"})
    assert (answer["state"], answer["status"], answer["not_found"]) == ("lost", "LOST", N)


@pytest.mark.parametrize(
    "looks",
    [
        [],
        looked_evenly(N - 1, T),
        looked_evenly(N, T - 0.001),
        [*looked_evenly(N, T), posted(T + 2)],
        [*looked_evenly(N, T), looked(T + 2, "found")],
        [*looked_evenly(N, T)[:-1], looked(T + 2, "found"), looked(T + 3)],
    ],
    ids=[
        "no look-up",
        "one look-up too few",
        "a moment too early",
        "sent again",
        "found again",
        "found between",
    ],
)
async def test_an_order_is_not_given_up_before(trading: Desk, looks: Sequence[Row]) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, posted(0), *looks)
    with pytest.raises(psycopg.errors.RaiseException, match="not lost yet") as refusal:
        await tell(trading, attempt, {"state": "lost"})
    assert "lt_resolve" in str(refusal.value.diag.message_hint)
    assert (await listed(trading))["state"] == "unknown"
    assert (await trading.capital())["available_usd"] == "994.00"


@pytest.mark.parametrize("known", ["live", "delayed", "unmatched", "cancelling"])
async def test_what_is_known_to_exist_is_doubted_again_by_the_rule_alone(trading: Desk, known: str) -> None:
    attempt = await in_doubt(trading)
    *looks, last = looked_evenly(N, T)
    first = "live" if known == "cancelling" else known
    await tell(trading, attempt, posted(0), {"state": first}, {"state": known})
    answer = await tell(trading, attempt, posted(0.5))  # a POST of which nobody knows what became
    assert answer["state"] == known
    await tell(trading, attempt, *(look | {"state": known} for look in looks))
    with pytest.raises(psycopg.errors.RaiseException, match="not unknown yet"):
        await tell(trading, attempt, looks[-1])
    assert (await tell(trading, attempt, last))["state"] == "unknown"
    assert (await tell(trading, attempt, looked(T + 2, state="lost")))["status"] == "LOST"


async def test_an_order_that_was_given_up_and_is_cancelled_after_all_says_so(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, {"state": "lost", "decided_by": "operator"})
    answer = await tell(trading, attempt, looked(1, "found", "cancelled", closed=True, fills=[fill("4")]))
    assert (answer["state"], answer["status"], answer["late"]) == ("cancelled", "PARTIAL", True)
    for alive in sorted(ALIVE):
        with pytest.raises(psycopg.errors.RaiseException, match="cannot go from"):
            await tell(trading, attempt, looked(2, "found", alive))


async def test_an_order_with_a_trade_is_never_given_up_by_itself(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, {"fills": [fill("4")]}, *looked_evenly(N, T))
    with pytest.raises(psycopg.errors.RaiseException, match="it has trades"):
        await tell(trading, attempt, {"state": "lost"})


async def test_the_rule_is_the_databases_own_unless_a_record_brings_another(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    lost = looked(3, state="lost")
    await tell(trading, attempt, looked(1))
    for too_strict in ({"lost_after_lookups": 3}, {"lost_after_lookups": 2, "lost_after_s": "2.001"}):
        with pytest.raises(psycopg.errors.RaiseException, match="not lost yet"):
            await tell(trading, attempt, lost | {"lost_after_s": "0"} | too_strict)
    async with trading.connection.transaction(force_rollback=True):
        compressed = lost | {"lost_after_lookups": 2, "lost_after_s": "2"}
        assert (await tell(trading, attempt, compressed))["state"] == "lost"
    await trading.execute(
        "update public.lt_config set value = case key when 'lost_after' then '2 seconds' else '2' end"
        " where key in ('lost_after', 'lost_after_lookups')"
    )
    assert (await tell(trading, attempt, lost))["state"] == "lost"


async def test_the_database_and_the_worker_give_up_by_the_same_numbers(desk: Desk) -> None:
    configured = await desk.row(
        "select public.lt_setting('lost_after_lookups')::int as lookups, public.lt_setting('lost_after')::interval as after"
    )
    assert LostRule(**configured) == LostRule()


async def test_losing_frees_the_reservation_once(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    await tell(trading, attempt, *looked_evenly(N, T))
    assert (await trading.capital())["locked_usd"] == "6.00"
    answers = [await tell(trading, attempt, {"state": "lost"}) for _ in range(3)]
    assert [answer["changed"] for answer in answers] == [True, False, False]
    capital = await trading.capital()
    assert (capital["locked_usd"], capital["available_usd"]) == ("0.00", "1000.00")
    assert (await listed(trading))["state"] == "lost"  # and is watched


async def test_a_trade_of_an_order_that_was_given_up_is_booked_and_called_late(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    trade = fill("12")
    gone = await tell(trading, attempt, *looked_evenly(N, T), {"state": "lost"})
    found = {"state": "matched", "fills": [trade], "closed": True}
    answers = [gone, await tell(trading, attempt, found), await tell(trading, attempt, found)]
    assert [(answer["late"], answer["changed"]) for answer in answers] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    assert (await trading.order(attempt["lt_order_id"]))["shares_bought"] == Decimal(12)
    assert (await trading.capital())["locked_usd"] == "6.00"


async def test_only_a_trade_that_comes_after_the_end_is_late(trading: Desk) -> None:
    attempt = await in_doubt(trading)
    expected, surprise = fill("8"), fill("4")
    matched = {"state": "matched", "closed": True}
    told = [
        await tell(trading, attempt, matched | {"fills": [expected]}),
        await tell(trading, attempt, matched | {"fills": [expected | {"state": "final"}]}),
        await tell(trading, attempt, matched | {"fills": [expected, surprise]}),
    ]
    assert [answer["late"] for answer in told] == [False, False, True]
    assert (await trading.order(attempt["lt_order_id"]))["shares_bought"] == Decimal(12)


moments = st.integers(0, 40)
doubts = st.lists(
    st.one_of(
        st.builds(lambda second, barred: posted(second, barred=barred), moments, st.booleans()),
        st.builds(looked, moments, st.sampled_from(["found", "not_found"])),
    ),
    max_size=12,
)
any_order = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@any_order
@given(records=doubts, data=st.data())
async def test_doubt_comes_to_the_same_in_any_order(
    trading: Desk, records: list[Row], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(records + records[::2]))
    sends = {record["sent_at"] for record in records if "sent_at" in record}
    finds = {record["answered_at"] for record in records if record.get("lookup") == "found"}
    misses = {record["answered_at"] for record in records if record.get("lookup") == "not_found"}
    latest = max(map(datetime.fromisoformat, sends | finds), default=datetime.min.replace(tzinfo=UTC))
    since = sorted(moment for moment in map(datetime.fromisoformat, misses) if moment > latest)
    async with trading.connection.transaction(force_rollback=True):
        await tell(trading, await in_doubt(trading), *shuffled)
        attempt = await listed(trading)
    assert (attempt["sends"], attempt["not_found"]) == (len(sends), len(since))
    assert list(map(datetime.fromisoformat, attempt["not_found_times"])) == since
    assert attempt["barred"] is any(record.get("barred") for record in records)


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """What became of one order, as it is told in the order of time: sends, look-ups, trades and an end."""
    trades = [fill(shares) for shares in draw(st.lists(st.sampled_from(["1", "4", "7"]), max_size=3))]
    known = draw(st.integers(0, len(trades)))
    rule: Row = {"lost_after_lookups": 2, "lost_after_s": "16"}
    history = [posted(second) for second in range(draw(st.integers(1, 2)))]
    history += [looked(second) for second in range(10, 10 + 5 * draw(st.integers(0, 3)), 5)]
    end = draw(
        st.sampled_from(["none", "matched", "cancelled", "killed", "rejected", "lost", "lost, then matched"])
    )
    finished = {"fills": [trade | {"state": "final"} for trade in trades], "closed": True}
    match end:
        case "none":
            return history
        case "matched" | "cancelled":
            if draw(st.booleans()):
                history.append(looked(30, "found", "live", fills=trades[:known]))
            history.append(looked(35, "found", end, fills=trades))
            return [*history, looked(40, "found", end, **finished)]
        case "lost" | "lost, then matched":
            history.append(looked(30, state="lost", **rule))
            late = looked(40, "found", "matched", **finished)
            return [*history, late] if end != "lost" and trades else history
        case _:
            return [*history, posted(30, end)]


@any_order
@given(history=histories(), data=st.data())
async def test_news_in_any_order_end_alike_and_are_refused_as_the_worker_would_refuse_them(
    trading: Desk, history: list[Row], data: st.DataObject
) -> None:
    async def end_of(told: Sequence[Row]) -> Row:
        """The books after these records, each one that is refused told in vain."""
        async with trading.connection.transaction(force_rollback=True):
            attempt = await trading.claim(await trading.signal(order_time=START))
            state, accepted = AttemptState.SUBMITTING, list[Row]()
            for record in told:
                news = AttemptState(record["state"])
                if news is AttemptState.UNKNOWN and "lookup" not in record:
                    news = adopted(state, news)
                by_rule = news is not state and (
                    news is AttemptState.LOST
                    or (news is AttemptState.UNKNOWN and state is not AttemptState.SUBMITTING)
                )
                takes = allowed(state, news) and (not by_rule or may_be_lost([*accepted, record]))
                try:
                    async with trading.connection.transaction():
                        answer = await tell(trading, attempt, record)
                except psycopg.errors.RaiseException:
                    assert not takes, (state, record)
                else:
                    assert takes, (state, record)
                    assert answer["state"] == news
                    state, accepted = AttemptState(answer["state"]), [*accepted, record]
            books = await trading.row(
                "select a.state, a.closed_at is not null as closed, o.status, o.outcome, o.shares_bought"
                " from public.lt_order_attempts a join public.lt_orders o using (lt_order_id)"
            )
            assert books["closed"] or books["state"] in ALIVE | {"matched", "cancelled"}
            fills = await trading.rows(
                "select trade_id, shares, state from public.lt_fills order by trade_id"
            )
            return books | {"fills": fills, "capital": await trading.capital()}

    shuffled = data.draw(st.permutations(history + history[::2]))
    # Whoever looks an order up goes on until it is over: what was refused too early is told again.
    assert await end_of([*shuffled, *history]) == await end_of(history)


def may_be_lost(records: Sequence[Row]) -> bool:
    """The rule as the worker knows it, over whatever was accepted, with the numbers of `histories`."""
    if any(record.get("fills") for record in records):
        return False
    known = [
        record.get("sent_at") or record["answered_at"]
        for record in records
        if record.get("lookup") != "not_found"
    ]
    misses = {record["answered_at"] for record in records if record.get("lookup") == "not_found"}
    since = sorted(
        moment
        for moment in map(datetime.fromisoformat, misses)
        if moment > max(map(datetime.fromisoformat, known), default=START - timedelta(days=1))
    )
    rule = LostRule(lookups=2, after=timedelta(seconds=16))
    return bool(since) and rule.holds(len(since), since=since[0], until=since[-1])
