"""What every `Ledger` promises of attempts: a claim is granted once, and what became of it is recorded once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from tests.support.office import THE_STRATEGY, THE_WALLET, Office, a_fill
from tests.support.plans import envelope_of, plan_of, stages_now
from worker.errors import DatabaseRefused
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import (
    AttemptRecord,
    Decision,
    Granted,
    Lease,
    LookupFinding,
    LostRule,
    Refused,
)
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import (
    Mode,
    OrderId,
)


def a_look(
    order_id: OrderId, answered_at: datetime, *, state: AttemptState = AttemptState.UNKNOWN
) -> AttemptRecord:
    """A look-up in which the exchange said "not found"."""
    return AttemptRecord(
        order_id, state, "looked up: not found", answered_at=answered_at, lookup=LookupFinding.NOT_FOUND
    )


async def test_a_claim_is_granted_and_reserves_capital(office: Office) -> None:
    granted, envelope = await office.executed()
    assert not granted.replayed
    assert granted.capital.available_usd == Decimal("994.00")
    order = await office.desk.order(granted.lt_order_id)
    assert (order["status"], order["order_id"]) == ("PENDING", envelope.order_id)
    assert not (await office.ledger.work(limit=10)).work


async def test_words_that_no_database_can_store_keep_nothing_from_being_recorded(office: Office) -> None:
    odd, shown = "no\x00w\x1b\ud83d", "no\ufffdw\ufffd\ufffd"
    signal = await office.signal()
    skip = Skip(SkipReason.BAD_PRICE, value=odd, limit=odd, snapshot={"price": odd})
    assert await office.ledger.decide([Decision(THE_STRATEGY, signal.ft_order_id, skip, stages_now())]) == 1
    row = await office.desk.decision(signal.ft_order_id)
    assert row is not None
    assert (row["value"], row["limit_value"], row["snapshot"]) == (shown, shown, {"price": shown})
    _, envelope = await office.executed()
    record = AttemptRecord(envelope.order_id, AttemptState.UNKNOWN, odd, answer={"error": odd, "ids": [odd]})
    assert await office.ledger.record(record) is AttemptState.UNKNOWN


async def test_a_claim_whose_answer_was_lost_is_asked_again_and_granted_again(office: Office) -> None:
    plan = plan_of(await office.signal(), await office.strategy())
    envelope, lease, stages = envelope_of(plan), await office.lease(), stages_now()
    first = await office.ledger.claim(plan, envelope, lease, stages)
    again = await office.ledger.claim(plan, envelope, lease, stages)
    assert isinstance(first, Granted)
    assert again == replace(first, replayed=True)
    assert len(await office.ledger.open_attempts(THE_WALLET, limit=10)) == 1


async def test_another_order_for_the_same_pair_is_refused(office: Office) -> None:
    plan = plan_of(await office.signal(), await office.strategy())
    lease = await office.lease()
    assert isinstance(await office.ledger.claim(plan, envelope_of(plan), lease, stages_now()), Granted)
    refused = await office.ledger.claim(plan, envelope_of(plan), lease, stages_now())
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.ALREADY_EXECUTED
    assert refused.capital.available_usd == Decimal("994.00")


async def test_a_claim_without_the_lease_is_refused_and_the_pair_stays_work(office: Office) -> None:
    lease = await office.lease()
    await office.ledger.release(lease)
    assert isinstance(await office.rival.lease(THE_WALLET, ttl_s=30), Lease)
    plan = plan_of(await office.signal(), await office.strategy())
    refused = await office.ledger.claim(plan, envelope_of(plan), lease, stages_now())
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.LEASE_LOST
    assert len((await office.ledger.work(limit=10)).work) == 1


async def test_a_claim_on_other_numbers_than_the_tables_is_refused(office: Office) -> None:
    signal = replace(await office.signal(), entry_price=Decimal("0.4015"))
    plan = plan_of(signal, await office.strategy())
    refused = await office.ledger.claim(plan, envelope_of(plan), await office.lease(), stages_now())
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.SIGNAL_CHANGED
    assert "0.5015" in refused.value
    assert "0.4015" in refused.limit


async def test_a_claim_beyond_a_limit_is_refused_with_the_number_and_the_limit(office: Office) -> None:
    await office.desk.execute("update public.lt_strategies set max_order_size_usd = 5")
    plan = plan_of(await office.signal(), await office.strategy(), bet_usd="6.00")
    refused = await office.ledger.claim(plan, envelope_of(plan), await office.lease(), stages_now())
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.ABOVE_MAX_ORDER_SIZE
    assert (Decimal(refused.value), Decimal(refused.limit)) == (Decimal(6), Decimal(5))
    assert not (await office.ledger.work(limit=10)).work


async def test_every_refusal_of_the_database_is_a_reason_that_the_pipeline_knows(office: Office) -> None:
    await office.desk.execute("update public.lt_wallets set as_of = null, collateral_usd = null")
    plan = plan_of(await office.signal(), await office.strategy())
    refused = await office.ledger.claim(plan, envelope_of(plan), await office.lease(), stages_now())
    assert isinstance(refused, Refused)
    assert refused.reason is SkipReason.WALLET_BALANCE_UNKNOWN


async def test_an_open_attempt_comes_back_as_it_was_claimed(office: Office) -> None:
    plan = plan_of(await office.signal(), await office.strategy())
    body = '{"order":{"salt":12345678901234567890,"é":"\\u20ac"},"n":1.10}'
    envelope = envelope_of(plan, body=body)
    granted = await office.ledger.claim(plan, envelope, await office.lease(), stages_now())
    assert isinstance(granted, Granted)
    (attempt,) = await office.ledger.open_attempts(THE_WALLET, limit=10)
    assert attempt.envelope == envelope
    assert attempt.envelope.body == body
    assert (attempt.mode, attempt.strategy_id, attempt.lt_order_id, attempt.state, attempt.lookups) == (
        Mode.PAPER,
        THE_STRATEGY,
        granted.lt_order_id,
        AttemptState.SUBMITTING,
        0,
    )


async def test_a_record_books_trades_once_and_closes_when_it_says_so(office: Office) -> None:
    granted, envelope = await office.executed()
    record = AttemptRecord(
        order_id=envelope.order_id,
        state=AttemptState.MATCHED,
        note="matched",
        answer={"status": "matched"},
        fills=(a_fill(envelope.order_id),),
        sent_at=datetime.now(UTC),
        answered_at=datetime.now(UTC),
    )
    assert await office.ledger.record(record) is AttemptState.MATCHED
    assert await office.ledger.record(record) is AttemptState.MATCHED
    order = await office.desk.order(granted.lt_order_id)
    assert (order["status"], order["shares_bought"]) == ("FILLED", Decimal(12))
    assert len(await office.ledger.open_attempts(THE_WALLET, limit=10)) == 1
    final = replace(record, fills=(a_fill(envelope.order_id, state=FillState.FINAL),), closed=True)
    await office.ledger.record(final)
    assert not await office.ledger.open_attempts(THE_WALLET, limit=10)


async def test_a_step_backwards_is_refused_with_a_code(office: Office) -> None:
    _, envelope = await office.executed()
    killed = AttemptRecord(order_id=envelope.order_id, state=AttemptState.KILLED, note="no match")
    assert await office.ledger.record(killed) is AttemptState.KILLED
    with pytest.raises(DatabaseRefused) as caught:
        await office.ledger.record(replace(killed, state=AttemptState.LIVE))
    assert not caught.value.retryable
    assert caught.value.code


async def test_a_doubt_is_counted_once_however_often_it_is_told_and_comes_back_with_the_attempt(
    office: Office,
) -> None:
    _, envelope = await office.executed()
    sent_at = datetime.now(UTC)
    sent = AttemptRecord(
        envelope.order_id,
        AttemptState.UNKNOWN,
        "no_answer",
        sent_at=sent_at,
        answered_at=sent_at,
        barred=True,
    )
    looks = [a_look(envelope.order_id, sent_at + timedelta(seconds=second)) for second in (1, 2)]
    for record in (sent, *looks, sent, *looks):
        await office.ledger.record(record)
    (attempt,) = await office.ledger.open_attempts(THE_WALLET, limit=10)
    assert (attempt.sends, attempt.not_found, attempt.barred) == (1, 2, True)
    assert (attempt.sent_at, attempt.not_found_since, attempt.looked_up_at) == (
        sent_at,
        sent_at + timedelta(seconds=1),
        sent_at + timedelta(seconds=2),
    )
    assert attempt.limit_price == Decimal("0.51")
    assert attempt.signal_created_at is not None
    assert attempt.signal_created_at < attempt.created_at


async def test_an_order_is_given_up_by_the_rule_and_not_before(office: Office) -> None:
    granted, envelope = await office.executed()
    first = datetime.now(UTC)
    for minute in range(LostRule().lookups - 1):
        await office.ledger.record(a_look(envelope.order_id, first + timedelta(minutes=minute)))
    too_early = first + LostRule().after - timedelta(microseconds=1)
    with pytest.raises(DatabaseRefused, match="not lost yet"):
        await office.ledger.record(a_look(envelope.order_id, too_early, state=AttemptState.LOST))
    last = a_look(envelope.order_id, first + LostRule().after, state=AttemptState.LOST)
    assert await office.ledger.record(last) is AttemptState.LOST
    assert (await office.desk.order(granted.lt_order_id))["status"] == "LOST"
    assert (await office.ledger.capital(THE_STRATEGY)).available_usd == Decimal(1000)


@pytest.mark.parametrize(
    "by", [{"lost_rule": LostRule(lookups=1, after=timedelta(0))}, {"decided_by": "operator"}]
)
async def test_an_order_is_given_up_earlier_by_another_rule_or_by_a_human(
    office: Office, by: dict[str, Any]
) -> None:
    _, envelope = await office.executed()
    look = a_look(envelope.order_id, datetime.now(UTC))
    await office.ledger.record(look)
    assert await office.ledger.record(replace(look, state=AttemptState.LOST, **by)) is AttemptState.LOST


async def test_a_late_trade_raises_the_alarm(office: Office) -> None:
    _, envelope = await office.executed()
    await office.ledger.record(a_look(envelope.order_id, datetime.now(UTC)))
    await office.ledger.record(
        AttemptRecord(envelope.order_id, AttemptState.LOST, "given up", decided_by="operator")
    )
    fills = (a_fill(envelope.order_id),)
    with structlog.testing.capture_logs() as logs:
        matched = AttemptRecord(envelope.order_id, AttemptState.MATCHED, "matched", fills=fills, closed=True)
        assert await office.ledger.record(matched) is AttemptState.MATCHED
    assert [(entry["event"], entry["log_level"], entry["trade_ids"]) for entry in logs] == [
        ("fill.late", "critical", ["t-1"])
    ]


async def test_a_settled_trade_that_is_told_otherwise_raises_the_alarm(office: Office) -> None:
    _, envelope = await office.executed()
    matched = AttemptRecord(envelope.order_id, AttemptState.MATCHED, "matched")
    final, reversed_ = (
        a_fill(envelope.order_id, state=state) for state in (FillState.FINAL, FillState.REVERSED)
    )
    await office.ledger.record(replace(matched, fills=(final,)))
    with structlog.testing.capture_logs() as logs:
        await office.ledger.record(replace(matched, fills=(reversed_,)))
    assert [(entry["event"], entry["trade_ids"]) for entry in logs] == [("fill.contradicted", ["t-1"])]


async def test_a_trade_beyond_the_limit_raises_the_alarm(office: Office) -> None:
    _, envelope = await office.executed()
    bad = replace(a_fill(envelope.order_id), price=Decimal("0.99"))
    with structlog.testing.capture_logs() as logs:
        await office.ledger.record(
            AttemptRecord(envelope.order_id, AttemptState.MATCHED, "matched", fills=(bad,))
        )
    assert [(entry["event"], entry["trade_ids"]) for entry in logs] == [("fill.beyond_limit", ["t-1"])]
