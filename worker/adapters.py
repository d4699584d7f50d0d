"""The outside world, opened: Supabase and an exchange, as the settings say. What `run` and `check` share.

The only place that chooses between the real order book and the paper one, and the only one that reads keys.
"""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from worker.database.client import CallTiming, SupabaseDatabase
from worker.database.clock import DatabaseClock
from worker.database.controls import ForeignOrders, SchemaCheck
from worker.database.keys import DatabaseAccess
from worker.database.ledger import SupabaseLedger
from worker.errors import (
    ConfigError,
    CredentialError,
    DatabaseRefused,
    DatabaseUnreachable,
    ExchangeError,
    ExchangeMalformed,
    ExchangeRefused,
    ExchangeUnreachable,
    MarketNotFound,
    WorkerError,
)
from worker.exchange.lanes import Lanes
from worker.exchange.market_data import MarketData, VenueHealth
from worker.exchange.paper import PaperExchange, Recall
from worker.exchange.signer import Account
from worker.exchange.split import OpenExchange, SplitExchange
from worker.execution.steps import Observer, stepped
from worker.observe.log import hide
from worker.orders.terms import FtOrderId, Mode, WorkerId
from worker.settings import Settings, wallet_key

FOREIGN_WINDOW_S: Final = 300.0


class OpenListener(Protocol):
    """A connection of PostgreSQL's own that hears of inserted signals."""

    async def run(self) -> None:
        """Listens until cancelled."""
        ...

    async def probe(self) -> None:
        """Connect, hear one notice, and leave. Raises `DatabaseUnreachable` saying what does not work."""
        ...


@dataclass(frozen=True, slots=True)
class Adapters:
    """The outside world, opened: what `run` and `check` share."""

    clock: DatabaseClock
    database: SupabaseDatabase
    ledger: SupabaseLedger
    paper_ledger: SupabaseLedger  # the numbers of what is traded on paper: another one only in a live worker
    exchange: OpenExchange
    lanes: Lanes
    access: DatabaseAccess
    settings: Settings

    def stepped(self, observer: Observer | None) -> "Adapters":
        """The same, with every call of its two ports told to the observer."""
        return replace(
            self,
            ledger=stepped(self.ledger, "ledger", observer),
            paper_ledger=stepped(self.paper_ledger, "ledger", observer),
            exchange=stepped(self.exchange, "exchange", observer),
        )

    async def first_contact(self) -> SchemaCheck:
        """What the database says of its schema. Raises `DatabaseUnreachable` naming the address that is silent,
        and `ConfigError` where somebody else answers.
        """
        try:
            return await self.ledger.check(deadline_s=self.settings.start_patience_s)
        except DatabaseUnreachable as error:
            raise DatabaseUnreachable(
                f"Supabase at {self.access.url} does not answer: check SUPABASE_URL and the network ({_inner(error)})."
            ) from error
        except DatabaseRefused as error:
            raise ConfigError(
                f"What answers at {self.access.url} is no Supabase project with the worker's schema: check "
                f"SUPABASE_URL, and apply supabase/migrations ({_inner(error)})."
            ) from error

    async def foreign_orders(self) -> ForeignOrders:
        """What another executor has written lately: two on one table would trade every signal twice."""
        return await self.ledger.foreign_orders(window_s=FOREIGN_WINDOW_S)

    async def exchange_health(self) -> VenueHealth:
        """What the exchange says of itself. Raises `ExchangeUnreachable` naming the address that is silent, and
        `ConfigError` where somebody else answers.
        """
        async with _recognised(self.settings.exchange.clob_url):
            return await self.exchange.health()


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[tuple[SupabaseDatabase, DatabaseAccess]]:
    """Connect to Supabase alone: for whoever only looks, or turns a switch. Raises `CredentialError`, `ConfigError`."""
    access = DatabaseAccess.checked(settings.supabase_url, settings.supabase_key.get_secret_value())
    hide(access.key)
    timing = CallTiming(read_s=settings.database_timeout_s, call_s=settings.database_timeout_s + 1.0)
    async with await SupabaseDatabase.open(access, clock=DatabaseClock(), timing=timing) as database:
        yield database, access


@asynccontextmanager
async def open_adapters(settings: Settings) -> AsyncIterator[Adapters]:
    """Connect to Supabase and to the exchange. Raises the `WorkerError` that says what is wrong and how to mend it."""
    lanes = Lanes(settings.exchange)
    async with open_database(settings) as (database, access):
        clock = database.clock
        worker = _identity(settings)
        ledger = SupabaseLedger(database, mode=settings.mode, worker=worker)
        paper_ledger = SupabaseLedger(database, mode=Mode.PAPER, worker=worker, worker_mode=settings.mode)
        exchange = await _open_exchange(settings, clock, lanes, paper_ledger.remembered)
        try:
            yield Adapters(clock, database, ledger, paper_ledger, exchange, lanes, access, settings)
        finally:
            await exchange.aclose()


def _identity(settings: Settings) -> WorkerId:
    """A name for people, and a token: a restarted process must not pass for its predecessor, which may only sleep."""
    name = settings.worker_id or f"{socket.gethostname()}-{os.getpid()}"
    return WorkerId(f"{name}-{secrets.token_hex(3)}")


def make_listener(
    settings: Settings,
    *,
    on_signal: Callable[[FtOrderId], None] = lambda _: None,
    on_listening: Callable[[], None] = lambda: None,
) -> OpenListener | None:
    """A second wake-up beside the feed, where `SUPABASE_DB_URL` is set. Raises `ConfigError`."""
    if settings.supabase_db_url is None:
        return None
    dsn = settings.supabase_db_url.get_secret_value()
    hide(dsn)
    try:
        from worker.database.listen import SignalListener, secrets_of  # noqa: PLC0415 - psycopg is an extra, for this alone
    except ModuleNotFoundError as error:
        raise ConfigError(
            "SUPABASE_DB_URL is set, and psycopg, which listens there, is not installed: install "
            "polycopy-worker[listen], or unset SUPABASE_DB_URL."
        ) from error
    hide(*secrets_of(dsn))
    return SignalListener(dsn, on_signal=on_signal, on_listening=on_listening)


async def _open_exchange(
    settings: Settings, clock: DatabaseClock, lanes: Lanes, recall: Recall
) -> OpenExchange:
    bankroll_usd = settings.paper.bankroll_usd
    if settings.mode is Mode.PAPER:
        return PaperExchange(settings.exchange, clock, bankroll_usd=bankroll_usd, lanes=lanes, recall=recall)
    if not settings.wallets:
        raise ConfigError('mode = "live" needs a wallet: add a [[wallets]] block with its address and key.')
    from worker.exchange.polymarket.exchange import PolymarketExchange  # noqa: PLC0415 - paper needs no SDK: 1 s, 60 MiB

    accounts = []
    for wallet in settings.wallets:
        key = wallet_key(wallet)
        hide(key.get_secret_value(), key.get_secret_value().removeprefix("0x"))
        accounts.append(account := Account(wallet.address, key, kind=wallet.type))
        account.signer()  # a key that is not the wallet's is refused here, before anybody hears of it
    try:
        real = await PolymarketExchange.open(settings.exchange, accounts, clock, lanes=lanes)
    except (ExchangeError, CredentialError):
        await _meet_exchange(settings, clock, lanes)  # a stranger refuses every key: the address is the news
        raise
    paper = PaperExchange(
        settings.exchange, clock, bankroll_usd=bankroll_usd, market_data=real.market_data, recall=recall
    )
    return SplitExchange(real, paper)


async def _meet_exchange(settings: Settings, clock: DatabaseClock, lanes: Lanes) -> None:
    market_data = MarketData(settings.exchange, clock, background=lanes.background)
    try:
        async with _recognised(settings.exchange.clob_url):
            await market_data.version()
    finally:
        await market_data.aclose()


@asynccontextmanager
async def _recognised(clob_url: str) -> AsyncIterator[None]:
    """Says a failed first read of the exchange in terms of the setting that names its address."""
    try:
        yield
    except (ExchangeMalformed, ExchangeRefused, MarketNotFound) as error:
        raise ConfigError(
            f"What answers at {clob_url} is not the exchange: check the setting `exchange.clob_url` ({_inner(error)})."
        ) from error
    except ExchangeUnreachable as error:
        raise ExchangeUnreachable(
            f"The exchange at {clob_url} does not answer: check the setting `exchange.clob_url` and the network "
            f"({_inner(error)})."
        ) from error


def _inner(error: WorkerError) -> str:
    """A sentence that goes into another one."""
    return str(error).rstrip(".")
