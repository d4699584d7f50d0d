"""The strategies that follow each paper wallet, as last read: fast to ask, never trusted for money.

Read at start, at once when the feed reports a change or a sweep sees one, and now and then for what changes without
a trace in these tables: the capital, which claims and records tell of in between. The claim checks pause, kill and limits again inside its transaction.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

import structlog

from worker.errors import WorkerError
from worker.observe.health import Health, Level
from worker.orders.capital import Capital
from worker.orders.ports import Ledger
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import FtWalletId, Mode, StrategyId, WalletAddress

log = structlog.get_logger(__name__)

_READ_AT_MOST_EVERY_S = 0.25


class Strategies:
    def __init__(
        self,
        ledger: Ledger,
        health: Health,
        *,
        refresh_every_s: float,
        on_wallets: Callable[[Iterable[WalletAddress]], None],
    ) -> None:
        self._ledger = ledger
        self._health = health
        self._refresh_every_s = refresh_every_s
        self._on_wallets = on_wallets
        self._by_id: dict[StrategyId, Strategy | InvalidStrategy] = {}
        self._by_ft_wallet: dict[FtWalletId, list[StrategyId]] = {}
        self._heard: dict[tuple[StrategyId, Mode], Capital] = {}  # since the last reading was begun
        self._stale = asyncio.Event()
        self._version = ""

    def get(self, strategy_id: StrategyId) -> Strategy | InvalidStrategy | None:
        return self._by_id.get(strategy_id)

    def following(self, ft_wallet_id: FtWalletId) -> Sequence[StrategyId]:
        return self._by_ft_wallet.get(ft_wallet_id, ())

    def __len__(self) -> int:
        return sum(strategy.is_active for strategy in self._by_id.values())

    @property
    def active(self) -> list[StrategyId]:
        return sorted(strategy_id for strategy_id, one in self._by_id.items() if one.is_active)

    @property
    def wallets(self) -> set[WalletAddress]:
        """Every wallet, or purse, that a valid strategy trades from now."""
        return {one.trades_from for one in self._valid}

    @property
    def purses(self) -> dict[WalletAddress, WalletAddress]:
        """The purses of all that were ever shadows, each with the wallet that its strategy names."""
        return {one.purse: one.wallet_address for one in self._valid if one.shadow_times}

    @property
    def _valid(self) -> list[Strategy]:
        return [one for one in self._by_id.values() if isinstance(one, Strategy)]

    def on(self, addresses: Collection[WalletAddress]) -> list[tuple[StrategyId, Mode]]:
        """The strategies of these wallets and purses, with the mode that each trades from them in."""
        return [
            (one.strategy_id, mode)
            for one in self._valid
            for mode, address in ((Mode.LIVE, one.wallet_address), (Mode.PAPER, one.purse))
            if address in addresses
        ]

    def changed(self) -> None:
        """Somebody changed a strategy, its paper wallet or a control: read them again now."""
        self._stale.set()

    def heard(self, strategy_id: StrategyId, mode: Mode, capital: Capital) -> None:
        """What a claim or a record says that the strategy owns now: what the next bets are sized by. The youngest holds."""
        if capital.is_older_than(self._heard.get((strategy_id, mode))):
            return
        self._heard[strategy_id, mode] = capital
        strategy = self._by_id.get(strategy_id)
        if (
            isinstance(strategy, Strategy)
            and strategy.shadow_times.mode is mode
            and not capital.is_older_than(strategy.capital)
        ):
            self._by_id[strategy_id] = replace(strategy, capital=capital)

    def seen(self, version: str) -> None:
        """A sweep saw this version of them: another one than before is a change that nobody reported."""
        if version != self._version:
            self._version = version
            self.changed()

    async def load(self) -> None:
        """Raises `DatabaseError`: no strategies and no answer are not the same thing."""
        # A change that is reported while the answer is on its way may not be in it: it asks for another reading.
        self._stale.clear()
        self._heard.clear()
        loaded = await self._ledger.strategies()
        by_ft_wallet: defaultdict[FtWalletId, list[StrategyId]] = defaultdict(list)
        for strategy in loaded:
            # One that was deactivated is still known, for the signals that it left undecided; it takes no new ones.
            if strategy.is_active:
                by_ft_wallet[strategy.ft_wallet_id].append(strategy.strategy_id)
            _tell(strategy, before=self._by_id.get(strategy.strategy_id))
        self._by_id = {strategy.strategy_id: strategy for strategy in loaded}
        for (strategy_id, mode), capital in tuple(self._heard.items()):
            self.heard(strategy_id, mode, capital)  # if it is younger than what was read
        self._by_ft_wallet = dict(by_ft_wallet)
        # Trading as it should, and not as somebody believes: a note, no trouble.
        self._health.report("settings", Level.OK, "; ".join(_inert_of(loaded)))
        self._on_wallets(self.wallets | self.purses.keys())

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._refresh_every_s):
                    await self._stale.wait()
            except TimeoutError:
                pass
            try:
                await self.load()
            except WorkerError as error:
                if self._health.report("strategies", Level.DEGRADED, f"not read: {error}"):
                    log.warning("strategies.not_read", error=str(error))
                self._stale.set()
                await asyncio.sleep(min(1.0, self._refresh_every_s))
            else:
                self._health.report("strategies", Level.OK)
                # The platform counts in these tables with every trade: not every count is a reading.
                await asyncio.sleep(_READ_AT_MOST_EVERY_S)


def _inert_of(strategies: Iterable[Strategy | InvalidStrategy]) -> list[str]:
    return [
        f"{one.strategy_id} {setting.sentence}"
        for one in strategies
        if isinstance(one, Strategy) and one.is_active
        for setting in one.inert
    ]


def _tell(strategy: Strategy | InvalidStrategy, before: Strategy | InvalidStrategy | None) -> None:
    """What stops a strategy by itself, and what does not stop it although it is set, is said once: when first read."""
    if isinstance(strategy, InvalidStrategy):
        if strategy != before:
            log.error("strategy.invalid", strategy_id=strategy.strategy_id, problem=strategy.problem)
        return
    known = before.inert if isinstance(before, Strategy) else ()
    for setting in strategy.inert:
        if setting not in known:
            log.warning("strategy.setting_inert", strategy_id=strategy.strategy_id, problem=setting.sentence)
    tripped_before = isinstance(before, Strategy) and before.breaker_active
    if strategy.breaker_active and not tripped_before:
        log.critical(
            "strategy.breaker_tripped",
            strategy_id=strategy.strategy_id,
            fix="it only sells from now on: look at its losses, then arm it with lt_arm",
        )
    elif tripped_before and not strategy.breaker_active:
        log.warning("strategy.armed", strategy_id=strategy.strategy_id)
