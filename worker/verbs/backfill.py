"""`run --backfill-only`: decide all that is left, once, say what it came to, and end. No feed and no sweep.

It decides and executes exactly as the running worker does, beside which it may run: the lease says whose a wallet is.
A dry run asks and judges the same, and writes and sends nothing.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from worker import parts
from worker.adapters import Adapters, open_adapters
from worker.errors import innermost
from worker.handlers.backfill import item_of
from worker.handlers.ft_orders import Decided, Outcome
from worker.handlers.intake import LaneName, Pair, insert_time
from worker.handlers.judge import Judge
from worker.handlers.lookback import Lookback
from worker.handlers.strategies import Strategies
from worker.observe.notify import ServiceManager
from worker.orders.ports import Work, WorkBatch
from worker.orders.reasons import SkipReason
from worker.orders.signal import parse_signal
from worker.orders.skips import Skip
from worker.orders.terms import Mode, StrategyId, Unserved, WalletAddress
from worker.settings import Settings
from worker.supervision import Stopping
from worker.trading import Trading, checked_schema
from worker.verbs.backfill_report import Report, Tally
from worker.verbs.offers import Offers

log = structlog.get_logger(__name__)

_PAGE = 500
_PAIRS_PER_PAGE = 20_000
_LOOK_AGAIN_S = 0.25
_JUDGED_AT_ONCE = 8

Bookmark = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Errand:
    lookback: Lookback
    dry_run: bool = False


async def work_off(settings: Settings, errand: Errand, tally: Tally) -> Report:
    """Until nothing is left that was not tried, until SIGTERM or SIGINT, or until it fails: the report says which.

    Raises `WorkerError` if it cannot even begin.
    """
    async with open_adapters(settings) as adapters:
        ground = parts.Ground.of(settings, adapters, ServiceManager())
        # Before this, a signal ends the process as it ends any other: nothing is held yet.
        return await carry_out(ground, errand, tally, Stopping.on_signals())


async def carry_out(ground: parts.Ground, errand: Errand, tally: Tally, stopping: Stopping) -> Report:
    """The errand on ground that is open, until a stop is asked for at the latest; else as `work_off`."""
    clock = ground.adapters.clock
    began_s = clock.monotonic()
    run = _DryRun(ground, errand, tally) if errand.dry_run else _Run(ground, errand, tally)
    failure: Exception | None = None
    try:
        await run.work(stopping)
    except Exception as error:  # the report tells it, and then it is raised
        if not tally.found:
            raise
        failure = innermost(error)
    return Report(
        tally,
        mode=ground.settings.mode,
        since=run.since,
        strategy_id=errand.lookback.strategy_id,
        dry_run=errand.dry_run,
        interrupted=stopping.asked.is_set() and not run.finished,
        elapsed_s=clock.monotonic() - began_s,
        left=run.left,
        elsewhere=frozenset(run.elsewhere),
        failure=failure,
    )


async def pages(ask: Callable[[Bookmark | None], Awaitable[WorkBatch]]) -> AsyncIterator[tuple[Work, ...]]:
    """All work there is, each pair once, page after page, newest first within a paper wallet.

    It ends in any case: a bookmark that does not move would bring the same page for ever.
    """
    bookmark: Bookmark | None = None
    while True:
        batch = await ask(bookmark)
        yield batch.work
        if batch.bookmark is None or batch.bookmark == bookmark:
            return
        bookmark = batch.bookmark


class _Run:
    """The walk that decides."""

    def __init__(self, ground: parts.Ground, errand: Errand, tally: Tally) -> None:
        self._clock = ground.adapters.clock
        self._ledger = ground.adapters.ledger
        self._errand = errand
        self._tally = tally
        self._trading = Trading(ground, on_decided=self._decided)
        self._offers = Offers()
        self.finished = False
        self.since: datetime | None = None
        self.left: Counter[StrategyId] = Counter()
        self.elsewhere: Collection[StrategyId] = ()

    async def work(self, stopping: Stopping) -> None:
        """To the end, or until a stop is asked for; what was begun by then is brought to its end in any case."""
        try:
            async with stopping.cuts_off():
                self.since = await self._trading.start(self._errand.lookback)
            if not stopping.asked.is_set():
                await self._walk(stopping)
        finally:
            await self._trading.stop(stopping.hurry)

    async def _walk(self, stopping: Stopping) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work, name=name) for name, work in self._trading.tasks().items()]
            async with stopping.cuts_off():
                await self._walk_to_the_end()
                self.finished = True
            for task in tasks:
                task.cancel()

    async def _walk_to_the_end(self) -> None:
        """Again and again, until a whole walk meets nothing but what was tried: places and lanes are few."""
        while True:
            offered, crowded = 0, bool(self._trading.intake.full())
            async for page in pages(self._ask):
                offered += sum(self._offer(work) for work in page)
                crowded = crowded or bool(self._trading.intake.full())
            if not offered and not crowded and not self._trading.intake.busy:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        self.elsewhere = sorted({strategy_id for strategy_id, _ in self._trading.out_of_reach()})
        async for page in pages(self._ask_for_everything):
            for work in page:
                self.left.update(one for one in work.strategy_ids if one not in work.deferrals)

    async def _ask(self, bookmark: Bookmark | None) -> WorkBatch:
        full = self._trading.intake.full()
        return await self._ask_without(bookmark, {*self._trading.out_of_reach(), *full})

    async def _ask_for_everything(self, bookmark: Bookmark | None) -> WorkBatch:
        return await self._ask_without(bookmark, ())

    async def _ask_without(self, bookmark: Bookmark | None, without: Collection[Unserved]) -> WorkBatch:
        return await self._ledger.work(
            limit=_PAGE,
            pairs=_PAIRS_PER_PAGE,
            bookmark=bookmark,
            strategy_id=self._errand.lookback.strategy_id,
            without=without,
        )

    def _offer(self, work: Work) -> int:
        """How many pairs of it were taken in: each is tried a few times, and never held on to for longer."""
        item = item_of(work, "backfill", self._clock)
        taken = 0
        for strategy_id in work.strategy_ids:
            key = (strategy_id, item.ft_order_id)
            if not self._offers.may(key):
                continue
            if self._trading.intake.offer(replace(item, strategy_ids=(strategy_id,)), fresh=False):
                if self._offers.offered(key):
                    self._tally.find(1)
                taken += 1
        return taken

    def _decided(self, decided: Decided) -> None:
        self._offers.decided(decided.pair.key, final=decided.outcome is not Outcome.DEFERRED)
        self._tally.note(decided)


class _DryRun:
    """The walk that only judges: no lease, no claim, no decision, no scope is written.

    It rests on the exchange alone, so it ends where that is silent: each further pair would wait for the same no.
    """

    left: Mapping[StrategyId, int] = {}
    elsewhere: Collection[StrategyId] = ()

    def __init__(self, ground: parts.Ground, errand: Errand, tally: Tally) -> None:
        self._ground = ground
        self._adapters: Adapters = ground.adapters
        self._errand = errand
        self._tally = tally
        self._judges: Mapping[Mode, Judge] = parts.make_judges(
            ground.settings, ground.adapters, has_key=self._has_key
        )
        self._strategies = Strategies(
            ground.adapters.ledger, ground.health, refresh_every_s=1.0, on_wallets=lambda _: None
        )
        self._places = asyncio.Semaphore(_JUDGED_AT_ONCE)
        self.finished = False
        self.since: datetime | None = None

    async def work(self, stopping: Stopping) -> None:
        async with stopping.cuts_off():
            await self._judge_all()
            self.finished = True

    async def _judge_all(self) -> None:
        await checked_schema(self._ground)
        await self._strategies.load()
        self._errand.lookback.check(self._strategies)
        self.since = self._errand.lookback.begins(self._adapters.clock)
        async for page in pages(self._ask):
            async with asyncio.TaskGroup() as group:
                for work in page:
                    item = item_of(work, "backfill", self._adapters.clock)
                    for strategy_id in work.strategy_ids:
                        self._tally.find(1)
                        group.create_task(self._judge_one(Pair(item, strategy_id, LaneName.BACKLOG)))

    async def _ask(self, bookmark: Bookmark | None) -> WorkBatch:
        ledger, strategy_id = self._adapters.ledger, self._errand.lookback.strategy_id
        if self.since is None:
            return await ledger.work(
                limit=_PAGE, pairs=_PAIRS_PER_PAGE, bookmark=bookmark, strategy_id=strategy_id
            )
        return await ledger.work_if_opened(
            since=self.since, limit=_PAGE, bookmark=bookmark, strategy_id=strategy_id
        )

    async def _judge_one(self, pair: Pair) -> None:
        strategy = self._strategies.get(pair.strategy_id)
        if strategy is None:
            return
        async with self._places:
            now = self._adapters.clock.now()
            mode = strategy.shadow_times.mode_at(insert_time(pair.item.row))
            judge, strategy = self._judges[mode], strategy.traded_in(mode)
            case = judge.first_look(parse_signal(pair.item.row), strategy, pair.deferral, now)
            verdict = case if isinstance(case, Skip) else await judge.verdict(case, now)
            if isinstance(verdict, Skip) and verdict.reason is SkipReason.EXCHANGE_UNREACHABLE:
                await self._adapters.exchange_health()  # a market may be silent alone
        if isinstance(verdict, Skip):
            outcome = Outcome.DEFERRED if verdict.deferred else Outcome.SKIPPED
            self._tally.note(Decided(pair, outcome, verdict.reason))
        else:
            self._tally.note(Decided(pair, Outcome.EXECUTED))

    def _has_key(self, wallet: WalletAddress) -> bool:
        return any(one.address == wallet for one in self._ground.settings.wallets)
