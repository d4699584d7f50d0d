"""What every `Ledger` promises, asked of the one over Supabase: real PostgREST, real SQL. There is no fake ledger."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import structlog

from tests.support.desk import TOKEN
from tests.support.office import THE_STRATEGY, THE_WALLET, Office, a_fill
from tests.support.plans import envelope_of, plan_of, stages_now
from worker.database.ledger import SupabaseLedger
from worker.orders.amounts import Amounts, Reservation
from worker.orders.holdings import part_sold
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import (
    AttemptRecord,
    Decision,
    Granted,
    Lease,
    LeaseHeld,
    WalletBalance,
)
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.strategy import InvalidStrategy
from worker.orders.terms import (
    FtOrderId,
    Mode,
    Side,
    TokenId,
    WorkerId,
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
    assert (held.unsold_shares, held.settled_shares) == (Decimal(12), Decimal(12))
    assert (held.buying, held.selling) == (False, False)
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
    sold = replace(a_fill(envelope.order_id), side=Side.SELL, shares=Decimal(13), price=sale.limit_price)
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
