"""A trading floor for one test: a simulated exchange with one market, a funded wallet, and the settings to reach it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, Self

from pydantic import SecretStr

from tests.support.exchange_plans import plan
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.exchange.signer import Account, LocalSigner
from worker.orders.ports import Envelope
from worker.orders.terms import ConditionId, OrderId, TokenId, WalletAddress
from worker.sandbox.exchange import (
    Receipt,
    Rules,
    SettlementDelays,
    Side,
    SimulatedExchange,
    synthetic_market,
)
from worker.settings import ExchangeSettings

KEY = SecretStr("0x" + "4c" * 32)
OTHER_KEY = SecretStr("0x" + "5d" * 32)
_DAYS = count(1)
FAST_SETTLEMENT = SettlementDelays(to_mined_s=0.02, to_confirmed_s=0.02, retry_s=0.02)


class WallClock:
    """The worker's clock where no database teaches it."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass(frozen=True)
class Floor:
    venue: SimulatedExchange
    settings: ExchangeSettings
    account: Account
    condition_id: ConditionId
    yes: TokenId
    no: TokenId

    @property
    def wallet(self) -> WalletAddress:
        return self.account.wallet

    def with_market(self, **market: Any) -> Self:
        """The same exchange and wallet, and a new market that nobody has traded yet."""
        listed = synthetic_market(f"Will it rain on day {next(_DAYS)}?", **market)
        self.venue.engine.list_market(listed)
        yes, no = (TokenId(token) for token in listed.tokens)
        return replace(self, condition_id=ConditionId(listed.condition), yes=yes, no=no)

    def offer(self, price: str, shares: str, *, token: TokenId | None = None) -> None:
        """Somebody sells."""
        self.venue.quote(token or self.yes, Side.SELL, price, shares)

    def bid(self, price: str, shares: str, *, token: TokenId | None = None) -> None:
        """Somebody buys."""
        self.venue.quote(token or self.yes, Side.BUY, price, shares)

    def posts_of(self, order_id: OrderId) -> list[Receipt]:
        return self.venue.journal.posts_of(order_id)

    def calls(self) -> int:
        """Requests that the exchange has received so far, of any kind."""
        return sum(self.venue.journal.counts.values())


def account_of(key: SecretStr = KEY) -> Account:
    return Account(WalletAddress(LocalSigner(key).address.lower()), key)


def settings_for(venue: SimulatedExchange, **changed: Any) -> ExchangeSettings:
    return ExchangeSettings(
        clob_url=venue.http_url,
        gamma_url=venue.http_url,
        data_url=venue.http_url,
        user_ws_url=venue.ws_url + "/ws/user",
        market_ws_url=venue.ws_url + "/ws/market",
        **{"submit_timeout_s": 10.0, "read_timeout_s": 10.0} | changed,
    )


@asynccontextmanager
async def open_floor(
    rules: Rules | None = None, *, funds_usd: int = 1000, **market: Any
) -> AsyncIterator[Floor]:
    async with SimulatedExchange.start(rules=rules or Rules(settlement=FAST_SETTLEMENT)) as venue:
        account = account_of()
        venue.fund(account.wallet, funds_usd)
        empty = Floor(venue, settings_for(venue), account, ConditionId(""), TokenId(""), TokenId(""))
        yield empty.with_market(**market)


@asynccontextmanager
async def polymarket(
    floor: Floor, *, settings: ExchangeSettings | None = None, **options: Any
) -> AsyncIterator[PolymarketExchange]:
    exchange = await PolymarketExchange.open(
        settings or floor.settings, [floor.account], WallClock(), **options
    )
    try:
        yield exchange
    finally:
        await exchange.aclose()


async def prepared(floor: Floor, exchange: PolymarketExchange, **wanted: Any) -> Envelope:
    """An order for this floor's market, ready to be sent; `wanted` as for `plan`."""
    market = await exchange.market(floor.condition_id)
    return await exchange.prepare(floor.wallet, plan(market, **{"limit_price": "0.50"} | wanted))
