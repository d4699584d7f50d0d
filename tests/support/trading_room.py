"""A trading room for one test: the real ledger over Supabase, the real adapter over the simulated exchange, between
them every part of the worker that a test wants to drive by hand. Only lines and clocks can be made to misbehave.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import httpx

from tests.support.desk import Desk, Row
from tests.support.exchange_floor import Floor, open_floor
from worker.database.client import CallTiming, SupabaseDatabase
from worker.database.clock import DatabaseClock
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.exchange.lanes import Lanes
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.execution.doors import Closed
from worker.execution.resolve import DoubtPolicy, Resolver
from worker.execution.send import Sender
from worker.execution.submit import Executed, NotSent, Received, Submitter
from worker.execution.wallets import Wallets, WalletTiming
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan, decide
from worker.orders.policy import DecisionPolicy
from worker.orders.ports import Attempt, LostRule, Refused
from worker.orders.signal import Signal, parse_signal
from worker.orders.strategy import Strategy
from worker.orders.terms import FtOrderId, Mode, StrategyId, WorkerId
from worker.sandbox.supabase import SupabaseSandbox

POLICY = DecisionPolicy(
    mode=Mode.LIVE,
    fresh_for=timedelta(minutes=2),
    backfill_max_age=timedelta(days=1),
    min_tick_max_pct=Decimal(20),
    gtd_lifetime=timedelta(minutes=10),
)
# A machine that is busy with other things makes nobody impatient: answers that come are waited for.
PATIENT = CallTiming()
IMPATIENT = CallTiming(deadline_s=0.3)
PATIENT_SUBMIT_S = 10.0
# Nothing is sent again by itself: a test that wants it says so.
DOUBT = DoubtPolicy(
    resend_for=timedelta(0), sends_most=1, lost=LostRule(lookups=3, after=timedelta(milliseconds=200))
)
QUICK_LEASE = WalletTiming(
    lease_ttl_s=60.0, lease_margin_s=3.0, lease_renew_every_s=0.05, balance_refresh_every_s=0.05
)


class Line(httpx.AsyncBaseTransport):
    """The way to the database. It can be cut, and one function's calls can be held back."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self._cut = False
        self.on_cut: Callable[[bool], None] = lambda _: None
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._gates: dict[str, asyncio.Event] = {}
        self._answer_gates: dict[str, asyncio.Event] = {}
        self._losses: defaultdict[str, int] = defaultdict(int)

    @property
    def cut(self) -> bool:
        return self._cut

    @cut.setter
    def cut(self, cut: bool) -> None:
        self._cut = cut
        self.on_cut(cut)

    def hold(self, function: str) -> asyncio.Event:
        """Calls of this function wait until the event that is returned is set."""
        return self._gates.setdefault(function, asyncio.Event())

    def hold_answers(self, function: str) -> asyncio.Event:
        """Calls of this function are carried out, and their answers wait until the event is set."""
        return self._answer_gates.setdefault(function, asyncio.Event())

    def lose_answers(self, function: str, count: int) -> None:
        """The next `count` calls of this function are carried out, and their answers never arrive."""
        self._losses[function] = count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        function = request.url.path.rsplit("/", 1)[-1]
        self.calls[function] += 1
        if gate := self._gates.get(function):
            await gate.wait()
        if self.cut:
            raise httpx.ConnectError("the line is cut", request=request)
        response = await self._inner.handle_async_request(request)
        if gate := self._answer_gates.get(function):
            await gate.wait()
        if self._losses[function] > 0:
            self._losses[function] -= 1
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("the answer is lost", request=request)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Watch:
    """A monotonic clock whose owner was asleep for `slept_s`."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.slept_s


@dataclass
class TradingRoom:
    desk: Desk
    floor: Floor
    line: Line
    watch: Watch
    clock: DatabaseClock
    database: SupabaseDatabase
    ledger: SupabaseLedger
    rival: SupabaseLedger
    exchange: PolymarketExchange
    lanes: Lanes
    wallets: Wallets
    sender: Sender
    submitter: Submitter
    resolver: Resolver
    access: DatabaseAccess
    doubt: DoubtPolicy
    metrics: Metrics = field(default_factory=Metrics)

    def successor(self) -> "TradingRoom":
        """Another worker (`worker-b`) on the same exchange and database, which knows nothing of this one."""
        sender, wallets, submitter, resolver = _staff(
            self.rival, self.exchange, self.lanes, self.clock, self.metrics, self.doubt
        )
        wallets.watch([self.floor.wallet])
        return replace(
            self,
            ledger=self.rival,
            rival=self.ledger,
            wallets=wallets,
            sender=sender,
            submitter=submitter,
            resolver=resolver,
        )

    @contextmanager
    def impatient(self, submit_timeout_s: float) -> Iterator[None]:
        """Inside, whoever posts an order waits only so long for its answer."""
        usual = self.exchange._settings
        self.exchange._settings = usual.model_copy(update={"submit_timeout_s": submit_timeout_s})
        try:
            yield
        finally:
            self.exchange._settings = usual

    async def takes_over(self) -> None:
        """The lease of whoever holds the wallet ends, and this worker takes it."""
        await self.desk.execute("update public.lt_leases set expires_at = now() - interval '1 second'")
        await self.wallets.refresh()
        assert self.wallets.held

    async def signal(self, **columns: object) -> FtOrderId:
        """A good signal for the floor's market; `columns` make it another."""
        row: Row = {"condition_id": self.floor.condition_id, "token_label": "Yes"} | columns
        return FtOrderId(await self.desk.signal(**row))

    async def row(self, ft_order_id: FtOrderId) -> dict[str, Any]:
        """A signal's row as the database tells it."""
        work = await self.ledger.signal(ft_order_id)
        assert work is not None
        return dict(work.signal_row)

    async def strategy(self, strategy_id: str = "LT_ONE") -> Strategy:
        (found,) = (one for one in await self.ledger.strategies() if one.strategy_id == strategy_id)
        assert isinstance(found, Strategy), found
        return found

    async def plan(self, strategy_id: str = "LT_ONE", **columns: object) -> Plan:
        """What the worker would decide for a new signal."""
        signal = parse_signal(await self.row(await self.signal(**columns)))
        assert isinstance(signal, Signal), signal
        strategy = await self.strategy(strategy_id)
        market = await self.exchange.market(signal.condition_id)
        capital = await self.ledger.capital(StrategyId(strategy_id))
        plan = decide(signal, strategy, market, None, capital, POLICY, self.clock.now())
        assert isinstance(plan, Plan), plan
        return plan

    async def execute(
        self, plan: Plan, *, fresh_for: timedelta = timedelta(minutes=2)
    ) -> Executed | Refused | NotSent | Closed:
        now = self.clock.now()
        return await self.submitter.execute(
            plan, Received.now(self.clock), decided_at=now, fresh_until=now + fresh_for
        )

    async def executed(
        self, plan: Plan | None = None, *, fresh_for: timedelta = timedelta(minutes=2)
    ) -> Executed:
        result = await self.execute(plan or await self.plan(), fresh_for=fresh_for)
        assert isinstance(result, Executed), result
        return result

    async def attempts(self) -> list[Row]:
        """Every attempt in the database, oldest first."""
        return await self.desk.rows("select * from public.lt_order_attempts order by created_at")

    async def open_attempt(self) -> Attempt:
        (attempt,) = await self.ledger.open_attempts(self.floor.wallet, limit=10)
        return attempt

    def accepted(self) -> list[str]:
        """Ids of the orders that the exchange took, by its own journal."""
        return list(self.floor.venue.journal.accepted_ids())

    def posts(self) -> int:
        """How many orders were posted, accepted or not."""
        return len(self.floor.venue.journal.orders)


def _staff(
    ledger: SupabaseLedger,
    exchange: PolymarketExchange,
    lanes: Lanes,
    clock: DatabaseClock,
    metrics: Metrics,
    doubt: DoubtPolicy,
) -> tuple[Sender, Wallets, Submitter, Resolver]:
    """One worker's own parts, new every time: what dies with its process."""
    wallets = Wallets(exchange, ledger, clock, QUICK_LEASE)
    sender = Sender(exchange=exchange, ledger=ledger, wallets=wallets, clock=clock, metrics=metrics)
    submitter = Submitter(
        sender=sender,
        exchange=exchange,
        ledger=ledger,
        wallets=wallets,
        lane_of=lanes.submit,
        clock=clock,
        metrics=metrics,
    )
    resolver = Resolver(
        exchange=exchange, ledger=ledger, sender=sender, lane_of=lanes.submit, clock=clock, policy=doubt
    )
    return sender, wallets, submitter, resolver


def _wait_less_for_a_cut_line(database: SupabaseDatabase, cut: bool) -> None:  # noqa: FBT001 - the line's own word
    """No answer can come: a test need not wait for it as long as for one that only is late."""
    database._timing = IMPATIENT if cut else PATIENT


@asynccontextmanager
async def open_room(supabase: SupabaseSandbox, *, doubt: DoubtPolicy = DOUBT) -> AsyncIterator[TradingRoom]:
    """One strategy of $1,000 (`LT_ONE`), its wallet funded, leased and seen, and plenty on offer at $0.50."""
    access = DatabaseAccess.checked(supabase.url, supabase.service_role_key)
    line, watch, metrics = Line(), Watch(), Metrics()
    clock = DatabaseClock(monotonic_s=watch)
    desk = await Desk.open(supabase.dsn, mode="live")
    async with (
        open_floor(funds_usd=10_000) as floor,
        await SupabaseDatabase.open(access, clock=clock, timing=PATIENT, transport=line) as database,
    ):
        line.on_cut = partial(_wait_less_for_a_cut_line, database)
        floor.offer("0.50", "100000")
        await desk.strategy(wallet_address=floor.wallet)
        ledger = SupabaseLedger(database, mode=Mode.LIVE, worker=WorkerId("worker-a"))
        rival = SupabaseLedger(database, mode=Mode.LIVE, worker=WorkerId("worker-b"))
        lanes = Lanes(floor.settings)
        settings = floor.settings.model_copy(update={"submit_timeout_s": PATIENT_SUBMIT_S})
        exchange = await PolymarketExchange.open(settings, [floor.account], clock, lanes=lanes)
        sender, wallets, submitter, resolver = _staff(ledger, exchange, lanes, clock, metrics, doubt)
        wallets.watch([floor.wallet])
        await wallets.refresh()
        try:
            yield TradingRoom(
                desk=desk,
                floor=floor,
                line=line,
                watch=watch,
                clock=clock,
                database=database,
                access=access,
                ledger=ledger,
                rival=rival,
                exchange=exchange,
                lanes=lanes,
                wallets=wallets,
                sender=sender,
                submitter=submitter,
                resolver=resolver,
                doubt=doubt,
                metrics=metrics,
            )
        finally:
            await sender.in_flight.drain(0)
            await exchange.aclose()
            await desk.close()
