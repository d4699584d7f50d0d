"""A trade and its life: MATCHED, then MINED (the ledger moves, a hash appears), then CONFIRMED.

Or RETRYING in between, or FAILED: what it held is released and nothing moves. Which of these happens is
scripted per trade; by default every trade settles.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TypeAlias, assert_never

from eth_hash.auto import keccak

from worker.sandbox.exchange.accounts import Transfer
from worker.sandbox.exchange.clock import Agenda
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.matching import Fill
from worker.sandbox.exchange.orders import Address, ApiKey, Order, OrderId
from worker.sandbox.exchange.rules import SettlementDelays
from worker.sandbox.exchange.units import Micro, Price


class TradeStatus(StrEnum):
    MATCHED = "MATCHED"
    MINED = "MINED"
    CONFIRMED = "CONFIRMED"
    RETRYING = "RETRYING"
    FAILED = "FAILED"


class Fate(StrEnum):
    """How a trade's settlement goes."""

    SETTLES = "settles"
    RETRIES = "retries"  # MATCHED, RETRYING, MINED, CONFIRMED
    FAILS = "fails"  # MATCHED, FAILED
    FAILS_AFTER_RETRY = "fails_after_retry"  # MATCHED, RETRYING, FAILED
    STUCK = "stuck"  # MATCHED for ever


@dataclass(slots=True, kw_only=True)
class Trade:
    """One price met by one taker. `price`, `usd` and `fee` are the taker's, in the taker's token."""

    id: str
    taker: Order
    market: Market
    price: Price
    shares: Micro
    usd: Micro
    fee: Micro
    fills: tuple[Fill, ...]
    transfers: tuple[Transfer, ...]
    bucket_index: int
    matched_ns: int
    updated_ns: int
    status: TradeStatus = TradeStatus.MATCHED
    transaction_hash: str = ""
    history: list[TradeStatus] = field(default_factory=lambda: [TradeStatus.MATCHED])

    @property
    def is_between_house(self) -> bool:
        return self.taker.house and all(fill.maker.house for fill in self.fills)

    def addresses(self) -> frozenset[Address]:
        return frozenset((self.taker.maker, *(fill.maker.maker for fill in self.fills)))

    def owners(self) -> tuple[ApiKey, ...]:
        """Every user who is part of it, taker first."""
        parties = (self.taker, *(fill.maker for fill in self.fills))
        return tuple(dict.fromkeys(party.owner for party in parties if not party.house))


FateOf: TypeAlias = Callable[[Trade], Fate]


def always_settles(_trade: Trade) -> Fate:
    return Fate.SETTLES


class Settlement:
    """Walks trades through their states on the agenda, telling the exchange at every step."""

    def __init__(
        self, agenda: Agenda, delays: SettlementDelays, advance: Callable[[Trade, TradeStatus], None]
    ) -> None:
        self._agenda = agenda
        self._delays = delays
        self._advance = advance
        self.fate_of: FateOf = always_settles

    def begin(self, trade: Trade) -> None:
        steps = _steps(self.fate_of(trade), self._delays)
        after_s = 0.0
        for delay_s, status in steps:
            after_s += delay_s
            self._agenda.after(after_s, partial(self._advance, trade, status))


def _steps(fate: Fate, delays: SettlementDelays) -> list[tuple[float, TradeStatus]]:
    """The states still to come, each with the time spent before it."""
    mined = (delays.to_mined_s, TradeStatus.MINED)
    retrying = (delays.to_mined_s, TradeStatus.RETRYING)
    confirmed = (delays.to_confirmed_s, TradeStatus.CONFIRMED)
    match fate:
        case Fate.SETTLES:
            return [mined, confirmed]
        case Fate.RETRIES:
            return [retrying, (delays.retry_s, TradeStatus.MINED), confirmed]
        case Fate.FAILS:
            return [(delays.to_mined_s, TradeStatus.FAILED)]
        case Fate.FAILS_AFTER_RETRY:
            return [retrying, (delays.retry_s, TradeStatus.FAILED)]
        case Fate.STUCK:
            return []
        case _:
            assert_never(fate)


def trade_id(taker: OrderId, bucket: int) -> str:
    """A taker trades once at each price, so its order id and the bucket name the trade, in any venue."""
    return str(uuid.UUID(bytes=keccak(f"trade:{taker}:{bucket}".encode())[:16], version=4))


def transaction_hash(trade: str) -> str:
    return "0x" + keccak(b"transaction:" + trade.encode()).hex()
