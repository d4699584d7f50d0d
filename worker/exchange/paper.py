"""Paper trading: orders meet the live book as it stands when they arrive, and nothing is ever sent.

Same rules as the real thing: FAK and FOK BUY spend dollars, everything else trades shares, price improvement goes
to us, takers pay the market's fee. A GTC or GTD order takes what crosses at once and then rests unfilled until it
is cancelled. Known to flatter: an order here leaves the real book untouched, so two may take the same offer, and
paper trades are final at once: the answer to an order tells them. Orders live in memory, the oldest forgotten first;
what is not in it is what the ledger holds of it. No id made here can be an exchange's id: each begins with the letters
`paper`.
"""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias

from eth_utils.crypto import keccak

from worker.errors import ExchangeError, MarketNotFound
from worker.exchange.envelopes import canonical_json, random_salt, wall_clock_ms
from worker.exchange.lanes import Lanes
from worker.exchange.market_channel import MarketChannel
from worker.exchange.market_data import MarketData, VenueHealth
from worker.exchange.shadow import Execution, ShadowOrder, execute
from worker.exchange.trades import TAKER, taker_fee_usd
from worker.orders.decide import Plan
from worker.orders.endings import Ending
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.market import Book, Market
from worker.orders.numbers import CENT, plain
from worker.orders.paper import PAPER_MARK
from worker.orders.ports import Answer, Clock, Envelope, Fill, OrderView, Remembered, WalletBalance
from worker.orders.terms import ConditionId, OrderId, OrderType, Side, TokenId, TradeId, WalletAddress
from worker.settings import ExchangeSettings

Recall: TypeAlias = Callable[[OrderId], Awaitable[Remembered | None]]

_DROPPED_EARLY = timedelta(seconds=60)  # before the expiration that a GTD order states

# The exchange's own words: `orders/outcomes.py` knows them.
_NO_MATCH = (
    "no orders found to match with FAK order. FAK orders are partially filled or killed if no match is found."
)
_NOT_FILLED = "order couldn't be fully filled. FOK orders are fully filled or killed."
_NO_BOOK = "No orderbook exists for the requested token id"
# Recorded as standing on the book.
_RESTING = frozenset(
    {AttemptState.LIVE, AttemptState.DELAYED, AttemptState.UNMATCHED, AttemptState.CANCELLING}
)


async def _remember_nothing(_: OrderId) -> Remembered | None:
    return None


@dataclass(frozen=True, slots=True)
class _Kept:
    status: str
    fills: tuple[Fill, ...]
    dies_at: datetime | None
    condition_id: ConditionId | None


class PaperExchange:
    """The `Exchange` port with shadow fills. Any wallet address will do, and its balance is the bankroll."""

    def __init__(
        self,
        settings: ExchangeSettings,
        clock: Clock,
        *,
        bankroll_usd: Decimal,
        lanes: Lanes | None = None,
        market_data: MarketData | None = None,
        recall: Recall = _remember_nothing,
        salt: Callable[[], int] = random_salt,
        timestamp_ms: Callable[[], int] = wall_clock_ms,
        remembers: int = 20_000,
    ) -> None:
        """`market_data`: somebody else's, who closes it. `recall`: what is written down of an order."""
        self._keep_warm_every_s = settings.keep_warm_every_s
        self._market_data = market_data or MarketData(
            settings, clock, background=(lanes or Lanes(settings)).background
        )
        self._recall = recall
        self._clock = clock
        self._bankroll_usd = bankroll_usd
        self._salt = salt
        self._timestamp_ms = timestamp_ms
        self._remembers = remembers
        self._kept: OrderedDict[OrderId, _Kept] = OrderedDict()

    async def market(self, condition_id: ConditionId, *, anew: bool = False) -> Market:
        return await self._market_data.market(condition_id, anew=anew)

    async def book(self, token_id: TokenId) -> Book:
        return await self._market_data.book(token_id)

    async def endings(self, markets: Mapping[ConditionId, TokenId]) -> Mapping[ConditionId, Ending]:
        return await self._market_data.endings(markets)

    async def prepare(self, wallet: WalletAddress, plan: Plan) -> Envelope:
        body = canonical_json(
            {
                "condition_id": plan.market.condition_id,
                "limit_price": plain(plan.limit_price),
                "order_type": plan.order_type.value,
                "paper": True,
                "salt": self._salt(),
                "shares": _text(plan.amounts.shares),
                "side": plan.side.value,
                "spend_usd": _text(plan.amounts.spend_usd),
                "timestamp": self._timestamp_ms(),
                "token_id": plan.token.token_id,
                "wallet": wallet,
            }
        )
        return Envelope(
            order_id=paper_order_id(body),
            wallet=wallet,
            token_id=plan.token.token_id,
            side=plan.side,
            order_type=plan.order_type,
            exchange_version=plan.market.exchange_version,
            body=body,
            expires_at=plan.expires_at,
        )

    async def submit(self, envelope: Envelope) -> Answer:
        order_id = envelope.order_id
        if paper_order_id(envelope.body) != order_id:
            error = f"{order_id} is not a paper order, or its body was altered."
            return Answer(None, connected=False, sendable=False, error=error)
        if order_id in self._kept:
            return Answer(400, error=f"order {order_id} is invalid. Duplicated.")
        letter = json.loads(envelope.body)
        try:
            market = await self._market_data.market_whatever_its_age(ConditionId(letter["condition_id"]))
            book = await self._market_data.book(envelope.token_id)
        except MarketNotFound:
            return Answer(404, error=_NO_BOOK)
        except ExchangeError as error:
            return Answer(None, connected=False, error=str(error))
        order = ShadowOrder(
            side=envelope.side,
            order_type=envelope.order_type,
            limit_price=Decimal(letter["limit_price"]),
            spend_usd=_number(letter["spend_usd"]),
            shares=_number(letter["shares"]),
        )
        return self._settle(envelope, execute(order, book), market)

    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        del wallet, since
        kept = await self._find(order_id)
        if kept is None:
            return OrderView(order_id, found=False)
        if kept.status == "LIVE" and await self._is_over(kept):
            kept = self._kept[order_id] = replace(self._kept.get(order_id, kept), status="CANCELED")
        matched = sum((fill.shares for fill in kept.fills), Decimal(0))
        return OrderView(order_id, found=True, status=kept.status, size_matched=matched, fills=kept.fills)

    async def fills(
        self, wallet: WalletAddress, order_ids: Collection[OrderId], *, since: datetime
    ) -> Mapping[OrderId, Sequence[Fill]]:
        del wallet, since
        known = [(order_id, await self._find(order_id)) for order_id in order_ids]
        return {order_id: kept.fills for order_id, kept in known if kept is not None and kept.fills}

    async def open_orders(self, wallet: WalletAddress) -> Mapping[OrderId, Decimal]:
        """None: to ask after one by itself costs nothing here, and tells whether its time is up."""
        del wallet
        return {}

    async def cancel(self, wallet: WalletAddress, order_id: OrderId) -> bool:
        del wallet
        kept = await self._find(order_id)
        if kept is None or kept.status != "LIVE":
            return False
        self._kept[order_id] = replace(kept, status="CANCELED")
        return True

    async def balance(self, wallet: WalletAddress) -> WalletBalance:
        """The bankroll, whatever was traded: what a strategy may lose is bounded by its own capital."""
        return WalletBalance(wallet, self._bankroll_usd, self._clock.now())

    async def warm(self, wallets: Sequence[WalletAddress], condition_ids: Sequence[ConditionId]) -> None:
        del wallets
        await self._market_data.warm(condition_ids)

    async def keep_warm(self) -> None:
        """Runs until cancelled: keeps the markets in use from expiring."""
        while True:
            await asyncio.sleep(self._keep_warm_every_s)
            await self._market_data.renew()

    async def health(self) -> VenueHealth:
        return await self._market_data.health()

    async def order_events(self, wallet: WalletAddress) -> AsyncIterator[OrderId]:
        """Never any: whatever a paper order takes, it takes when it is submitted."""
        del wallet
        await asyncio.Event().wait()
        yield OrderId("")

    @property
    def channel(self) -> MarketChannel:
        return self._market_data.channel

    async def aclose(self) -> None:
        await self._market_data.aclose()

    def _settle(self, envelope: Envelope, execution: Execution, market: Market) -> Answer:
        match envelope.order_type:
            case OrderType.FAK if not execution.taken:
                return Answer(400, error=_NO_MATCH)
            case OrderType.FOK if not execution.complete:
                return Answer(400, error=_NOT_FILLED)
            case _:
                fills = self._book_fills(envelope, execution, market)
        buys = envelope.side is Side.BUY
        return Answer(
            http_status=200,
            order_id=envelope.order_id,
            status="matched" if fills else "live",
            making_amount=(execution.usd if buys else execution.shares) if fills else None,
            taking_amount=(execution.shares if buys else execution.usd) if fills else None,
            trade_ids=tuple(fill.trade_id for fill in fills),
            fills=fills,
        )

    def _book_fills(self, envelope: Envelope, execution: Execution, market: Market) -> tuple[Fill, ...]:
        now = self._clock.now()
        fills = tuple(
            Fill(
                trade_id=TradeId(f"paper-{envelope.order_id[-16:]}-{number}"),
                order_id=envelope.order_id,
                role=TAKER,
                side=envelope.side,
                token_id=envelope.token_id,
                price=each.price,
                shares=each.shares,
                fee_usd=taker_fee_usd(each.shares, each.price, market),
                state=FillState.FINAL,
                matched_at=now,
            )
            for number, each in enumerate(execution.taken)
        )
        rests = envelope.order_type.rests and not execution.complete
        status = "LIVE" if rests else "MATCHED"
        self._keep(envelope.order_id, _Kept(status, fills, _death(envelope.expires_at), market.condition_id))
        return fills

    async def _is_over(self, kept: _Kept) -> bool:
        """Whether its time is up, or its market closed: the exchange takes whatever rests there off the book."""
        if kept.dies_at is not None and self._clock.now() >= kept.dies_at:
            return True
        if kept.condition_id is None:
            return False
        try:
            return (await self._market_data.market(kept.condition_id)).closed
        except ExchangeError:
            return False  # asked again with the next look-up

    async def _find(self, order_id: OrderId) -> _Kept | None:
        if order_id not in self._kept:
            remembered = await self._recall(order_id)
            # Meanwhile somebody else may have recalled it, and cancelled it since.
            if remembered is not None and order_id not in self._kept:
                self._keep(order_id, _reopened(remembered))
        return self._kept.get(order_id)

    def _keep(self, order_id: OrderId, kept: _Kept) -> None:
        self._kept[order_id] = kept
        while len(self._kept) > self._remembers:
            self._kept.popitem(last=False)


def paper_order_id(body: str) -> OrderId:
    """An id of the exchange's shape that shows what it is: `0x7061706572` spells `paper`."""
    digest = keccak(body.encode()).hex()
    return OrderId(PAPER_MARK + digest[len(PAPER_MARK) - 2 :])


def _reopened(remembered: Remembered) -> _Kept:
    """An order of an earlier process, as it was written down. What it did not live to write down did not happen."""
    filled_shares = sum((fill.shares for fill in remembered.fills), Decimal(0))
    if remembered.state is AttemptState.MATCHED:
        status = "MATCHED"
    elif remembered.state in _RESTING:
        complete = remembered.shares is not None and remembered.shares - filled_shares < CENT
        status = "MATCHED" if complete else "LIVE"
    else:
        status = "CANCELED"
    return _Kept(status, remembered.fills, _death(remembered.expires_at), remembered.condition_id)


def _death(expires_at: datetime | None) -> datetime | None:
    return expires_at - _DROPPED_EARLY if expires_at is not None else None


def _text(amount: Decimal | None) -> str | None:
    return plain(amount) if amount is not None else None


def _number(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None
