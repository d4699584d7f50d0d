"""Attempts as they cross the edge: recorded after every answer, read back to be looked up or sent again."""

from decimal import Decimal
from typing import Any

from worker.database.values import (
    Row,
    count_of,
    decimal_of,
    flag_of,
    moment_of,
    moment_text,
    number_text,
    optional_moment_of,
    plain_text,
    plain_words,
    text_of,
    word_of,
)
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import Attempt, AttemptRecord, Envelope, Fill, LostRule
from worker.orders.terms import (
    ExchangeVersion,
    LtOrderId,
    Mode,
    OrderId,
    OrderType,
    Side,
    StrategyId,
    TokenId,
    TradeId,
    WalletAddress,
)


def record_params(record: AttemptRecord) -> dict[str, Any]:
    return {
        "exchange_order_id": record.order_id,
        "state": record.state,
        "note": plain_text(record.note),
        "answer": plain_words(record.answer),
        "closed": record.closed,
        "sent_at": moment_text(record.sent_at),
        "answered_at": moment_text(record.answered_at),
        "lookup": record.lookup,
        "barred": record.barred,
        "decided_by": record.decided_by,
        "fills": [_fill(fill) for fill in record.fills],
        **_lost_rule(record.lost_rule),
    }


def _lost_rule(rule: LostRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    return {"lost_after_lookups": rule.lookups, "lost_after_s": f"{rule.after.total_seconds():.6f}"}


def _fill(fill: Fill) -> dict[str, Any]:
    return {
        "trade_id": fill.trade_id,
        "role": fill.role,
        "side": fill.side,
        "token_id": fill.token_id,
        "price": number_text(fill.price),
        "shares": number_text(fill.shares),
        "fee_usd": number_text(fill.fee_usd),
        "state": fill.state,
        "matched_at": moment_text(fill.matched_at),
    }


def parse_fill(row: Row) -> Fill:
    return Fill(
        trade_id=TradeId(text_of(row, "trade_id")),
        order_id=OrderId(text_of(row, "exchange_order_id")),
        role=text_of(row, "role"),
        side=word_of(row, "side", Side),
        token_id=TokenId(text_of(row, "token_id")),
        price=decimal_of(row, "price"),
        shares=decimal_of(row, "shares"),
        fee_usd=decimal_of(row, "fee_usd"),
        state=word_of(row, "state", FillState),
        matched_at=moment_of(row, "matched_at"),
    )


def parse_attempt(row: Row) -> Attempt:
    envelope = Envelope(
        order_id=OrderId(text_of(row, "exchange_order_id")),
        wallet=WalletAddress(text_of(row, "wallet_address")),
        token_id=TokenId(text_of(row, "token_id")),
        side=word_of(row, "side", Side),
        order_type=word_of(row, "order_type", OrderType),
        exchange_version=word_of(row, "exchange_version", ExchangeVersion),
        body=text_of(row, "signed_body"),
        expires_at=optional_moment_of(row, "expires_at"),
    )
    return Attempt(
        envelope=envelope,
        mode=word_of(row, "mode", Mode),
        strategy_id=StrategyId(text_of(row, "strategy_id")),
        lt_order_id=LtOrderId(text_of(row, "lt_order_id")),
        state=word_of(row, "state", AttemptState),
        created_at=moment_of(row, "created_at"),
        lookups=count_of(row, "lookups"),
        closed=optional_moment_of(row, "closed_at") is not None,
        stated_shares=_stated_shares(row, envelope.side),
        filled_shares=decimal_of(row, "filled_shares"),
        final_shares=decimal_of(row, "final_shares"),
        sends=count_of(row, "sends"),
        not_found=count_of(row, "not_found"),
        not_found_since=optional_moment_of(row, "not_found_since"),
        barred=flag_of(row, "barred"),
        sent_at=optional_moment_of(row, "sent_at"),
        looked_up_at=optional_moment_of(row, "looked_up_at"),
        signal_created_at=moment_of(row, "signal_created_at"),
        limit_price=decimal_of(row, "limit_price"),
        shares=None if row.get("shares") is None else decimal_of(row, "shares"),
        is_watched=row.get("closed_at") is not None
        and (row.get("decided_by") is not None or row.get("state") == AttemptState.ABANDONED),
    )


def _stated_shares(row: Row, side: Side) -> Decimal | None:
    """What the exchange's answer said: a buyer takes shares, a seller makes them."""
    answer = row.get("answer")
    amount = (
        answer.get("taking_amount" if side is Side.BUY else "making_amount")
        if isinstance(answer, dict)
        else None
    )
    return Decimal(amount) if isinstance(amount, str) and amount else None
