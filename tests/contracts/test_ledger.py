"""What every `Ledger` promises, asked of the one over Supabase: real PostgREST, real SQL. There is no fake ledger."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from tests.support.desk import TOKEN, WALLET, Desk
from tests.support.plans import envelope_of, plan_of, stages_now
from worker.database.client import SupabaseDatabase
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.errors import DatabaseRefused
from worker.orders.amounts import Amounts, Reservation
from worker.orders.holdings import part_sold
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import (
    AttemptRecord,
    Decision,
    Envelope,
    Fill,
    Granted,
    Lease,
    LeaseHeld,
    Ledger,
    LookupFinding,
    LostRule,
    Refused,
    WalletBalance,
)
from worker.orders.reasons import SkipReason
from worker.orders.signal import Signal, parse_signal
from worker.orders.skips import Skip
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import (
    FtOrderId,
    Mode,
    OrderId,
    Side,
    StrategyId,
    TokenId,
    TradeId,
    WalletAddress,
    WorkerId,
)
from worker.sandbox.supabase import SupabaseSandbox

THE_WALLET = WalletAddress(WALLET)
THE_STRATEGY = StrategyId("LT_ONE")


@dataclass
class Office:
    """A ledger, another worker's, and the platform's side of the same database."""

    ledger: Ledger
    rival: Ledger
    desk: Desk

    async def strategy(self) -> Strategy:
        (strategy,) = await self.ledger.strategies()
        assert isinstance(strategy, Strategy), strategy
        return strategy

    async def signal(self, **columns: object) -> Signal:
        ft_order_id = FtOrderId(await self.desk.signal(**columns))
        work = await self.ledger.signal(ft_order_id)
        assert work is not None
        signal = parse_signal(work.signal_row)
        assert isinstance(signal, Signal), signal
        return signal

    async def lease(self, *, ttl_s: float = 30.0) -> Lease:
        lease = await self.ledger.lease(THE_WALLET, ttl_s=ttl_s)
        assert isinstance(lease, Lease), lease
        return lease

    async def executed(self, **columns: object) -> tuple[Granted, Envelope]:
        """A signal, claimed by a lease of this worker."""
        plan = plan_of(await self.signal(**columns), await self.strategy())
        envelope = envelope_of(plan)
        granted = await self.ledger.claim(plan, envelope, await self.lease(), stages_now())
        assert isinstance(granted, Granted), granted
        return granted, envelope


@pytest.fixture
async def office(supabase: SupabaseSandbox) -> AsyncIterator[Office]:
    access = DatabaseAccess.checked(supabase.url, supabase.service_role_key)
    desk = await Desk.open(supabase.dsn)
    await desk.strategy()
    async with await SupabaseDatabase.open(access) as database:
        ledger = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("worker-a"))
        rival = SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("worker-b"))
        await ledger.wallets_seen(WalletBalance(THE_WALLET, Decimal(1000), datetime.now(UTC)))
        try:
            yield Office(ledger, rival, desk)
        finally:
            await desk.close()


def a_fill(order_id: OrderId, *, state: FillState = FillState.PROVISIONAL, trade_id: str = "t-1") -> Fill:
    return Fill(
        trade_id=TradeId(trade_id),
        order_id=order_id,
        role="TAKER",
        side=Side.BUY,
        token_id=TokenId("1"),
        price=Decimal("0.50"),
        shares=Decimal("12.00"),
        fee_usd=Decimal("0.0123"),
        state=state,
        matched_at=datetime.now(UTC),
    )


def a_look(
    order_id: OrderId, answered_at: datetime, *, state: AttemptState = AttemptState.UNKNOWN
) -> AttemptRecord:
    """A look-up in which the exchange said "not found"."""
    return AttemptRecord(
        order_id, state, "looked up: not found", answered_at=answered_at, lookup=LookupFinding.NOT_FOUND
    )


async def test_strategies_come_with_their_wallet_and_their_capital(office: Office) -> None:
    strategy = await office.strategy()
    assert (strategy.strategy_id, strategy.wallet_address) == (THE_STRATEGY, THE_WALLET)
    assert strategy.ft_wallet is not None
    assert strategy.capital == await office.ledger.capital(THE_STRATEGY)
    assert strategy.capital.available_usd == Decimal("1000.00")


async def test_a_strategy_whose_row_contradicts_itself_comes_as_invalid(office: Office) -> None:
    await office.desk.execute("update public.lt_strategies set wallet_address = 'none'")
    (strategy,) = await office.ledger.strategies()
    assert isinstance(strategy, InvalidStrategy)


async def test_what_has_no_decision_is_work_newest_first_and_says_when_there_is_more(office: Office) -> None:
    now = datetime.now(UTC)
    ids = [await office.desk.signal(created_at=now - timedelta(minutes=age)) for age in (3, 1, 2)]
    batch = await office.ledger.work(limit=2)
    assert [work.signal_row["order_id"] for work in batch.work] == [ids[1], ids[2]]
    assert {work.strategy_ids for work in batch.work} == {(THE_STRATEGY,)}
    assert batch.more
    assert not (await office.ledger.work(limit=3)).more


async def test_a_signal_comes_back_with_its_numerics_exact(office: Office) -> None:
    signal = await office.signal(entry_price="0.1234", size="99999999.99")
    assert (signal.entry_price, signal.size_usd) == (Decimal("0.1234"), Decimal("99999999.99"))


@pytest.mark.parametrize("ft_order_id", [str(uuid.UUID(int=1)), "not an id"])
async def test_a_signal_that_is_not_there_is_none(office: Office, ft_order_id: str) -> None:
    assert await office.ledger.signal(FtOrderId(ft_order_id)) is None


async def test_a_signal_that_nobody_follows_is_none(office: Office) -> None:
    await office.desk.ft_wallet("FT_OTHER")
    assert await office.ledger.signal(FtOrderId(await office.desk.signal(wallet_id="FT_OTHER"))) is None


async def test_a_skip_is_written_once_and_ends_the_work(office: Office) -> None:
    signal = await office.signal()
    skip = Skip(SkipReason.PRICE_MOVED, value="0.61", limit="0.51", snapshot={"best_ask": "0.61"})
    decision = Decision(THE_STRATEGY, signal.ft_order_id, skip, stages_now())
    assert await office.ledger.decide([decision]) == 1
    assert await office.ledger.decide([decision]) == 0
    assert not (await office.ledger.work(limit=10)).work
    row = await office.desk.decision(signal.ft_order_id)
    assert row is not None
    assert (row["state"], row["reason"], row["value"], row["limit_value"]) == (
        "skipped",
        "price_moved",
        "0.61",
        "0.51",
    )


async def test_a_deferral_is_work_again_when_it_is_due(office: Office) -> None:
    now = datetime.now(UTC)
    for retry_in, due in ((timedelta(hours=1), False), (timedelta(0), True)):
        signal = await office.signal()
        skip = Skip(SkipReason.MARKET_NOT_READY, retry_at=now + retry_in, expires_at=now + timedelta(hours=2))
        assert (
            await office.ledger.decide([Decision(THE_STRATEGY, signal.ft_order_id, skip, stages_now())]) == 1
        )
        found = {work.signal_row["order_id"] for work in (await office.ledger.work(limit=10)).work}
        assert (signal.ft_order_id in found) is due


async def test_any_number_of_decisions_is_written_and_none_is_nothing(office: Office) -> None:
    assert await office.ledger.decide([]) == 0
    skip = Skip(SkipReason.PRICE_MOVED)
    decisions = [
        Decision(THE_STRATEGY, FtOrderId(await office.desk.signal()), skip, stages_now()) for _ in range(7)
    ]
    ledger = office.ledger
    assert isinstance(ledger, SupabaseLedger)
    ledger._settings = replace(ledger._settings, decisions_per_call=3)
    assert await ledger.decide(decisions) == 7


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


async def bought(office: Office) -> None:
    """Twelve shares, for good."""
    _, envelope = await office.executed()
    fills = (a_fill(envelope.order_id, state=FillState.FINAL),)
    await office.ledger.record(
        AttemptRecord(envelope.order_id, AttemptState.MATCHED, "matched", fills=fills, closed=True)
    )


async def test_holdings_are_what_a_strategy_has_and_what_the_trader_had_on_paper(office: Office) -> None:
    await bought(office)
    sale = await office.signal(side="SELL", entry_price="0.5015", size="3.00", order_time=datetime.now(UTC))
    held = await office.ledger.holdings(THE_STRATEGY, sale.ft_order_id, TokenId(TOKEN))
    assert (held.unsold_shares, held.settled_shares, held.under_way) == (Decimal(12), Decimal(12), False)
    assert part_sold(sale, held) == Decimal("0.5")


async def test_more_sold_than_bought_raises_the_alarm_and_pauses_the_strategy(office: Office) -> None:
    await bought(office)
    sale = replace(
        plan_of(await office.signal(side="SELL"), await office.strategy()),
        side=Side.SELL,
        bet_usd=Decimal(0),
        amounts=Amounts(12_000_000, 5_880_000, shares=Decimal(12)),
        reservation=Reservation(shares=Decimal(12)),
    )
    envelope = envelope_of(sale)
    assert isinstance(await office.ledger.claim(sale, envelope, await office.lease(), stages_now()), Granted)
    sold = replace(a_fill(envelope.order_id), side=Side.SELL, shares=Decimal(13))
    with structlog.testing.capture_logs() as logs:
        await office.ledger.record(
            AttemptRecord(envelope.order_id, AttemptState.MATCHED, "matched", fills=(sold,), closed=True)
        )
    (alarm,) = logs
    assert (alarm["event"], alarm["log_level"]) == ("strategy.frozen", "critical")
    assert alarm["why"].startswith("1.00 shares of ")
    assert (await office.strategy()).is_paused


async def test_a_lease_is_taken_renewed_and_held_against_others(office: Office) -> None:
    first = await office.lease()
    renewed = await office.lease()
    assert renewed.fence == first.fence
    assert renewed.deadline_s > first.deadline_s
    held = await office.rival.lease(THE_WALLET, ttl_s=30)
    assert isinstance(held, LeaseHeld)
    assert (held.holder, held.holder_mode) == (WorkerId("worker-a"), Mode.PAPER)
    assert held.expires_at > datetime.now(UTC) + timedelta(seconds=20)


async def test_a_released_lease_passes_on_with_a_higher_fence(office: Office) -> None:
    first = await office.lease()
    await office.ledger.release(first)
    await office.ledger.release(first)
    taken = await office.rival.lease(THE_WALLET, ttl_s=30)
    assert isinstance(taken, Lease)
    assert taken.fence > first.fence


async def test_the_deadline_of_a_lease_is_never_later_than_the_databases(office: Office) -> None:
    lease = await office.lease(ttl_s=30)
    row = await office.desk.row(
        "select extract(epoch from expires_at - clock_timestamp()) as left_s from public.lt_leases"
    )
    ledger = office.ledger
    assert isinstance(ledger, SupabaseLedger)
    left_s = lease.deadline_s - ledger._database.clock.monotonic()
    assert left_s <= float(row["left_s"]) + 0.001


async def test_older_news_of_a_balance_changes_nothing(office: Office) -> None:
    await office.ledger.wallets_seen(
        WalletBalance(THE_WALLET, Decimal("0.01"), datetime.now(UTC) - timedelta(minutes=1))
    )
    row = await office.desk.row("select collateral_usd from public.lt_wallets")
    assert row["collateral_usd"] == Decimal(1000)
