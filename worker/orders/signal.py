"""A paper signal, checked once where it enters: either a `Signal` that everything downstream may trust, or `Malformed`.

A row comes from Realtime (numerics as JSON floats, exact up to 15 digits) or from SQL (numerics as text). A row that
is malformed on the lossy path is worth re-reading as text before it is written off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from worker.orders.numbers import exact_decimal, utc_moment
from worker.orders.reasons import SkipReason
from worker.orders.terms import ConditionId, FtOrderId, FtWalletId, Side

_VALUE_LIMIT = 80  # a malformed value is shown, not stored whole
_COUNT_DIGITS = 10
_EXPECTED = {
    SkipReason.UNKNOWN_SIDE: "BUY or SELL",
    SkipReason.BAD_PRICE: "above 0, below 1",
    SkipReason.BAD_SIZE: "above 0 USD",
}


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of `ft_orders`. `entry_price` carries the paper markup; `size_usd` is the paper bet, not ours."""

    ft_order_id: FtOrderId
    ft_wallet_id: FtWalletId
    side: Side
    condition_id: ConditionId
    token_label: str
    entry_price: Decimal
    size_usd: Decimal
    outcome: str
    order_time: datetime  # the trader's trade
    created_at: datetime  # the insert: what ages are judged by
    source_trade_id: str | None = None
    trader_address: str | None = None
    market_slug: str | None = None
    market_title: str | None = None
    market_end_time: datetime | None = None
    # What a bet may rest on, as fractions of 1; `conviction` counts average trades of that trader.
    trader_win_rate: Decimal | None = None
    trader_resolved_count: int | None = None
    model_probability: Decimal | None = None
    edge_pct: Decimal | None = None
    conviction: Decimal | None = None

    @property
    def is_open(self) -> bool:
        return self.outcome == "OPEN"


@dataclass(frozen=True, slots=True)
class Malformed:
    """A row that can never be traded on: what is wrong with it, what stands there, and what would have to."""

    ft_order_id: FtOrderId
    reason: SkipReason
    value: str
    expected: str = ""


class _MalformedError(Exception):
    def __init__(self, reason: SkipReason, value: object) -> None:
        super().__init__(reason)
        self.reason = reason
        text = "NULL" if value is None else str(value)[:_VALUE_LIMIT]
        self.value = text if text.strip() else repr(text)


def parse_signal(row: Mapping[str, Any]) -> Signal | Malformed:
    """Read one row of `ft_orders`. Raises ValueError without an id that is a UUID, and for nothing else in it.

    A NULL side is refused like any other word that is not exactly BUY or SELL: the column is nullable, nothing
    documents what NULL stands for, and since the paper side began to insert sells a guess of BUY could buy what the
    trader sold. Optional numbers that cannot be read, or cannot be what they say they are, are None, never 0.
    """
    ft_order_id = FtOrderId(str(UUID(str(row.get("order_id")))))
    try:
        return Signal(
            ft_order_id=ft_order_id,
            ft_wallet_id=FtWalletId(_text(row, "wallet_id", SkipReason.MISSING_WALLET)),
            side=_side(row.get("side")),
            condition_id=ConditionId(_text(row, "condition_id", SkipReason.MISSING_MARKET)),
            token_label=_text(row, "token_label", SkipReason.MISSING_LABEL),
            entry_price=_price(row.get("entry_price")),
            size_usd=_size(row.get("size")),
            outcome=_optional_text(row, "outcome") or "",
            order_time=_moment(row, "order_time"),
            created_at=_moment(row, "created_at"),
            source_trade_id=_optional_text(row, "source_trade_id"),
            trader_address=_optional_text(row, "trader_address"),
            market_slug=_optional_text(row, "market_slug"),
            market_title=_optional_text(row, "market_title"),
            market_end_time=utc_moment(row.get("market_end_time")),
            trader_win_rate=_within(row.get("trader_win_rate"), 0, 1),
            trader_resolved_count=_optional_count(row.get("trader_resolved_count")),
            model_probability=_within(row.get("model_probability"), 0, 1),
            edge_pct=_within(row.get("edge_pct"), -1, 1),
            conviction=_within(row.get("conviction"), 0, None),
        )
    except _MalformedError as error:
        return Malformed(ft_order_id, error.reason, error.value, _EXPECTED.get(error.reason, ""))


def _text(row: Mapping[str, Any], column: str, reason: SkipReason) -> str:
    text = _optional_text(row, column)
    if text is None:
        raise _MalformedError(reason, row.get(column))
    return text


def _optional_text(row: Mapping[str, Any], column: str) -> str | None:
    """As written in the table, since the claim compares it there; blank is absent."""
    value = row.get(column)
    return value if isinstance(value, str) and value.strip() else None


def _side(value: object) -> Side:
    try:
        return Side(value)  # type: ignore[arg-type]  # whatever it is, it is a side or it is refused
    except ValueError:
        raise _MalformedError(SkipReason.UNKNOWN_SIDE, value) from None


def _price(value: object) -> Decimal:
    price = exact_decimal(value)
    if price is None or not 0 < price < 1:
        raise _MalformedError(SkipReason.BAD_PRICE, value)
    return price


def _size(value: object) -> Decimal:
    size = exact_decimal(value)
    if size is None or size <= 0:
        raise _MalformedError(SkipReason.BAD_SIZE, value)
    return size


def _moment(row: Mapping[str, Any], column: str) -> datetime:
    moment = utc_moment(row.get(column))
    if moment is None:
        raise _MalformedError(SkipReason.BAD_TIME, f"{column}={row.get(column)}")
    return moment


def _within(value: object, least: int, most: int | None) -> Decimal | None:
    number = exact_decimal(value)
    if number is None or number < least or (most is not None and number > most):
        return None
    return number


def _optional_count(value: object) -> int | None:
    number = exact_decimal(value)
    if number is None or number.adjusted() > _COUNT_DIGITS or number != number.to_integral_value():
        return None
    return int(number)
