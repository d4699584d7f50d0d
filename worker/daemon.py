"""The composition root: builds every part, starts them in order, watches over them, and drains on stop.

Ready means: configured, the schema checked, leases taken, earlier attempts looked up, the backlog queued, and the
feed live or declared degraded. Trading begins before that, with the first signal that arrives.
"""

import asyncio
import signal
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

import structlog

from worker import parts
from worker.adapters import Adapters, open_adapters
from worker.errors import ForeignWriter, SchemaError
from worker.execution.steps import Observer
from worker.handlers.decisions import DecisionWriter
from worker.handlers.ft_orders import SignalHandler
from worker.handlers.strategies import Strategies
from worker.observe.notify import ServiceManager
from worker.orders.terms import Mode, StrategyId, WalletAddress
from worker.settings import Settings, UnknownWallets
from worker.supervision import essential, restartable

log = structlog.get_logger(__name__)

_STRATEGY_REFRESH_S = 5.0
_WARM_CONNECTIONS = 4
_WARM_EVERY_S = 60.0
_FOREIGN_WINDOW_S = 300.0
_HURRIED_DRAIN_S = 2.0  # for the record of an answer that is there already


class Daemon:
    """Everything that runs in the process, wired once."""

    def __init__(self, settings: Settings, adapters: Adapters, service: ServiceManager) -> None:
        ground = parts.Ground.of(settings, adapters, service)
        self._settings = settings
        self._adapters = adapters
        self._service = service
        self.metrics = ground.metrics
        self.health = ground.health
        self._wallets = parts.make_wallets(ground)
        self._strategies = Strategies(
            adapters.ledger,
            self.health,
            refresh_every_s=_STRATEGY_REFRESH_S,
            on_wallets=self._watch_paper_wallets,
        )
        self._intake = parts.make_intake(ground, following=self._strategies.following)
        self._sender = parts.make_sender(ground, self._wallets)
        self._pending = parts.make_pending(ground, self._sender, self._wallets)
        self._writer = DecisionWriter(adapters.ledger)
        self._handler = SignalHandler(
            parts.make_desk(
                ground,
                intake=self._intake,
                strategies=self._strategies,
                wallets=self._wallets,
                submitter=parts.make_submitter(ground, self._sender, self._wallets),
                writer=self._writer,
                pending=self._pending,
            )
        )
        self._hearing = parts.make_hearing(
            ground, intake=self._intake, strategies=self._strategies, without=self._out_of_reach
        )
        self._watch = parts.make_watch(
            ground, wallets=self._wallets, sender=self._sender, feed_watch=self._hearing.watch
        )

    async def start(self) -> None:
        """Everything that must be true before the first signal is served. Raises `WorkerError`."""
        check = await self._adapters.first_contact()
        if check.problems:
            first = check.problems[0]
            more = (
                f" ({len(check.problems) - 1} more: run `polycopy-worker check`)"
                if check.problems[1:]
                else ""
            )
            raise SchemaError(f"{first.thing}: {first.problem}; {first.fix}{more}.")
        if self._settings.mode is Mode.LIVE:
            self._wallets.watch(wallet.address for wallet in self._settings.wallets)
            await self._refuse_company()
        await self._strategies.load()
        await self._wallets.refresh()
        await self._watch.ask_exchange()
        async with self._wallets.kept():  # to look everything up may take longer than a lease lasts
            looked_up = await self._pending.recover()
        log.info(
            "daemon.started",
            mode=self._settings.mode,
            strategies=len(self._strategies),
            wallets_held=len(self._wallets.held),
            attempts_looked_up=looked_up,
            schema=check.schema_version,
        )

    async def _refuse_company(self) -> None:
        """Two executors on one table would trade every signal twice."""
        foreign = await self._adapters.ledger.foreign_orders(window_s=_FOREIGN_WINDOW_S)
        if foreign.count:
            raise ForeignWriter(
                f"{foreign.count} rows of lt_orders in the last {_FOREIGN_WINDOW_S / 60:.0f} minutes were written by "
                "another executor: stop it, and start this worker when they are older than that."
            )

    async def run(self, stop: asyncio.Event, hurry: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain, but not for long once `hurry` is set.

        A failed essential task ends it with that task's error.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work, name=name) for name, work in self._tasks().items()]
                await stop.wait()
                self._service.stopping("draining")
                self._intake.close()
                for task in tasks:
                    task.cancel()
        finally:
            under_way = len(self._sender.in_flight)
            log.info("daemon.draining", orders_under_way=under_way)
            given_up = await self._drain(hurry)
            await self._wallets.release()
            log.info("daemon.stopped", orders_given_up=given_up)

    async def _drain(self, hurry: asyncio.Event) -> int:
        """Wait for what is under way, its answers recorded; returns how many orders were given up."""
        in_flight = self._sender.in_flight
        waiting = asyncio.create_task(in_flight.settled(), name="drain")
        hurried = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait(
            {waiting, hurried}, timeout=self._settings.stop_drain_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (waiting, hurried):
            task.cancel()
        return await in_flight.drain(_HURRIED_DRAIN_S if hurry.is_set() else 0)

    def _tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        tasks: dict[str, Coroutine[Any, Any, None]] = {}
        for name, work in {
            "signals": self._handler.run(),
            "decisions": self._writer.run(),
            "leases": self._wallets.keep_leases(),
            "balances": self._wallets.keep_balances(),
            "strategies": self._strategies.run(),
            "pending": self._pending.run(),
            "sweep": self._hearing.sweep.run(),
            "watch": self._watch.run(),
        }.items():
            tasks[name] = essential(name, work)
        tasks["exchange-warmth"] = restartable(
            "exchange-warmth", self._adapters.exchange.keep_warm, self.metrics
        )
        tasks["database-warmth"] = restartable("database-warmth", self._keep_database_warm, self.metrics)
        tasks["exchange-health"] = restartable("exchange-health", self._watch.run_exchange, self.metrics)
        tasks["ready"] = self._start_serving()
        if self._settings.feed.enabled:
            tasks["feed"] = restartable("feed", self._hearing.feed.run, self.metrics)
            tasks["canary"] = restartable("canary", self._hearing.canary.run, self.metrics)
        for wallet in self._wallets.addresses:
            name = f"order-events {wallet}"
            tasks[name] = restartable(name, partial(self._follow_orders, wallet), self.metrics)
        return tasks

    async def _start_serving(self) -> None:
        await self._hearing.sweep.once("start")
        await self._watch.announce_ready()

    # --- what happens when ... --------------------------------------------------------------------------------

    async def _follow_orders(self, wallet: WalletAddress) -> None:
        async for order_id in self._adapters.exchange.order_events(wallet):
            self._pending.wake(order_id)

    async def _keep_database_warm(self) -> None:
        """Connections for a burst of claims, open and past their handshakes."""
        while True:
            await self._adapters.database.warm(_WARM_CONNECTIONS)
            await asyncio.sleep(_WARM_EVERY_S)

    def _watch_paper_wallets(self, addresses: Iterable[WalletAddress]) -> None:
        """On paper every wallet that a strategy names can be traded: no key is needed."""
        if self._settings.mode is Mode.PAPER:
            self._wallets.watch(addresses)

    def _out_of_reach(self) -> list[StrategyId]:
        """Strategies whose wallet this worker may not send for now: another one holds it, or a human has to act."""
        unheld = {*self._wallets.troubles(), *self._sender.halted}
        if self._settings.unknown_wallets is UnknownWallets.LEAVE:
            unheld |= self._strategies.wallets - set(self._wallets.addresses)
        return self._strategies.of_wallets(unheld)


async def serve(settings: Settings, *, observer: Observer | None = None) -> None:
    """The whole life of `polycopy-worker run`: open, start, serve until SIGTERM or SIGINT, drain.

    A second signal stops waiting for the exchange: what is under way may stay in doubt, and is looked up at the next
    start. `observer` hears of every step that crosses to the database or the exchange (`execution/steps.py`).
    """
    stop, hurry = asyncio.Event(), asyncio.Event()

    def asked_to_stop() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)
    async with open_adapters(settings) as opened:
        daemon = Daemon(settings, opened.stepped(observer), ServiceManager())
        await daemon.start()
        await daemon.run(stop, hurry)
