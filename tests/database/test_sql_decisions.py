"""Decisions: each is final once, whoever tells it, however often and however late."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.desk import Desk, ago


async def test_a_late_skip_never_overwrites_an_execution(trading: Desk) -> None:
    signal = await trading.signal()
    await trading.claim(signal)
    assert (await trading.decide(signal))["written"] == 0
    decision = await trading.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["reason"]) == ("executed", "executed")
    with pytest.raises(psycopg.errors.RaiseException, match="executed and final"):
        await trading.execute("update public.lt_decisions set state = 'skipped'")


async def test_a_skip_is_final(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    assert (await desk.decide(signal, reason="price_moved"))["written"] == 1
    assert (await desk.decide(signal, reason="market_closed"))["written"] == 0
    decision = await desk.decision(signal)
    assert decision is not None
    assert (decision["reason"], decision["value"], decision["limit_value"]) == ("price_moved", "0.61", "0.51")


async def test_what_waited_for_the_door_is_due_when_it_opens_and_nothing_else_is(desk: Desk) -> None:
    await desk.strategy()
    later = datetime.now(UTC) + timedelta(hours=1)
    put_off = {"state": "deferred", "retry_at": later.isoformat(), "expires_at": later.isoformat()}
    ages_s = {await desk.signal(created_at=ago(seconds=age_s)): age_s for age_s in (300, 10, 60)}
    for signal in ages_s:
        await desk.decide(signal, reason="exchange_restarting", **put_off)
    await desk.decide(await desk.signal(), reason="wallet_balance_unknown", **put_off)

    async def made_due(**changes: object) -> tuple[int, list[int]]:
        """How many, by its own word, and the ages of those that are work now, the youngest first."""
        asked = {"pairs": [{"strategy_id": "LT_ONE", "mode": desk.mode}], "reasons": ["exchange_restarting"]}
        due = (await desk.call("lt_make_due", asked | changes))["due"]
        return due, sorted(ages_s[signal] for signal in await desk.work_ids())

    assert await made_due(pairs=[{"strategy_id": "LT_ONE", "mode": "live"}]) == (0, [])
    assert await made_due(reasons=["exchange_disabled"]) == (0, [])
    assert await made_due(younger_than_s=5) == (0, [])
    assert await made_due(most=1, younger_than_s=120) == (1, [10])
    assert await made_due(younger_than_s=120) == (1, [10, 60])
    assert await made_due() == (1, [10, 60, 300])
    assert await made_due() == (0, [10, 60, 300])


async def test_a_deferral_may_change_and_its_tries_count_each_telling_once(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    first = {
        "state": "deferred",
        "reason": "market_not_ready",
        "retry_at": ago(seconds=9),
        "decided_at": ago(seconds=10),
    }
    second = first | {"retry_at": ago(seconds=1), "decided_at": ago(seconds=2)}
    written = [
        (await desk.decide(signal, received_at=ago(seconds=n), **told))["written"]
        for n, told in enumerate((first, first, second))
    ]
    assert written == [1, 0, 1]
    decision = await desk.decision(signal)
    assert decision is not None
    assert (decision["state"], decision["tries"]) == ("deferred", 2)
    assert (await desk.decide(signal))["written"] == 1
    final = await desk.decision(signal)
    assert final is not None
    assert (final["state"], final["retry_at"], final["expires_at"], final["tries"]) == (
        "skipped",
        None,
        None,
        3,
    )
    assert final["received_at"] == decision["received_at"]


async def test_what_is_unknown_is_counted_and_fails_nobody_elses_decision(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    told = {"state": "skipped", "reason": "price_moved"}
    pairs = [("LT_ONE", signal), ("LT_GONE", signal), ("LT_ONE", str(uuid.uuid4())), ("LT_ONE", "garbage")]
    decisions = [told | {"strategy_id": strategy, "ft_order_id": order} for strategy, order in pairs]
    answer = await desk.call("lt_decide", {"mode": "paper", "decisions": decisions})
    assert (answer["written"], answer["ignored"]) == (1, 3)


async def test_a_pair_that_is_in_no_scope_gets_no_decision(desk: Desk) -> None:
    await desk.strategy()
    await desk.strategy("LT_ELSEWHERE", ft_wallet_id="FT_TWO")
    signal, ancient = await desk.signal(), await desk.signal(created_at=ago(days=3))
    for strategy_id, ft_order_id in (("LT_ELSEWHERE", signal), ("LT_ONE", ancient)):
        answer = await desk.decide(ft_order_id, strategy_id)
        assert (answer["written"], answer["ignored"]) == (0, 1)
    assert await desk.rows("select from public.lt_decisions") == []


async def test_a_deferral_comes_to_its_end_though_its_scope_did(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    await desk.decide(signal, state="deferred", retry_at=ago(seconds=1))
    await desk.connection.execute("reset role")
    await desk.execute("update public.lt_config set value = '0 seconds' where key = 'horizon'")
    await desk.execute("update public.lt_strategies set is_active = false")
    assert await desk.work_ids() == [signal]
    assert (await desk.decide(signal))["written"] == 1


async def test_of_two_words_on_a_pair_in_one_batch_the_last_counts(desk: Desk) -> None:
    await desk.strategy()
    signal = await desk.signal()
    told = {"strategy_id": "LT_ONE", "ft_order_id": signal, "state": "skipped"}
    decisions = [told | {"reason": "price_moved"}, told | {"reason": "market_closed"}]
    answer = await desk.call("lt_decide", {"mode": "paper", "decisions": decisions})
    assert (answer["written"], answer["ignored"]) == (1, 0)
    decision = await desk.decision(signal)
    assert decision is not None
    assert decision["reason"] == "market_closed"


async def test_lt_decide_cannot_execute(desk: Desk) -> None:
    await desk.strategy()
    with pytest.raises(psycopg.errors.RaiseException, match="skipped and deferred only"):
        await desk.decide(await desk.signal(), state="executed")


async def test_batches_that_overlap_do_not_deadlock(desk: Desk, database: str) -> None:
    await desk.strategy()
    signals = [await desk.signal() for _ in range(40)]
    told = [
        {"strategy_id": "LT_ONE", "ft_order_id": signal, "state": "skipped", "reason": "price_moved"}
        for signal in signals
    ]
    desks = [await Desk.open(database) for _ in range(4)]
    answers = await asyncio.gather(
        *(
            each.call("lt_decide", {"mode": "paper", "decisions": told[::step]})
            for each, step in zip(desks, (1, -1, 1, -1), strict=True)
        )
    )
    assert sum(answer["written"] for answer in answers) == 40
    for each in desks:
        await each.close()
