"""Markets that have ended: their open orders are won or lost, once, and their money comes back.

Which markets have open orders is asked of the database, page by page; what is remembered between two rounds only paces
the questions. Each order is settled by a compare-and-set in the database, so whoever else resolves it, another worker or
the platform, does no harm. Whatever may still trade, or may still be taken back, is left for later.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import structlog

from worker.errors import WorkerError
from worker.execution.wallets import Wallets
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.orders.endings import Ending, UnsettledMarket, ask_again_after
from worker.orders.ports import Clock, Exchange, Ledger
from worker.orders.terms import ConditionId, Mode

log = structlog.get_logger(__name__)

_PAGE = 200
_ORDERS = 500  # of a market, in one call
_TOGETHER = 20  # markets between two pauses
_FAILING_AFTER = 3  # rounds without an answer

_Key: TypeAlias = tuple[ConditionId, Mode]


@dataclass(frozen=True, slots=True)
class SettlementPace:
    """A market is asked for every `least_s` about its end, more seldom the further away that is, up to `most_s`."""

    round_every_s: float
    least_s: float
    most_s: float
    markets_per_minute: int


class Settlement:
    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        wallets: Wallets,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        pace: SettlementPace,
        page: int = _PAGE,
    ) -> None:
        """At most `page` markets are read at once."""
        self._exchange = exchange
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._pace = pace
        self._page = page
        self._due_s: dict[_Key, float] = {}
        self._told: set[tuple[_Key, str]] = set()
        self._said_void: set[_Key] = set()
        self._failures = 0

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except WorkerError as error:
                self._fail(error)
            else:
                self._failures = 0
                self._health.report("settlement", Level.OK)
            await asyncio.sleep(self._pace.round_every_s)

    async def round(self) -> None:
        """Ask for every market that is due, and settle those that have ended. Raises `WorkerError`."""
        held = self._wallets.held
        bookmark: Mapping[Mode, ConditionId] | None = None
        seen: set[_Key] = set()
        while held:
            page = await self._ledger.unsettled_markets(*held, limit=self._page, bookmark=bookmark)
            seen |= {market.key for market in page.markets}
            await self._ask(self._due(page.markets))
            if (bookmark := page.bookmark) is None:
                break
        self._due_s = {market: due_s for market, due_s in self._due_s.items() if market in seen}
        self._told = {(market, what) for market, what in self._told if market in seen}
        self._said_void &= seen

    def _due(self, markets: Sequence[UnsettledMarket]) -> Sequence[UnsettledMarket]:
        now_s = self._clock.monotonic()
        return [market for market in markets if self._due_s.get(market.key, 0) <= now_s]

    async def _ask(self, markets: Sequence[UnsettledMarket]) -> None:
        for start in range(0, len(markets), _TOGETHER):
            some = markets[start : start + _TOGETHER]
            endings = await self._exchange.endings({one.condition_id: one.token_id for one in some})
            for market in some:
                wait = self._wait(market)
                ending = endings.get(market.condition_id)
                if ending is None or not ending.is_void:
                    self._said_void.discard(market.key)
                if ending is not None and await self._end(market, ending):
                    wait = timedelta(seconds=self._pace.least_s)
                self._due_s[market.key] = self._clock.monotonic() + wait.total_seconds()
            await asyncio.sleep(len(some) * 60 / self._pace.markets_per_minute)

    def _wait(self, market: UnsettledMarket) -> timedelta:
        least, most = timedelta(seconds=self._pace.least_s), timedelta(seconds=self._pace.most_s)
        return ask_again_after(market.ends_at, self._clock.now(), least=least, most=most)

    async def _end(self, market: UnsettledMarket, ending: Ending) -> bool:
        """Returns whether something of it is left to be settled soon."""
        match ending:
            case Ending(winner=None, is_void=False):
                return True
            case Ending(is_void=True, payout=None):
                self._alarm(
                    market,
                    "market.voided",
                    fix="its outcomes pay different parts: its orders stay open at cost until a human resolves them",
                )
                return False
            case Ending(is_void=True) if not self._is_void_for_good(market):
                return True
            case _:
                return await self._settle(market, ending)

    def _is_void_for_good(self, market: UnsettledMarket) -> bool:
        """Once it was said twice in a row: no place flags it, and prices of a listing may be about to change."""
        said_before = market.key in self._said_void
        self._said_void.add(market.key)
        return said_before

    async def _settle(self, market: UnsettledMarket, ending: Ending) -> bool:
        winner = "nobody" if ending.winner is None else ending.winner.outcome
        won = lost = 0
        while True:
            settled = await self._ledger.settle_market(
                market.condition_id, market.mode, ending, limit=_ORDERS
            )
            won, lost = won + settled.won, lost + settled.lost
            if not settled.has_more:
                break
        if won or lost:
            self._metrics.settled_orders.labels("won").inc(won)
            self._metrics.settled_orders.labels("lost").inc(lost)
            log.info(
                "market.settled",
                condition_id=market.condition_id,
                mode=market.mode,
                winner=winner,
                won=won,
                lost=lost,
                waiting=settled.waiting,
            )
        if settled.contradicted:
            self._alarm(
                market,
                "market.contradicted",
                orders=list(settled.contradicted),
                winner=winner,
                fix="somebody resolved them otherwise: compare them with the exchange, and correct their outcome",
            )
        return settled.waiting > 0

    def _alarm(self, market: UnsettledMarket, event: str, **words: object) -> None:
        """Once in the life of a process."""
        if (market.key, event) in self._told:
            return
        self._told.add((market.key, event))
        self._metrics.settlement_alarms.labels(event).inc()
        log.error(
            event, condition_id=market.condition_id, mode=market.mode, open_orders=market.orders, **words
        )

    def _fail(self, error: WorkerError) -> None:
        self._failures += 1
        self._metrics.task_failures.labels("settlement").inc()
        log.warning("settlement.failed", rounds=self._failures, error=str(error))
        if self._failures >= _FAILING_AFTER:
            self._health.report("settlement", Level.DEGRADED, f"ended markets are not settled: {error}")
