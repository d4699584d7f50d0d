"""What the exchange tells everybody: markets, books, its version and its clock. No key, no account, no SDK.

Promises: numbers are read as `Decimal` from the very digits that were sent; books are sorted best first; every
failure is `ExchangeUnreachable`, `MarketNotFound` or `ExchangeRefused`, within `read_timeout_s`. Paper trading
needs nothing else of the exchange.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import structlog
from pydantic import Field

from worker.errors import (
    ExchangeError,
    ExchangeMalformed,
    ExchangeRefused,
    ExchangeUnreachable,
    MarketNotFound,
)
from worker.exchange.endings import MarketEndings
from worker.exchange.lanes import Lane
from worker.exchange.market_cache import MarketCache
from worker.exchange.market_channel import MarketChannel
from worker.exchange.order_id import exchange_version
from worker.exchange.wire import Wire, parse
from worker.orders.endings import Ending
from worker.orders.market import Book, Level, Market, Token
from worker.orders.ports import Clock
from worker.orders.terms import ConditionId, TokenId, WalletAddress
from worker.settings import ExchangeSettings

SPOKEN_VERSION = 2
MAX_SKEW_S = 2.0

# Every place of several strategies may wait for a read: one that hangs must not keep another from being asked.
_CONNECTIONS_MOST = 256

_log = structlog.get_logger(__name__)


class _WireToken(Wire):
    token_id: str = Field(validation_alias="t")
    outcome: str = Field(validation_alias="o")


class _WireFees(Wire):
    rate: Decimal = Field(default=Decimal(0), validation_alias="r")
    exponent: int = Field(default=0, validation_alias="e")


class _WireTerms(Wire):
    """GET /clob-markets/{condition}: the short form, the only one that states fees."""

    tokens: tuple[_WireToken, ...] = Field(validation_alias="t")
    tick_size: Decimal = Field(gt=0, lt=1, validation_alias="mts")
    min_order_size_shares: Decimal = Field(ge=0, validation_alias="mos")
    neg_risk: bool = Field(default=False, validation_alias="nr")
    fees: _WireFees | None = Field(default=None, validation_alias="fd")


class _WireStatus(Wire):
    """GET /markets/{condition}: the long form, the only one that says whether orders are taken."""

    accepting_orders: bool
    closed: bool
    enable_order_book: bool = True


class _WireLevel(Wire):
    price: Decimal = Field(gt=0, lt=1)
    size: Decimal = Field(gt=0)


class _WireBook(Wire):
    bids: tuple[_WireLevel, ...]
    asks: tuple[_WireLevel, ...]


@dataclass(frozen=True, slots=True)
class VenueHealth:
    """`skew_s`: the exchange's clock minus this machine's; beyond a few seconds it refuses our credentials."""

    version: int
    skew_s: float
    closed_only: tuple[WalletAddress, ...] = ()

    def problems(self) -> tuple[str, ...]:
        """One sentence for each thing that stops trading; none means ready."""
        found = [
            f"The exchange allows wallet {wallet} to close positions only." for wallet in self.closed_only
        ]
        if self.version != SPOKEN_VERSION:
            found.append(
                f"The exchange speaks order version {self.version}; this worker signs version {SPOKEN_VERSION}."
            )
        if abs(self.skew_s) > MAX_SKEW_S:
            found.append(f"This machine's clock is {-self.skew_s:+.1f} s off the exchange's: synchronise it.")
        return tuple(found)


class MarketData:
    """Reads over one connection pool of our own. `aclose()` when done."""

    def __init__(
        self,
        settings: ExchangeSettings,
        clock: Clock,
        *,
        background: Lane,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._background = background
        self._http = httpx.AsyncClient(
            base_url=settings.clob_url,
            timeout=httpx.Timeout(settings.read_timeout_s),
            limits=httpx.Limits(
                max_connections=_CONNECTIONS_MOST, keepalive_expiry=settings.keep_warm_every_s * 4
            ),
            transport=transport,
        )
        self._read_timeout_s = settings.read_timeout_s
        self._markets = MarketCache(self._read_market, clock, ttl_s=settings.market_ttl_s)
        self._endings = MarketEndings(self._get, settings.gamma_url, background=background)
        self.channel = MarketChannel(settings.market_ws_url)

    async def market(self, condition_id: ConditionId, *, anew: bool = False) -> Market:
        """The market's rules, no older than `market_ttl_s`; `anew`: read now, because what is remembered was wrong."""
        wanted = clob_condition_id(condition_id)
        return await (self._markets.reread(wanted) if anew else self._markets.get(wanted))

    async def market_whatever_its_age(self, condition_id: ConditionId) -> Market:
        """For what does not change while a market lives: its tokens and its fees."""
        wanted = clob_condition_id(condition_id)
        return self._markets.peek(wanted) or await self._markets.get(wanted)

    async def book(self, token_id: TokenId) -> Book:
        wire = parse(_WireBook, await self._get("/book", [("token_id", token_id)]), "/book")
        bids = sorted((Level(level.price, level.size) for level in wire.bids), key=_price, reverse=True)
        asks = sorted((Level(level.price, level.size) for level in wire.asks), key=_price)
        return Book(token_id, tuple(bids), tuple(asks), seen_at=self._clock.now())

    async def endings(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        """See `MarketEndings.of`; `markets` by any of the forms of their ids."""
        found = await self._endings.of({clob_condition_id(one): token for one, token in markets.items()})
        return {one: found[known] for one in markets if (known := clob_condition_id(one)) in found}

    async def health(self) -> VenueHealth:
        """Its version and how far our clock is off, to half a second: the exchange states whole seconds."""
        version = await self.version()
        asked_s = time.time()
        theirs = await self.time()
        ours_s = (asked_s + time.time()) / 2
        return VenueHealth(version, skew_s=theirs.timestamp() + 0.5 - ours_s)

    async def version(self) -> int:
        """The order protocol that the exchange speaks; an order signed for another one is refused."""
        answer = await self._get("/version")
        if not isinstance(answer, Mapping) or not isinstance(answer.get("version"), int):
            raise ExchangeMalformed(
                f"GET /version answered {answer!r:.100}: expected a number under `version`."
            )
        return int(answer["version"])

    async def time(self) -> datetime:
        """The exchange's clock, to the second."""
        answer = await self._get("/time")
        try:
            return datetime.fromtimestamp(int(str(answer)), tz=UTC)
        except (ValueError, OverflowError):
            raise ExchangeMalformed(f"GET /time answered {answer!r:.100}: expected unix seconds.") from None

    async def warm(self, condition_ids: Sequence[ConditionId]) -> None:
        """Have these markets in memory. One that cannot be read is logged: its first order will read it again."""
        await asyncio.gather(*(self._warm_one(clob_condition_id(each)) for each in set(condition_ids)))

    async def renew(self) -> None:
        """Read again, within the background budget, the markets in use that would expire soon."""
        for condition_id in self._markets.due():
            try:
                await self._background.take()
                await self._markets.reread(condition_id)
            except ExchangeError as error:
                _log.warning("market.renew_failed", condition_id=condition_id, error=str(error))

    async def aclose(self) -> None:
        await self._markets.aclose()
        await self._http.aclose()

    async def _warm_one(self, condition_id: ConditionId) -> None:
        if self._markets.peek(condition_id) is None:
            await self._background.take()
        try:
            await self._markets.get(condition_id)
        except ExchangeError as error:
            _log.warning("market.warm_failed", condition_id=condition_id, error=str(error))

    async def _read_market(self, condition_id: ConditionId) -> Market:
        short, long = f"/clob-markets/{condition_id}", f"/markets/{condition_id}"
        answers = await asyncio.gather(self._get(short), self._get(long), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        terms, status = parse(_WireTerms, answers[0], short), parse(_WireStatus, answers[1], long)
        fees = terms.fees or _WireFees()
        tokens = tuple(Token(TokenId(each.token_id), each.outcome) for each in terms.tokens)
        if not tokens:
            raise MarketNotFound(f"Market {condition_id} has no tokens.")
        return Market(
            condition_id=condition_id,
            tokens=tokens,
            tick_size=terms.tick_size,
            min_order_size_shares=terms.min_order_size_shares,
            exchange_version=exchange_version(tokens[0].token_id, neg_risk=terms.neg_risk),
            fee_rate=fees.rate,
            fee_exponent=fees.exponent,
            accepting_orders=status.accepting_orders and status.enable_order_book,
            closed=status.closed,
            fetched_at=self._clock.now(),
        )

    async def _get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> Any:
        try:
            async with asyncio.timeout(self._read_timeout_s):
                response = await self._http.get(path, params=list(params))
        except (httpx.HTTPError, TimeoutError) as error:
            raise ExchangeUnreachable(
                f"GET {path} got no answer: {str(error) or type(error).__name__}."
            ) from error
        raise_for_status(response.status_code, f"GET {path}", response.text)
        try:
            return json.loads(response.content, parse_float=Decimal)
        except ValueError as error:
            raise ExchangeMalformed(f"GET {path} answered something that is not JSON.") from error


def clob_condition_id(condition_id: str) -> ConditionId:
    """The form that the order book knows. Newer markets are listed elsewhere with 31 bytes; it pads them to 32."""
    text = condition_id.lower()
    return (
        ConditionId(text + "00")
        if len(text) == 64 and text.startswith(("0x01", "0x02"))
        else ConditionId(text)
    )


def raise_for_status(
    status: int, call: str, words: str, *, missing: type[ExchangeError] = MarketNotFound
) -> None:
    """What a read's status means: 404 `missing`; throttled, restarting or broken: unreachable; else refused."""
    if 200 <= status < 300:
        return
    message = f"{call} answered {status}: {' '.join(words.split())[:200]}".rstrip(": ")
    if status == 404:
        raise missing(message)
    if status in {408, 425, 429} or status >= 500:
        raise ExchangeUnreachable(message)
    raise ExchangeRefused(message)


def _price(level: Level) -> Decimal:
    return level.price
