"""One exchange of two: orders of a purse stay on paper, those of a wallet go to the real book.

The wallet alone decides, and every call of the port names one, so nobody else on the money path asks which it is.
Markets and books are the real ones for both.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from worker.exchange.market_channel import MarketChannel
from worker.exchange.market_data import VenueHealth
from worker.exchange.paper import PaperExchange
from worker.orders.decide import Plan
from worker.orders.endings import Ending
from worker.orders.market import Book, Market
from worker.orders.paper import mode_of
from worker.orders.ports import Answer, Envelope, Exchange, Fill, OrderView, WalletBalance
from worker.orders.terms import ConditionId, Mode, OrderId, TokenId, WalletAddress


class OpenExchange(Exchange, Protocol):
    """What an opened exchange can do beyond the port."""

    async def keep_warm(self) -> None:
        """Runs until cancelled: connections and metadata that the next order needs."""
        ...

    async def health(self) -> VenueHealth: ...

    def order_events(self, wallet: WalletAddress) -> AsyncIterator[OrderId]:
        """Ids of orders of which something just happened. A wake-up: it may miss and repeat."""
        ...

    @property
    def channel(self) -> MarketChannel:
        """What is bid and offered, for whoever wants to hear of it."""
        ...


class SplitExchange:
    def __init__(self, real: OpenExchange, paper: PaperExchange) -> None:
        """`paper` reads the market data of `real`, which keeps it warm and closes it."""
        self._real = real
        self._paper = paper

    async def market(self, condition_id: ConditionId, *, anew: bool = False) -> Market:
        return await self._real.market(condition_id, anew=anew)

    async def book(self, token_id: TokenId) -> Book:
        return await self._real.book(token_id)

    async def endings(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        return await self._real.endings(markets)

    async def prepare(self, wallet: WalletAddress, plan: Plan) -> Envelope:
        return await self._of(wallet).prepare(wallet, plan)

    async def submit(self, envelope: Envelope) -> Answer:
        return await self._of(envelope.wallet).submit(envelope)

    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        return await self._of(wallet).lookup(wallet, order_id, since=since)

    async def fills(
        self, wallet: WalletAddress, order_ids: Collection[OrderId], *, since: datetime
    ) -> Mapping[OrderId, Sequence[Fill]]:
        return await self._of(wallet).fills(wallet, order_ids, since=since)

    async def open_orders(self, wallet: WalletAddress) -> Mapping[OrderId, Decimal]:
        return await self._of(wallet).open_orders(wallet)

    async def cancel(self, wallet: WalletAddress, order_id: OrderId) -> bool:
        return await self._of(wallet).cancel(wallet, order_id)

    async def balance(self, wallet: WalletAddress) -> WalletBalance:
        return await self._of(wallet).balance(wallet)

    async def warm(self, wallets: Sequence[WalletAddress], condition_ids: Sequence[ConditionId]) -> None:
        await self._real.warm([one for one in wallets if mode_of(one) is Mode.LIVE], condition_ids)

    async def keep_warm(self) -> None:
        await self._real.keep_warm()

    async def health(self) -> VenueHealth:
        return await self._real.health()

    def order_events(self, wallet: WalletAddress) -> AsyncIterator[OrderId]:
        return self._of(wallet).order_events(wallet)

    @property
    def channel(self) -> MarketChannel:
        return self._real.channel

    async def aclose(self) -> None:
        await self._real.aclose()

    def _of(self, wallet: WalletAddress) -> OpenExchange:
        return self._paper if mode_of(wallet) is Mode.PAPER else self._real
