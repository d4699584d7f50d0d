"""The half of the worker that decides and executes, wired once; it does not know where signals come from.

`run` feeds it from the hearing half and the sweep, `run --backfill-only` from one walk through all that is left.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from worker import after, parts
from worker.adapters import FOREIGN_WINDOW_S
from worker.errors import ForeignWriter, SchemaError
from worker.handlers.decisions import DecisionWriter
from worker.handlers.ft_orders import Decided, SignalHandler
from worker.handlers.lookback import Lookback
from worker.handlers.reopening import Reopening
from worker.handlers.strategies import Strategies
from worker.orders.capital import Capital
from worker.orders.terms import Mode, OrderId, StrategyId, WalletAddress
from worker.settings import UnknownWallets
from worker.supervision import essential, restartable

log = structlog.get_logger(__name__)

_STRATEGY_REFRESH_S = 30.0
_WARM_CONNECTIONS = 4
_WARM_EVERY_S = 60.0
_HURRIED_DRAIN_S = 2.0  # for the record of an answer that is there already


class Trading:
    def __init__(
        self,
        ground: parts.Ground,
        *,
        on_decided: Callable[[Decided], None] = lambda _: None,
        on_due: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_due` hears when signals that were put off are due before their time."""
        self._ground = ground
        self._settings = ground.settings
        self._adapters = adapters = ground.adapters
        self.wallets = parts.make_wallets(ground)
        self.strategies = Strategies(
            adapters.ledger,
            ground.health,
            refresh_every_s=_STRATEGY_REFRESH_S,
            on_wallets=self._watch_purses,
        )
        adapters.ledger.tell_capital(self._heard)
        self.intake = parts.make_intake(ground, following=self.strategies.following)
        self.sender = parts.make_sender(ground, self.wallets)
        submitter = parts.make_submitter(ground, self.sender, self.wallets)
        self._pending = parts.make_pending(
            ground,
            self.sender,
            self.wallets,
            on_over=lambda: self._remainders.wake(),  # noqa: PLW0108 - they are made below
        )
        self._remainders = after.make_remainders(
            ground,
            strategies=self.strategies,
            wallets=self.wallets,
            submitter=submitter,
            on_answered=self._pending.follow,
        )
        self._reopening = Reopening(
            doors=self.sender.doors,
            strategies=self.strategies,
            ledger=adapters.ledger,
            clock=adapters.clock,
            metrics=ground.metrics,
            fresh_for_s=self._settings.signal.fresh_for_s,
            on_due=on_due,
        )
        self._resting = after.make_resting(ground, wallets=self.wallets, on_called_off=self._pending.wake)
        self._settlement = after.make_settlement(ground, wallets=self.wallets)
        self._bookkeeping = parts.make_bookkeeping(ground)
        self._marking = after.make_marking(ground, wallets=self.wallets)
        self._pruning = after.make_pruning(ground)
        self._writer = DecisionWriter(adapters.ledger)
        self._started = False
        self._handler = SignalHandler(
            parts.make_desk(
                ground,
                intake=self.intake,
                strategies=self.strategies,
                wallets=self.wallets,
                submitter=submitter,
                writer=self._writer,
                on_answered=self._answered,
                on_decided=on_decided,
            )
        )

    async def start(self, lookback: Lookback) -> datetime | None:
        """Everything that must be true before the first signal is served. Raises `WorkerError`.

        It takes leases on its way: whoever calls it calls `stop` too, however it ends. Returns from when on older
        signals were taken in on purpose.
        """
        schema = await checked_schema(self._ground)
        if self._settings.mode is Mode.LIVE:
            self.wallets.watch(wallet.address for wallet in self._settings.wallets)
            await self._refuse_company()
        await self.strategies.load()
        since = await lookback.open(self._adapters.ledger, self.strategies, self._adapters.clock)
        await self.wallets.refresh()
        async with self.wallets.kept():  # to look everything up may take longer than a lease lasts
            looked_up = await self._pending.recover()
        self._started = True
        log.info(
            "daemon.started",
            mode=self._settings.mode,
            strategies=len(self.strategies),
            wallets_held=len(self.wallets.held),
            attempts_looked_up=looked_up,
            schema=schema,
        )
        return since

    def tasks(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What must run for as long as signals are served, by name."""
        metrics = self._ground.metrics
        tasks = {
            name: essential(name, work)
            for name, work in {
                "signals": self._handler.run(),
                "decisions": self._writer.run(),
                "leases": self.wallets.keep_leases(),
                "balances": self.wallets.keep_balances(),
                "strategies": self.strategies.run(),
                "pending": self._pending.run(),
                "remainders": self._remainders.run(),
                "resting": self._resting.run(),
            }.items()
        }
        tasks["exchange-warmth"] = restartable("exchange-warmth", self._adapters.exchange.keep_warm, metrics)
        tasks["bookkeeping"] = restartable("bookkeeping", self._bookkeeping.run, metrics)
        tasks["reopening"] = restartable("reopening", self._reopening.run, metrics)
        if self._settings.marks.enabled:
            tasks["marking"] = restartable("marking", self._marking.run, metrics)
        if self._settings.pruning.enabled:
            tasks["pruning"] = restartable("pruning", self._pruning.run, metrics)
        tasks["settlement"] = restartable("settlement", self._settlement.run, metrics)
        tasks["database-warmth"] = restartable("database-warmth", self._keep_database_warm, metrics)
        tasks["market-events"] = restartable("market-events", self._follow_markets, metrics)
        for wallet in self.wallets.addresses:
            name = f"order-events {wallet}"
            tasks[name] = restartable(name, partial(self._follow_orders, wallet), metrics)
        return tasks

    async def stop(self, hurry: asyncio.Event) -> None:
        """Take nothing in any more, bring what is under way to its end (not for long once `hurry` is set), hand back
        the leases.
        """
        self.intake.close()
        self.sender.close()
        tell = log.info if self._started else log.debug  # of a start that fails its error tells
        tell("daemon.draining", orders_under_way=len(self.sender.in_flight))
        given_up = await self._drain(hurry)
        await self.wallets.release()
        tell("daemon.stopped", orders_given_up=given_up)

    def out_of_reach(self) -> list[tuple[StrategyId, Mode]]:
        """Strategies whose wallet, or purse, this worker may not decide for: another one holds it, or may."""
        unheld = set(self.wallets.troubles())
        if self._settings.unknown_wallets is UnknownWallets.LEAVE:
            purses = self.strategies.purses
            unheld |= {*self.strategies.wallets, *purses, *purses.values()} - set(self.wallets.addresses)
        return self.strategies.on(unheld)

    async def _drain(self, hurry: asyncio.Event) -> int:
        """Wait for what is under way, its answers recorded; returns how many orders were given up."""
        in_flight = self.sender.in_flight
        waiting = asyncio.create_task(in_flight.settled(), name="drain")
        hurried = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait(
            {waiting, hurried}, timeout=self._settings.stop_drain_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in (waiting, hurried):
            task.cancel()
        return await in_flight.drain(_HURRIED_DRAIN_S if hurry.is_set() else 0)

    async def _refuse_company(self) -> None:
        foreign = await self._adapters.foreign_orders()
        if foreign.count:
            raise ForeignWriter(
                f"{foreign.count} rows of lt_orders in the last {FOREIGN_WINDOW_S / 60:.0f} minutes were written by "
                "another executor: stop it, and start this worker when they are older than that."
            )

    async def _follow_orders(self, wallet: WalletAddress) -> None:
        async for order_id in self._adapters.exchange.order_events(wallet):
            self._pending.wake(order_id)

    async def _follow_markets(self) -> None:
        async for quote in self._adapters.exchange.channel.quotes():
            self._remainders.heard(quote)

    def _answered(self, order_id: OrderId) -> None:
        """It may be over already, with something left."""
        self._pending.follow(order_id)
        self._remainders.wake()

    async def _keep_database_warm(self) -> None:
        """Connections for a burst of claims, open and past their handshakes."""
        while True:
            await self._adapters.database.warm(_WARM_CONNECTIONS)
            await asyncio.sleep(_WARM_EVERY_S)

    def _heard(self, strategy_id: StrategyId, mode: Mode, capital: Capital) -> None:
        """A claim, or trades that were booked."""
        self.strategies.heard(strategy_id, mode, capital)
        self._marking.stir()

    def _watch_purses(self, addresses: Iterable[WalletAddress]) -> None:
        """On paper whatever a strategy trades from is ours: no key is needed. But a shadow goes with its wallet, where
        that is left to another worker.
        """
        purses, keyed = self.strategies.purses, {wallet.address for wallet in self._settings.wallets}
        leaves = self._settings.mode is Mode.LIVE and self._settings.unknown_wallets is UnknownWallets.LEAVE
        self.wallets.watch(
            one for one in addresses if one in purses and not (leaves and purses[one] not in keyed)
        )


async def checked_schema(ground: parts.Ground) -> str:
    """The schema's version. Raises `SchemaError` for the first thing that is wrong with it."""
    check = await ground.adapters.first_contact()
    if check.problems:
        first = check.problems[0]
        more = f" ({len(check.problems) - 1} more: run `polycopy-worker check`)" if check.problems[1:] else ""
        raise SchemaError(f"{first.thing}: {first.problem}; {first.fix}{more}.")
    return check.schema_version
