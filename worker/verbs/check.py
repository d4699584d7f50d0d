"""Can this worker run as it is configured? Every part is asked once, and each answer comes with its fix.

Nothing is written and nothing is traded. A part that cannot be reached hides the ones behind it, so those are
reported as not asked rather than as fine.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from worker.adapters import FOREIGN_WINDOW_S, Adapters, OpenListener, make_listener, open_adapters
from worker.errors import DatabaseUnreachable, ExitCode, ForeignWriter, WorkerError
from worker.orders.paper import mode_of
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import Mode
from worker.settings import Settings
from worker.verbs.words import counted


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    thing: str
    grade: Grade
    detail: str
    exit_code: ExitCode | None = None  # of `run`, where the grade is FAIL

    @classmethod
    def failure(cls, thing: str, detail: str, exit_code: ExitCode = ExitCode.CONFIG_INVALID) -> "Finding":
        return cls(thing, Grade.FAIL, detail, exit_code)

    def as_json(self) -> dict[str, str | int]:
        """`exit_code` only where there is one."""
        return {name: value for name, value in asdict(self).items() if value is not None}


async def preflight(settings: Settings) -> AsyncIterator[Finding]:
    """Findings in the order in which the parts depend on each other."""
    yield Finding(
        "settings", Grade.OK, f"mode {settings.mode}, {counted(len(settings.wallets), 'wallet')} configured"
    )
    try:
        if (listener := make_listener(settings)) is not None:
            yield await _listener(listener)
        async with open_adapters(settings) as adapters:
            yield Finding(
                "keys", Grade.OK, "the database key is a service key; every wallet's key matches it"
            )
            async for finding in _database(settings, adapters):
                yield finding
            yield await _exchange(adapters)
    except WorkerError as error:
        yield Finding.failure("start", str(error), error.exit_code)


async def _listener(listener: OpenListener) -> Finding:
    """A warning at worst: signals come by the feed and by the sweep all the same."""
    try:
        await listener.probe()
    except DatabaseUnreachable as error:
        return Finding("SUPABASE_DB_URL", Grade.WARN, f"nothing is heard there: {error}")
    return Finding("SUPABASE_DB_URL", Grade.OK, "notices of inserted signals come back at once")


async def _database(settings: Settings, adapters: Adapters) -> AsyncIterator[Finding]:
    check = await adapters.first_contact()
    for problem in check.problems:
        yield Finding.failure(problem.thing, f"{problem.problem}; {problem.fix}")
    yield Finding("database", Grade.OK, f"schema {check.schema_version}, role {check.role}")
    strategies = [one for one in await adapters.ledger.strategies() if one.is_active]
    if not strategies:
        yield Finding("strategies", Grade.WARN, "none is active: activate one in lt_strategies")
    for strategy in strategies:
        for finding in _strategy(settings, strategy):
            yield finding
    foreign = await adapters.foreign_orders()
    if foreign.count:
        minutes = f"{FOREIGN_WINDOW_S / 60:.0f} minutes"
        detail = f"{counted(foreign.count, 'row')} of lt_orders in {minutes} not written by a worker: stop the other executor"
        if settings.mode is Mode.LIVE:
            yield Finding.failure("lt_orders", detail, ForeignWriter.exit_code)
        else:
            yield Finding("lt_orders", Grade.WARN, detail)


def _strategy(settings: Settings, strategy: Strategy | InvalidStrategy) -> Iterator[Finding]:
    keyed = {wallet.address for wallet in settings.wallets}
    match strategy:
        case InvalidStrategy():
            yield Finding(strategy.strategy_id, Grade.WARN, f"it will trade nothing: {strategy.problem}")
            return
        case Strategy() if (
            mode_of(strategy.trades_from) is Mode.LIVE and strategy.wallet_address not in keyed
        ):
            wallet = strategy.wallet_address
            yield Finding(strategy.strategy_id, Grade.WARN, f"no [[wallets]] block has its wallet {wallet}")
        case Strategy():
            detail = f"{strategy.order_type}, follows {strategy.ft_wallet_id}"
            if settings.mode is Mode.LIVE and strategy.shadow_mode:
                detail += ", on paper only (shadow_mode)"
            yield Finding(strategy.strategy_id, Grade.OK, detail)
    for setting in strategy.inert:
        yield Finding(strategy.strategy_id, Grade.WARN, f"{setting.sentence}; set it to NULL")


async def _exchange(adapters: Adapters) -> Finding:
    try:
        health = await adapters.exchange_health()
    except WorkerError as error:
        return Finding.failure("exchange", str(error), error.exit_code)
    if problems := health.problems():
        return Finding.failure("exchange", " ".join(problems))
    return Finding("exchange", Grade.OK, f"version {health.version}, clock within {abs(health.skew_s):.1f} s")
