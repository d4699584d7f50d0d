"""What the operator asks of the ledger, and what it says when the database is not as it should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.desk import CONDITION, TOKEN, USER, WALLET, Desk
from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction, ControlScope, Funnel, parse_equation
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.database.values import decimal_of, moment_text, rows_of, word_of
from worker.errors import CredentialError, DatabaseRefused, SchemaError
from worker.orders.lifecycle import AttemptState
from worker.orders.paper import PAPER_MARK, purse_of
from worker.orders.ports import Lease, WalletBalance
from worker.orders.reasons import SkipReason
from worker.orders.strategy import Strategy
from worker.orders.terms import Mode, OrderId, StrategyId, WalletAddress, WorkerId
from worker.sandbox.postgres import Postgres
from worker.sandbox.supabase import SupabaseSandbox


@asynccontextmanager
async def ledger_at(url: str, key: str) -> AsyncIterator[SupabaseLedger]:
    async with await SupabaseDatabase.open(DatabaseAccess(url=url, key=key)) as database:
        yield SupabaseLedger(database, mode=Mode.PAPER, worker=WorkerId("worker-a"))


@pytest.fixture
async def ledger(supabase: SupabaseSandbox) -> AsyncIterator[SupabaseLedger]:
    async with ledger_at(supabase.url, supabase.service_role_key) as ledger:
        yield ledger


@pytest.fixture
async def desk(supabase: SupabaseSandbox) -> AsyncIterator[Desk]:
    desk = await Desk.open(supabase.dsn)
    try:
        yield desk
    finally:
        await desk.close()


async def test_a_live_ledger_keeps_purses_on_paper(supabase: SupabaseSandbox, desk: Desk) -> None:
    wallet, purse = WalletAddress(WALLET), purse_of(StrategyId("LT_ONE"))
    modes = {wallet: Mode.LIVE, purse: Mode.PAPER}
    access = DatabaseAccess.checked(supabase.url, supabase.service_role_key)
    async with await SupabaseDatabase.open(access) as database:
        ledger = SupabaseLedger(database, mode=Mode.LIVE, worker=WorkerId("worker-a"))
        for address, mode in modes.items():
            lease = await ledger.lease(address, ttl_s=30)
            assert isinstance(lease, Lease)
            assert lease.mode is mode
        renewed = await ledger.leases(wallet, purse, ttl_s=30)
        assert {one: lease.mode for one, lease in renewed.items() if isinstance(lease, Lease)} == modes
        await ledger.wallets_seen(*(WalletBalance(one, Decimal(7), datetime.now(UTC)) for one in modes))
        assert await ledger.open_attempts(wallet, purse, limit=10) == []
        assert await ledger.open_attempts(limit=10) == []
        assert await ledger.remembered(OrderId(PAPER_MARK + "00" * 27)) is None
    seen = await desk.rows("select wallet_address, mode from public.lt_wallets where collateral_usd = 7")
    assert {row["wallet_address"]: row["mode"] for row in seen} == modes


async def test_a_migrated_project_has_no_problems(ledger: SupabaseLedger) -> None:
    check = await ledger.check()
    assert check.role == "service_role"
    assert check.problems == ()


async def test_a_problem_of_the_schema_comes_with_its_fix(ledger: SupabaseLedger, desk: Desk) -> None:
    await desk.connection.execute("reset role")
    await desk.execute("alter publication supabase_realtime drop table public.ft_orders")
    (problem,) = (await ledger.check()).problems
    assert problem.thing == "ft_orders"
    assert problem.fix == "alter publication supabase_realtime add table public.ft_orders"


async def test_a_project_without_our_schema_is_told_to_apply_it(
    cluster: Postgres, project_template: str
) -> None:
    async with (
        SupabaseSandbox.start(postgres=cluster, template=project_template) as project,
        ledger_at(project.url, project.service_role_key) as ledger,
    ):
        with pytest.raises(SchemaError, match=r"lt_worker_check.*apply supabase/migrations"):
            await ledger.check()


async def test_a_key_that_may_not_write_is_named_as_the_cause(supabase: SupabaseSandbox) -> None:
    async with ledger_at(supabase.url, supabase.anon_key) as ledger:
        with pytest.raises(CredentialError, match="SUPABASE_SERVICE_ROLE_KEY"):
            await ledger.check()


async def test_a_key_of_another_project_is_named_as_the_cause(supabase: SupabaseSandbox) -> None:
    async with ledger_at(supabase.url, supabase.service_role_key[:-4] + "AAAA") as ledger:
        with pytest.raises(CredentialError, match="PGRST301"):
            await ledger.check()


async def test_a_revoked_grant_is_named_as_the_cause(supabase: SupabaseSandbox, desk: Desk) -> None:
    await desk.connection.execute("reset role")
    await desk.execute("revoke all on public.lt_decisions from service_role")
    async with ledger_at(supabase.url, supabase.service_role_key) as ledger:
        with pytest.raises(SchemaError, match="permission denied for table lt_decisions"):
            await ledger.work(limit=10)


async def test_the_equation_counts_what_was_decided_and_what_was_not(
    ledger: SupabaseLedger, desk: Desk
) -> None:
    await desk.strategy()
    skipped = await desk.signal()
    await desk.signal(created_at=datetime.now(UTC) - timedelta(seconds=30))
    await desk.decide(skipped)
    equation = await ledger.equation()
    expected = Funnel(seen=2, executed=0, skipped=1, deferred=0, undecided=1, missed=1)
    assert equation.strategies == {(StrategyId("LT_ONE"), Mode.PAPER): expected}
    assert equation.total == expected
    assert equation.total.balanced
    recent = await ledger.equation(since=datetime.now(UTC) - timedelta(seconds=10))
    assert (recent.total.seen, recent.total.missed) == (1, 0)


@pytest.mark.parametrize(
    ("scope", "pauses"),
    [
        (ControlScope.everything(), True),
        (ControlScope.strategy(StrategyId("LT_ONE")), True),
        (ControlScope.strategy(StrategyId("LT_TWO")), False),
        (ControlScope.wallet(WalletAddress(WALLET.upper().replace("0X", "0x"))), True),
    ],
    ids=lambda value: getattr(value, "text", None),
)
async def test_a_switch_holds_for_its_scope_until_it_is_cleared(
    ledger: SupabaseLedger, desk: Desk, scope: ControlScope, *, pauses: bool
) -> None:
    await desk.strategy()

    async def switches() -> tuple[bool, bool]:
        (strategy,) = await ledger.strategies()
        assert isinstance(strategy, Strategy)
        return strategy.is_paused, strategy.is_killed

    await ledger.control(ControlAction.PAUSE, scope, reason="maintenance", actor="operator")
    await ledger.control(ControlAction.KILL, scope, reason="drill", actor="operator")
    assert await switches() == (pauses, pauses)
    await ledger.control(ControlAction.RESUME, scope, reason="done", actor="operator")
    assert await switches() == (False, pauses)
    await ledger.control(ControlAction.ARM, scope, reason="done", actor="operator")
    assert await switches() == (False, False)


async def test_a_scope_opened_on_purpose_takes_older_signals_in(ledger: SupabaseLedger, desk: Desk) -> None:
    await desk.strategy()
    now = datetime.now(UTC)
    old = await desk.signal(created_at=now - timedelta(days=3))
    assert not (await ledger.work(limit=10)).work
    await ledger.open_scope(
        since=now - timedelta(days=4), reason="backfill", strategy_id=StrategyId("LT_ONE")
    )
    found = (await ledger.work(limit=10, strategy_id=StrategyId("LT_ONE"))).work
    assert [work.signal_row["order_id"] for work in found] == [old]


async def test_orders_of_another_executor_are_seen(ledger: SupabaseLedger, desk: Desk) -> None:
    assert (await ledger.foreign_orders(window_s=60)).count == 0
    await desk.strategy()
    order = {
        "lt_order_id": "elsewhere",
        "strategy_id": "LT_ONE",
        "user_id": USER,
        "ft_wallet_id": "FT_ONE",
        "source_trade_id": "t",
        "condition_id": CONDITION,
        "token_id": TOKEN,
        "token_label": "Yes",
        "signal_price": "0.5",
        "signal_size_usd": "5",
        "status": "PENDING",
    }
    await desk.insert("lt_orders", order)
    foreign = await ledger.foreign_orders(window_s=60)
    assert foreign.count == 1
    assert foreign.orders[0]["lt_order_id"] == "elsewhere"


async def test_a_human_sees_the_evidence_and_ends_the_doubt(ledger: SupabaseLedger, desk: Desk) -> None:
    await desk.strategy()
    await desk.ready()
    signal = await desk.signal()
    claimed = await desk.claim(signal)
    order_id = OrderId(claimed["exchange_order_id"])
    await desk.record(order_id, "unknown")
    (evidence,) = await ledger.attempt(order_id[:12])
    assert (evidence.order_id, evidence.state) == (order_id, AttemptState.UNKNOWN)
    assert AttemptState.LOST in evidence.resolutions
    assert (evidence.reserved_usd, evidence.reserved_shares) == (Decimal(6), Decimal(0))
    assert evidence.signal is not None
    assert evidence.signal["order_id"] == signal
    assert (evidence.order["status"], evidence.fills, evidence.others) == ("PENDING", [], [])
    state = await ledger.resolve(order_id, AttemptState.LOST, reason="not on chain", actor="operator")
    assert state is AttemptState.LOST
    (evidence,) = await ledger.attempt(order_id)
    assert (evidence.resolutions, evidence.reserved_usd) == ((), Decimal(0))
    assert evidence.attempt["note"] == "resolved by operator: not on chain"
    with pytest.raises(DatabaseRefused, match="cannot be resolved"):
        await ledger.resolve(order_id, AttemptState.KILLED, reason="no", actor="operator")
    assert await ledger.attempt("0x00000000") == []


def test_a_number_that_is_not_text_is_refused_as_money() -> None:
    assert decimal_of({"usd": "0.10"}, "usd") == Decimal("0.10")
    for wrong in (0.1, Decimal("0.1"), 1, None, "NaN", "many"):
        with pytest.raises(SchemaError, match="apply supabase/migrations"):
            decimal_of({"usd": wrong}, "usd")


def test_an_answer_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(SchemaError, match="work="):
        rows_of({"work": [1]}, "work")
    with pytest.raises(SchemaError, match="reason='teapot'"):
        word_of({"reason": "teapot"}, "reason", SkipReason)
    with pytest.raises(SchemaError, match="total="):
        parse_equation({"now": "2026-01-02T03:04:05+00:00", "strategies": []})


def test_a_time_without_a_zone_never_leaves() -> None:
    with pytest.raises(ValueError, match="zone"):
        moment_text(datetime(2026, 1, 2, 3, 4, 5))  # noqa: DTZ001 - the point of the test
