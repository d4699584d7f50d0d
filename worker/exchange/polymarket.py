"""The real order book, through the official SDK: the only file that imports `polymarket`.

Promises: `submit` sends the committed body once and states what came back, never more (`orders/outcomes.py`
judges it); nothing is retried; every await is bounded and every failure said in our own words. The SDK signs no order, sizes none and approves nothing: we sign the plan's exact
amounts ourselves and hand them to `post_order`.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import httpx
import structlog
from eth_utils.address import to_checksum_address
from polymarket import (
    PRODUCTION,
    AcceptedOrder,
    ApiKeyCreds,
    AsyncSecureClient,
    ClobTrade,
    Environment,
    OpenOrder,
    OrderResponse,
    PolymarketError,
    RateLimitError,
    RequestRejectedError,
    SignedOrder,
    SigningError,
    TransportError,
    UnexpectedResponseError,
    UserInputError,
)
from polymarket._internal.environment import get_environment_config, with_environment_config
from polymarket.streams import UserOrderEvent, UserSpec
from pydantic import ValidationError

from worker.errors import CredentialError, ExchangeError, ExchangeRefused, ExchangeUnreachable
from worker.exchange.envelopes import order_fields, random_salt, seal, wall_clock_ms
from worker.exchange.history import OrderHistory
from worker.exchange.lanes import Lanes
from worker.exchange.market_data import MarketData, VenueHealth, raise_for_status
from worker.exchange.signer import Account, ApiCredentials, Signer
from worker.orders.amounts import BASE_UNITS
from worker.orders.decide import Plan
from worker.orders.market import Book, Market
from worker.orders.ports import Answer, Clock, Envelope, Fill, OrderView, WalletBalance
from worker.orders.terms import ConditionId, OrderId, TokenId, TradeId, WalletAddress
from worker.settings import ExchangeSettings

_log = structlog.get_logger(__name__)

_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_MOST_PAGES = 500


@dataclasses.dataclass(frozen=True, slots=True)
class _Desk:
    """One wallet's way to the exchange: every authenticated read, bounded, metered, its failure in our words."""

    wallet: WalletAddress
    client: AsyncSecureClient
    signer: Signer
    lanes: Lanes
    read_timeout_s: float

    async def order(self, order_id: OrderId) -> OpenOrder | None:
        await self.lanes.lookup.take()
        async with self._reading(f"GET order {order_id}"):
            try:
                return await self.client.get_order(order_id=order_id)
            except RequestRejectedError as error:
                if error.status != 404:
                    raise
            except UnexpectedResponseError as error:
                if not _was_null(error):
                    raise
        return None

    async def trades(
        self, *, trade_id: str | None = None, market: str | None = None, since_s: int | None = None
    ) -> Sequence[ClobTrade]:
        after = str(since_s) if since_s is not None else None
        pages = self.client.list_account_trades(id=trade_id, market=market, after=after)
        trades: list[ClobTrade] = []
        for _ in range(_MOST_PAGES):
            await self.lanes.lookup.take()
            async with self._reading(f"GET trades of {self.wallet}"):
                page = await pages.first_page()
            trades.extend(page.items)
            if not page.has_more:
                return trades
            pages = pages.from_cursor(page.next_cursor)
        raise ExchangeUnreachable(f"The trades of {self.wallet} since {after} have over {_MOST_PAGES} pages.")

    async def cancel(self, order_id: OrderId) -> bool:
        async with self._reading(f"DELETE order {order_id}"):
            try:
                response = await self.client.cancel_order(order_id=order_id)
            except RequestRejectedError as error:
                if error.status != 404:
                    raise
                return False
        return str(order_id) in response.canceled

    async def collateral_usd(self) -> Decimal:
        async with self._reading(f"GET balance of {self.wallet}"):
            collateral = await self.client.get_balance_allowance(asset_type="COLLATERAL")
        return Decimal(collateral.balance) / BASE_UNITS

    async def closed_only(self) -> bool:
        async with self._reading(f"GET closed-only mode of {self.wallet}"):
            return await self.client.get_closed_only_mode()

    async def touch(self) -> None:
        """One cheap authenticated read, on the very connection that the next order will use."""
        await self.lanes.background.take()
        try:
            await self.closed_only()
        except ExchangeError as error:
            _log.warning("exchange.keep_warm_failed", wallet=self.wallet, error=str(error))

    @asynccontextmanager
    async def _reading(self, call: str) -> AsyncIterator[None]:
        """Bounds a read and says its failure in our words."""
        try:
            async with asyncio.timeout(self.read_timeout_s):
                yield
        except RequestRejectedError as error:
            raise_for_status(error.status, call, str(error), missing=ExchangeRefused)
            raise ExchangeRefused(f"{call}: {error}") from error
        except (RateLimitError, TransportError, UnexpectedResponseError, TimeoutError) as error:
            raise ExchangeUnreachable(
                f"{call} got no usable answer: {str(error) or type(error).__name__}."
            ) from error
        except PolymarketError as error:
            raise ExchangeRefused(f"{call}: {error}") from error


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
        self._desks: dict[WalletAddress, _Desk] = {}
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
                exchange._desks[account.wallet] = await _open_desk(settings, account, lanes)
        except BaseException:
            await exchange.aclose()
            raise
        return exchange

    # --- what everybody may read ------------------------------------------------------------------------------

    async def market(self, condition_id: ConditionId) -> Market:
        return await self._market_data.market(condition_id)

    async def book(self, token_id: TokenId) -> Book:
        return await self._market_data.book(token_id)

    # --- orders -----------------------------------------------------------------------------------------------

    async def prepare(self, wallet: WalletAddress, plan: Plan) -> Envelope:
        return seal(
            plan,
            wallet=wallet,
            signer=self._desk(wallet).signer,
            salt=self._salt(),
            timestamp_ms=self._timestamp_ms(),
        )

    async def submit(self, envelope: Envelope) -> Answer:
        try:
            order = SignedOrder(**order_fields(envelope))
            client = self._desk(envelope.wallet).client
        except (ValueError, TypeError, ExchangeRefused) as error:
            return Answer(http_status=None, connected=False, error=str(error))
        try:
            async with asyncio.timeout(self._settings.submit_timeout_s):
                response = await client.post_order(order)
        except Exception as error:  # noqa: BLE001 - whatever broke, the order may be on the book: that is the answer
            return _answer_of_failure(error)
        return _answer_of_response(response)

    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        return await self._history.view(self._desk(wallet), order_id, since)

    async def fills(
        self, wallet: WalletAddress, order_ids: Collection[OrderId], *, since: datetime
    ) -> Mapping[OrderId, Sequence[Fill]]:
        return await self._history.fills(self._desk(wallet), order_ids, since=since)

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

    def _desk(self, wallet: WalletAddress) -> _Desk:
        desk = self._desks.get(wallet)
        if desk is None:
            raise ExchangeRefused(f"No key is configured for wallet {wallet}.")
        return desk


def environment_for(settings: ExchangeSettings) -> Environment:
    """The SDK's environment with our addresses. Private API of the SDK, here and nowhere else.

    Chain, contracts and signing domains stay production's. With an order book other than production's, no other
    address may stay either: what the sandbox does not serve must not reach the real services.
    """
    config = get_environment_config(PRODUCTION)
    ours: dict[str, Any] = {
        "clob_url": settings.clob_url,
        "gamma_url": settings.gamma_url,
        "data_url": settings.data_url,
        "clob_user_ws_url": settings.user_ws_url,
        "clob_market_ws_url": settings.market_ws_url,
    }
    if settings.clob_url != config.clob_url:
        addresses = [field.name for field in dataclasses.fields(config) if field.name.endswith("_url")]
        elsewhere = {
            name: settings.user_ws_url if "_ws_" in name else settings.clob_url for name in addresses
        }
        ours = elsewhere | ours
    return with_environment_config(PRODUCTION, config=dataclasses.replace(config, **ours))


async def _open_desk(settings: ExchangeSettings, account: Account, lanes: Lanes) -> _Desk:
    """An authenticated client that acts for exactly this wallet.

    Making one costs 0.2-0.6 s of CPU (a dozen TLS contexts), so it happens in a thread with a loop of its own;
    all that it opens there it closes there, because an EOA needs nothing of the relayer.
    """
    signer = account.signer()
    creation = AsyncSecureClient.create(
        private_key=account.key.get_secret_value(),
        wallet=to_checksum_address(account.wallet),
        environment=environment_for(settings),
        credentials=_sdk_credentials(account.credentials),
    )
    try:
        client = await asyncio.to_thread(asyncio.run, creation)
    except (RateLimitError, TransportError, UnexpectedResponseError) as error:
        raise ExchangeUnreachable(f"The exchange did not authenticate {account.wallet}: {error}.") from error
    except RequestRejectedError as error:
        if error.status in {408, 425} or error.status >= 500:
            raise ExchangeUnreachable(
                f"The exchange did not authenticate {account.wallet}: {error}."
            ) from error
        raise CredentialError(f"The exchange refuses the key of wallet {account.wallet}: {error}.") from error
    except PolymarketError as error:
        raise CredentialError(f"Wallet {account.wallet} cannot be used: {error}.") from error
    found = (client.wallet.lower(), client.wallet_type, client._ctx.signer_type)  # noqa: SLF001 - no public name
    if found != (account.wallet, "EOA", "OWNER"):
        await client.close()
        raise CredentialError(f"Expected {account.wallet} to be an EOA that its own key owns, was {found}.")
    return _Desk(account.wallet, client, signer, lanes, settings.read_timeout_s)


def _sdk_credentials(given: ApiCredentials | None) -> ApiKeyCreds | None:
    if given is None:
        return None
    return ApiKeyCreds(
        key=given.key.get_secret_value(),
        secret=given.secret.get_secret_value(),
        passphrase=given.passphrase.get_secret_value(),
    )


def _answer_of_response(response: OrderResponse) -> Answer:
    if isinstance(response, AcceptedOrder):
        matched = response.status == "matched"
        return Answer(
            http_status=200,
            order_id=OrderId(response.order_id),
            status=response.status,
            making_amount=response.making_amount if matched else None,
            taking_amount=response.taking_amount if matched else None,
            trade_ids=tuple(TradeId(each) for each in response.trade_ids),
        )
    # `unmatched` is an acceptance that the SDK reports as a refusal, and drops the order's id.
    if response.code == "unmatched":
        return Answer(http_status=200, status="unmatched")
    # `unknown` may be a success in words that the SDK does not know: no proof of a refusal.
    return Answer(http_status=200, error=response.message, well_formed=response.code != "unknown")


def _answer_of_failure(error: Exception) -> Answer:
    words = str(error) or type(error).__name__
    match error:
        case RequestRejectedError():
            if error.code is not None:
                words = f"{words} [{error.code}]"
            return Answer(error.status, error=words, retry_after_s=_seconds(error.retry_after))
        case RateLimitError():
            limiter = error.rate_limit is not None
            return Answer(
                429, error=words, retry_after_s=_seconds(error.retry_after), limiter_headers=limiter
            )
        case UnexpectedResponseError():
            return Answer(200, error=words, well_formed=False)
        case UserInputError() | SigningError():  # the SDK refused before it wrote a byte
            return Answer(None, connected=False, error=words)
        case TransportError() | TimeoutError():
            return Answer(None, connected=not isinstance(error.__cause__, _NEVER_CONNECTED), error=words)
        case _:
            _log.exception("order.submit_broke", error=words)
            return Answer(None, error=words)


def _seconds(value: float | None) -> Decimal | None:
    return Decimal(str(value)) if value is not None else None


def _was_null(error: UnexpectedResponseError) -> bool:
    """Whether the exchange answered `null`, its older way to say "not found"."""
    cause = error.__cause__
    return isinstance(cause, ValidationError) and [
        (each["loc"], each["input"]) for each in cause.errors(include_url=False)
    ] == [((), None)]
