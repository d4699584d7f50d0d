"""Trading, or loudly not trading: judges the whole every second and tells systemd and the log.

The feed, the wallets, the exchange and the essential loops each report; the worst of them is the state. The
watchdog is fed only while the loops turn, so a worker that hangs is restarted.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass

import structlog

from worker.errors import ExchangeError
from worker.exchange.split import OpenExchange
from worker.execution.send import Sender
from worker.execution.wallets import Wallets
from worker.feed.watch import FeedWatch
from worker.observe.health import Health, Level
from worker.observe.metrics import Metrics
from worker.observe.notify import ServiceManager
from worker.orders.paper import mode_of
from worker.orders.reasons import SkipReason, Stage
from worker.orders.terms import Mode
from worker.supervision import Pulse

log = structlog.get_logger(__name__)

_JUDGE_EVERY_S = 1.0
_EXCHANGE_EVERY_S = 10.0
_MODES = [reason for reason in SkipReason if reason.stage is Stage.VENUE]


@dataclass(frozen=True, slots=True)
class Watched:
    wallets: Wallets
    sender: Sender
    exchange: OpenExchange
    pulse: Pulse
    feed: FeedWatch


class Watch:
    def __init__(
        self, watched: Watched, *, health: Health, service: ServiceManager, metrics: Metrics
    ) -> None:
        self._watched = watched
        self._health = health
        self._metrics = metrics
        self._service = service

    async def announce_ready(self) -> None:
        """Tell systemd once the feed is live or declared degraded."""
        await self._watched.feed.judged.wait()
        self._judge()
        sentence = self._health.sentence()
        while not self._service.ready(sentence):  # noqa: ASYNC110 - systemd says in no other way that it has read
            await asyncio.sleep(_JUDGE_EVERY_S)
        log.info("daemon.ready", feed=self._watched.feed.state, health=sentence)

    async def run(self) -> None:
        """Judge every second; tell what changed, and that the essential loops still turn."""
        logged = told = ""
        while True:
            self._judge()
            if (sentence := self._health.sentence()) != logged:
                log.info("health.changed", level=self._health.level, sentence=sentence)
                logged = sentence
            if sentence != told and self._service.status(sentence):
                told = sentence
            if not self._watched.pulse.still():
                self._service.alive()
            asleep_s = self._loop_s()
            await asyncio.sleep(_JUDGE_EVERY_S)
            self._metrics.event_loop_lag_s.observe(max(self._loop_s() - asleep_s - _JUDGE_EVERY_S, 0))

    async def run_exchange(self) -> None:
        while True:
            await asyncio.sleep(_EXCHANGE_EVERY_S)
            await self.ask_exchange()

    async def ask_exchange(self) -> None:
        """An exchange that is closed keeps the service up, and the service says so."""
        try:
            problems = " ".join((await self._watched.exchange.health()).problems())
        except ExchangeError as error:
            problems = str(error)
        level = Level.FAILING if problems else Level.OK
        if self._health.report("exchange", level, problems) and problems:
            log.error("exchange.unusable", problem=problems)

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()

    def _judge(self) -> None:
        self._watched.feed.judge()
        if still := self._watched.pulse.still():
            self._health.report("tasks", Level.FAILING, f"stands still: {', '.join(still)}")
        else:
            self._health.report("tasks", Level.OK)
        self._count_shut_doors()
        self._judge_wallets()

    def _count_shut_doors(self) -> None:
        modes = Counter(self._watched.sender.doors.modes.values())
        for mode in _MODES:
            self._metrics.doors_shut.labels(mode).set(modes[mode])

    def _judge_wallets(self) -> None:
        wallets = self._watched.wallets
        sender = self._watched.sender
        troubles = {**wallets.blind(), **wallets.troubles(), **sender.doors.shut, **sender.halted}
        tradable = set(wallets.held) - set(troubles)
        if real := {one for one in wallets.addresses if mode_of(one) is Mode.LIVE}:
            tradable &= real  # paper beside them is no consolation
        level = Level.OK if not troubles else Level.DEGRADED if tradable else Level.FAILING
        self._health.report("wallets", level, "; ".join(f"{one} {why}" for one, why in troubles.items()))
