"""Which markets have ended, and how: the listing is asked for many at once, the order book for each one that it closed.

A listing knows newer markets under another id than the order book does, so it is asked by token. Both must agree:
a single wrong word would turn money into the wrong outcome.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import structlog
from pydantic import AliasChoices, Field, field_validator

from worker.errors import ExchangeError, ExchangeMalformed
from worker.exchange.lanes import Lane
from worker.exchange.wire import Wire, parse
from worker.orders.endings import Ending, ending_of
from worker.orders.market import Token
from worker.orders.terms import ConditionId, TokenId

log = structlog.get_logger(__name__)

_TOGETHER = 20  # a token's id has 77 digits: what a query string holds with room to spare
_RESOLVED = "resolved"

Read: TypeAlias = Callable[[str, Sequence[tuple[str, str]]], Awaitable[Any]]


class _WireListed(Wire):
    """GET gamma/markets: lists are JSON inside strings. Markets of protocol V2 list positions in place of tokens."""

    closed: bool
    tokens: tuple[str, ...] = Field(validation_alias=AliasChoices("clobTokenIds", "positionIds"))
    prices: tuple[Decimal, ...] = Field(validation_alias="outcomePrices")
    statuses: tuple[str, ...] = Field(default=(), validation_alias="umaResolutionStatuses")
    status: str | None = Field(default=None, validation_alias="umaResolutionStatus")

    @field_validator("tokens", "prices", "statuses", mode="before")
    @classmethod
    def _unpacked(cls, value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else () if value is None else value

    @property
    def is_resolved(self) -> bool:
        last = self.statuses[-1] if self.statuses else self.status
        return last is not None and last.lower() == _RESOLVED


class _WireToken(Wire):
    token_id: str
    outcome: str
    winner: bool = False


class _WireMarket(Wire):
    """GET /markets/{condition}, the long form: it alone flags winners."""

    closed: bool
    tokens: tuple[_WireToken, ...]


class MarketEndings:
    """`read`: GET a path of the order book, or a whole URL. Whatever it asks it asks within the background budget."""

    def __init__(self, read: Read, gamma_url: str, *, background: Lane) -> None:
        self._read = read
        self._listing = f"{gamma_url}/markets"
        self._background = background

    async def of(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        """The closed ones among them; `markets`: their ids at the order book, each with one of its tokens.

        Raises `ExchangeUnreachable`, `ExchangeMalformed` or `ExchangeRefused` where the listing does not tell. What the
        order book does not tell of a market is logged, and it counts as open.
        """
        by_token = {token: condition for condition, token in markets.items()}
        tokens = list(by_token)
        endings: dict[ConditionId, Ending] = {}
        for start in range(0, len(tokens), _TOGETHER):
            for listed in await self._closed(tokens[start : start + _TOGETHER]):
                condition = next((by_token[TokenId(one)] for one in listed.tokens if one in by_token), None)
                if condition is not None and (ending := await self._ending(condition, listed)) is not None:
                    endings[condition] = ending
        return endings

    async def _closed(self, tokens: Sequence[TokenId]) -> Sequence[_WireListed]:
        await self._background.take()
        query = [
            ("closed", "true"),
            ("limit", str(len(tokens))),
            *(("clob_token_ids", one) for one in tokens),
        ]
        answer = await self._read(self._listing, query)
        if not isinstance(answer, list):
            raise ExchangeMalformed(
                f"GET {self._listing} answered {answer!r:.100}: expected a list of markets."
            )
        found = []
        for one in answer:
            try:
                found.append(parse(_WireListed, one, self._listing))
            except ExchangeMalformed as error:
                log.warning("market.end_not_read", error=str(error))
        return [one for one in found if one.closed and len(one.tokens) == len(one.prices)]

    async def _ending(self, condition_id: ConditionId, listed: _WireListed) -> Ending | None:
        path = f"/markets/{condition_id}"
        try:
            await self._background.take()
            market = parse(_WireMarket, await self._read(path, ()), path)
        except ExchangeError as error:
            log.warning("market.end_not_read", condition_id=condition_id, error=str(error))
            return None
        if not market.closed:
            return None
        winners = [Token(TokenId(one.token_id), one.outcome) for one in market.tokens if one.winner]
        prices = {TokenId(one): price for one, price in zip(listed.tokens, listed.prices, strict=True)}
        return ending_of(winners, prices, is_resolved=listed.is_resolved)
