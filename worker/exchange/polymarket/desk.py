"""One wallet's client of the official SDK: opened for exactly that wallet, every read bounded, metered, said in our words."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar

import structlog
from eth_utils.address import to_checksum_address
from polymarket import (
    PRODUCTION,
    ApiKeyCreds,
    AsyncPaginator,
    AsyncSecureClient,
    ClobTrade,
    Environment,
    OpenOrder,
    PolymarketError,
    RateLimitError,
    RequestRejectedError,
    TransportError,
    UnexpectedResponseError,
)
from polymarket._internal.environment import get_environment_config, with_environment_config
from pydantic import ValidationError

from worker.errors import CredentialError, ExchangeError, ExchangeRefused, ExchangeUnreachable
from worker.exchange.lanes import Lanes
from worker.exchange.market_data import raise_for_status
from worker.exchange.signer import Account, ApiCredentials, Signer
from worker.orders.amounts import BASE_UNITS
from worker.orders.terms import OrderId, WalletAddress, WalletKind
from worker.settings import ExchangeSettings

_log = structlog.get_logger(__name__)

_MOST_PAGES = 500

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """One wallet's way to the exchange: every authenticated read, bounded, metered, its failure in our words."""

    wallet: WalletAddress
    client: AsyncSecureClient
    signer: Signer
    kind: WalletKind
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

    async def open_orders(self) -> Sequence[OpenOrder]:
        """All that stand on the book."""
        return await self._all(self.client.list_open_orders(), f"orders of {self.wallet}")

    async def trades(
        self, *, trade_id: str | None = None, market: str | None = None, since_s: int | None = None
    ) -> Sequence[ClobTrade]:
        after = str(since_s) if since_s is not None else None
        pages = self.client.list_account_trades(id=trade_id, market=market, after=after)
        return await self._all(pages, f"trades of {self.wallet} since {after}")

    async def _all(self, pages: AsyncPaginator[T], what: str) -> Sequence[T]:
        found: list[T] = []
        for _ in range(_MOST_PAGES):
            await self.lanes.lookup.take()
            async with self._reading(f"GET {what}"):
                page = await pages.first_page()
            found.extend(page.items)
            if not page.has_more:
                return found
            pages = pages.from_cursor(page.next_cursor)
        raise ExchangeUnreachable(f"The {what} have over {_MOST_PAGES} pages.")

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


async def open_desk(settings: ExchangeSettings, account: Account, lanes: Lanes) -> Desk:
    """An authenticated client that acts for exactly this wallet.

    Making one costs 0.2-0.6 s of CPU (a dozen TLS contexts), so it happens in a thread with a loop of its own;
    all that it opens there it closes there. But for a deposit wallet: whether its contract is there the SDK asks over a
    connection that it keeps.
    """
    signer = account.signer()
    creation = AsyncSecureClient.create(
        private_key=account.key.get_secret_value(),
        wallet=to_checksum_address(account.wallet),
        environment=environment_for(settings),
        credentials=_sdk_credentials(account.credentials),
    )
    try:
        client = await (
            asyncio.to_thread(asyncio.run, creation) if account.kind is WalletKind.EOA else creation
        )
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
    if found != (account.wallet, account.kind.upper(), "OWNER"):
        await client.close()
        raise CredentialError(
            f"Expected {account.wallet} to be {account.kind.value} of its own key, was {found}: check its address, "
            "`type` and key."
        )
    return Desk(account.wallet, client, signer, account.kind, lanes, settings.read_timeout_s)


def _sdk_credentials(given: ApiCredentials | None) -> ApiKeyCreds | None:
    if given is None:
        return None
    return ApiKeyCreds(
        key=given.key.get_secret_value(),
        secret=given.secret.get_secret_value(),
        passphrase=given.passphrase.get_secret_value(),
    )


def _was_null(error: UnexpectedResponseError) -> bool:
    """Whether the exchange answered `null`, its older way to say "not found"."""
    cause = error.__cause__
    return isinstance(cause, ValidationError) and [
        (each["loc"], each["input"]) for each in cause.errors(include_url=False)
    ] == [((), None)]
