"""A trading floor for one test: a simulated exchange with one market, a funded wallet, and the settings to reach it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from worker.exchange.polymarket import PolymarketExchange
from worker.exchange.signer import Account, LocalSigner
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
        **{"submit_timeout_s": 2.0, "read_timeout_s": 2.0} | changed,
    )


@asynccontextmanager
async def open_floor(
    rules: Rules | None = None, *, funds_usd: int = 1000, **market: Any
) -> AsyncIterator[Floor]:
    listed = synthetic_market("Will it rain tomorrow?", **market)
    rules = rules or Rules(settlement=FAST_SETTLEMENT)
    async with SimulatedExchange.start([listed], rules=rules) as venue:
        account = account_of()
        venue.fund(account.wallet, funds_usd)
        yes, no = (TokenId(token) for token in listed.tokens)
        condition = ConditionId(listed.condition)
        yield Floor(venue, settings_for(venue), account, condition, yes, no)


@asynccontextmanager
async def polymarket(floor: Floor, **options: Any) -> AsyncIterator[PolymarketExchange]:
    exchange = await PolymarketExchange.open(floor.settings, [floor.account], WallClock(), **options)
    try:
        yield exchange
    finally:
        await exchange.aclose()
