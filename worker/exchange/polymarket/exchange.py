"""The real order book, through the official SDK: this room alone imports `polymarket`.

Promises: `submit` sends the committed body once and states what came back, never more (`orders/outcomes.py`
judges it); nothing is retried; every await is bounded and every failure said in our own words. The SDK signs no
order, sizes none and approves nothing: we sign the plan's exact amounts ourselves and hand them to `post_order`.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from typing import Self

from polymarket import (
    SignedOrder,
)
from polymarket.streams import UserOrderEvent, UserSpec

from worker.errors import ExchangeRefused
from worker.exchange.envelopes import order_fields, random_salt, seal, wall_clock_ms
from worker.exchange.history import OrderHistory
from worker.exchange.lanes import Lanes
from worker.exchange.market_channel import MarketChannel
from worker.exchange.market_data import MarketData, VenueHealth
from worker.exchange.polymarket.answers import answer_of_failure, answer_of_response
from worker.exchange.polymarket.desk import Desk, open_desk
from worker.exchange.signer import Account
from worker.exchange.trades import order_status
from worker.orders.decide import Plan
from worker.orders.endings import Ending
from worker.orders.market import Book, Market
from worker.orders.ports import Answer, Clock, Envelope, Fill, OrderView, WalletBalance
from worker.orders.terms import ConditionId, OrderId, TokenId, WalletAddress
from worker.settings import ExchangeSettings


class PolymarketExchange:
    """The `Exchange` port for one or more wallets. Made by `open()`; `aclose()` when done."""

    def __init__(
        self,
        settings: ExchangeSettings,
        market_data: MarketData,
        clock: Clock,
        *,
        salt: Callable[[], int],
        timestamp_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._desks: dict[WalletAddress, Desk] = {}
        self._market_data = market_data
        self._clock = clock
        self._salt = salt
        self._timestamp_ms = timestamp_ms
        self._history = OrderHistory(market_data, timestamp_ms)

    @classmethod
    async def open(
        cls,
        settings: ExchangeSettings,
        accounts: Sequence[Account],
        clock: Clock,
        *,
        lanes: Lanes | None = None,
        salt: Callable[[], int] = random_salt,
        timestamp_ms: Callable[[], int] = wall_clock_ms,
    ) -> Self:
        """Authenticate every account. Raises `CredentialError` or `ExchangeUnreachable`, and leaves nothing open."""
        lanes = lanes or Lanes(settings)
        market_data = MarketData(settings, clock, background=lanes.background)
        exchange = cls(settings, market_data, clock, salt=salt, timestamp_ms=timestamp_ms)
        try:
            for account in accounts:
                exchange._desks[account.wallet] = await open_desk(settings, account, lanes)
        except BaseException:
            await exchange.aclose()
            raise
        return exchange

    @property
    def channel(self) -> MarketChannel:
        return self._market_data.channel

    @property
    def market_data(self) -> MarketData:
        """What it reads by: open, and kept warm, for as long as it is itself."""
        return self._market_data

    # --- what everybody may read ------------------------------------------------------------------------------

    async def market(self, condition_id: ConditionId, *, anew: bool = False) -> Market:
        return await self._market_data.market(condition_id, anew=anew)

    async def book(self, token_id: TokenId) -> Book:
        return await self._market_data.book(token_id)

    async def endings(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        return await self._market_data.endings(markets)

    # --- orders -----------------------------------------------------------------------------------------------

    async def prepare(self, wallet: WalletAddress, plan: Plan) -> Envelope:
        desk = self._desk(wallet)
        return seal(
            plan,
            wallet=wallet,
            signer=desk.signer,
            salt=self._salt(),
            timestamp_ms=self._timestamp_ms(),
            kind=desk.kind,
        )

    async def submit(self, envelope: Envelope) -> Answer:
        try:
            client = self._desk(envelope.wallet).client
        except ExchangeRefused as error:
            return Answer(http_status=None, connected=False, error=str(error))
        try:
            order = SignedOrder(**order_fields(envelope))
        except (ValueError, TypeError) as error:
            return Answer(http_status=None, connected=False, sendable=False, error=str(error))
        try:
            async with asyncio.timeout(self._settings.submit_timeout_s):
                response = await client.post_order(order)
        except Exception as error:  # noqa: BLE001 - whatever broke, the order may be on the book: that is the answer
            return answer_of_failure(error)
        return answer_of_response(response)

    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        return await self._history.view(self._desk(wallet), order_id, since)

    async def fills(
        self, wallet: WalletAddress, order_ids: Collection[OrderId], *, since: datetime
    ) -> Mapping[OrderId, Sequence[Fill]]:
        return await self._history.fills(self._desk(wallet), order_ids, since=since)

    async def open_orders(self, wallet: WalletAddress) -> Mapping[OrderId, Decimal]:
        orders = await self._desk(wallet).open_orders()
        return {OrderId(one.id): one.size_matched for one in orders if order_status(one.status) == "LIVE"}

    async def cancel(self, wallet: WalletAddress, order_id: OrderId) -> bool:
        return await self._desk(wallet).cancel(order_id)

    async def balance(self, wallet: WalletAddress) -> WalletBalance:
        as_of = self._clock.now()  # before the read: what is spent meanwhile is not in the snapshot
        return WalletBalance(wallet, await self._desk(wallet).collateral_usd(), as_of)

    # --- readiness --------------------------------------------------------------------------------------------

    async def warm(self, wallets: Sequence[WalletAddress], condition_ids: Sequence[ConditionId]) -> None:
        await self._market_data.warm(condition_ids)
        for wallet in wallets:
            await self._desk(wallet).touch()

    async def keep_warm(self) -> None:
        """Runs until cancelled: keeps each wallet's connection open and the markets in use from expiring."""
        while True:
            await asyncio.sleep(self._settings.keep_warm_every_s)
            for desk in self._desks.values():
                await desk.touch()
            await self._market_data.renew()

    async def health(self) -> VenueHealth:
        """Raises `ExchangeUnreachable` where the exchange answers nothing."""
        health = await self._market_data.health()
        closed = [desk.wallet for desk in self._desks.values() if await desk.closed_only()]
        return dataclasses.replace(health, closed_only=tuple(closed))

    async def order_events(self, wallet: WalletAddress) -> AsyncIterator[OrderId]:
        """Ids of orders of which something just happened, others' included. A wake-up: it may miss and repeat."""
        client = self._desk(wallet).client
        async with await client.subscribe(UserSpec()) as events:
            async for event in events:
                if isinstance(event, UserOrderEvent):
                    yield OrderId(event.payload.id)
                    continue
                yield OrderId(event.payload.taker_order_id)
                for entry in event.payload.maker_orders or ():
                    yield OrderId(entry.order_id)

    async def aclose(self) -> None:
        async with AsyncExitStack() as closing:  # one that fails to close does not keep the others open
            closing.push_async_callback(self._market_data.aclose)
            for desk in self._desks.values():
                closing.push_async_callback(desk.client.close)

    def _desk(self, wallet: WalletAddress) -> Desk:
        desk = self._desks.get(wallet)
        if desk is None:
            raise ExchangeRefused(f"No key is configured for wallet {wallet}.")
        return desk
