"""The JSON of the CLOB, in one place: what is a string, what is a number, which field is present when."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

from worker.sandbox.exchange.book import Book
from worker.sandbox.exchange.clock import NANOSECONDS
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.orders import ApiKey, Order, Side, TokenId
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.trades import Trade
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price, amount_text, price_text

Json: TypeAlias = dict[str, Any]
Levels: TypeAlias = list[tuple[Price, Micro]]


def accepted(
    order_id: str, status: str, *, making: Micro = 0, taking: Micro = 0, trade_ids: Sequence[str] = ()
) -> Json:
    """The answer to POST /order. Only a match carries amounts and trade ids; hashes come with the trades."""
    body: Json = {
        "success": True,
        "errorMsg": "",
        "orderID": order_id,
        "status": status,
        "makingAmount": amount_text(making) if trade_ids else "",
        "takingAmount": amount_text(taking) if trade_ids else "",
    }
    if trade_ids:
        body["tradeIDs"] = list(trade_ids)
    return body


def refused_in_batch(text: str, *, success: bool = False) -> Json:
    """One entry of a batch. Some refusals claim success there, and only the missing id tells."""
    return {
        "success": success,
        "errorMsg": text,
        "orderID": "",
        "status": "",
        "makingAmount": "",
        "takingAmount": "",
    }


def order_json(order: Order, rules: Rules) -> Json:
    """GET /data/order and /data/orders."""
    return {
        "id": order.id,
        "status": order.status.value,
        "owner": order.owner,
        "maker_address": order.maker,
        "market": order.condition,
        "asset_id": order.token,
        "side": order.side.value,
        "price": price_text(order.limit),
        "original_size": _original_size(order, rules),
        "size_matched": amount_text(order.filled_shares),
        "outcome": order.outcome,
        "order_type": order.type.value,
        "expiration": str(order.expiration_s),
        "associate_trades": list(order.trade_ids),
        "created_at": order.created_ns // NANOSECONDS,
    }


def order_event(order: Order, rules: Rules, *, kind: str, status: str, now_ns: int) -> Json:
    """The user channel's order event: kind is PLACEMENT, UPDATE or CANCELLATION."""
    return {
        "event_type": "order",
        "type": kind,
        "id": order.id,
        "owner": order.owner,
        "order_owner": order.owner,
        "market": order.condition,
        "asset_id": order.token,
        "side": order.side.value,
        "original_size": _original_size(order, rules),
        "size_matched": amount_text(order.filled_shares),
        "price": price_text(order.limit),
        "associate_trades": list(order.trade_ids) or None,
        "outcome": order.outcome,
        "created_at": str(order.created_ns // NANOSECONDS),
        "expiration": str(order.expiration_s),
        "order_type": order.type.value,
        "status": status,
        "maker_address": order.maker,
        "timestamp": _ms(now_ns),
    }


def trade_json(trade: Trade, viewer: ApiKey) -> Json:
    """GET /data/trades: the taker's view on top, every maker below, whoever asks."""
    taker = trade.taker
    return {
        "id": trade.id,
        "taker_order_id": taker.id,
        "market": trade.market.condition,
        "asset_id": taker.token,
        "side": taker.side.value,
        "size": amount_text(trade.shares),
        "price": price_text(trade.price),
        "fee_rate_bps": "0",
        "status": trade.status.value,
        "match_time": str(trade.matched_ns // NANOSECONDS),
        "match_time_nano": str(trade.matched_ns),
        "last_update": str(trade.updated_ns // NANOSECONDS),
        "outcome": taker.outcome,
        "bucket_index": trade.bucket_index,
        "owner": taker.owner,
        "maker_address": taker.maker,
        "transaction_hash": trade.transaction_hash,
        "trader_side": "TAKER" if taker.owner == viewer else "MAKER",
        "maker_orders": [
            {
                "order_id": fill.maker.id,
                "owner": fill.maker.owner,
                "maker_address": fill.maker.maker,
                "matched_amount": amount_text(fill.shares),
                "price": price_text(fill.maker.limit),
                "fee_rate_bps": "0",
                "asset_id": fill.maker.token,
                "outcome": fill.maker.outcome,
                "outcome_index": fill.maker.outcome_index,
                "side": fill.maker.side.value,
            }
            for fill in trade.fills
        ],
    }


def trade_event(trade: Trade, viewer: ApiKey, *, now_ns: int) -> Json:
    """The user channel's trade event: the trade, plus its envelope. No hash is `null` here."""
    return {
        **trade_json(trade, viewer),
        "event_type": "trade",
        "type": "TRADE",
        "trade_owner": trade.taker.owner,
        "transaction_hash": trade.transaction_hash or None,
        "timestamp": _ms(now_ns),
    }


def levels_of(book: Book, market: Market, token: TokenId) -> tuple[Levels, Levels]:
    """(bids ascending, asks descending) of a token: the best level is the last of each."""
    bids = [(price, book.bids.total(price)) for price in book.bids.prices()]
    asks = [(price, book.asks.total(price)) for price in book.asks.prices()]
    if token == market.tokens[0]:
        return bids, asks[::-1]
    return (
        [(PRICE_ONE - price, size) for price, size in reversed(asks)],
        [(PRICE_ONE - price, size) for price, size in bids],
    )


def book_json(book: Book, market: Market, token: TokenId, *, now_ns: int) -> Json:
    bids, asks = levels_of(book, market, token)
    last = market.last_trade_price
    return {
        "market": market.condition,
        "asset_id": token,
        "timestamp": _ms(now_ns),
        "hash": _hash(token, bids, asks),
        "bids": [{"price": price_text(price), "size": amount_text(size)} for price, size in bids],
        "asks": [{"price": price_text(price), "size": amount_text(size)} for price, size in asks],
        "min_order_size": amount_text(market.min_size),
        "tick_size": price_text(market.tick),
        "neg_risk": market.neg_risk,
        "last_trade_price": "" if last is None else price_text(market.own_price(token, last)),
    }


def price_change_event(
    book: Book, market: Market, touched: Sequence[tuple[Side, Price, Micro]], *, now_ns: int
) -> Json:
    """Every changed level, once for each token: a change of Yes is the mirrored change of No."""
    changes: list[Json] = []
    best = (book.bids.best(), book.asks.best())
    for token in market.tokens:
        best_bid, best_ask = touch_texts(market, token, best)
        for side, price, size in touched:
            own_side, own_price = market.in_book(token, side, price)
            changes.append(
                {
                    "asset_id": token,
                    "price": price_text(own_price),
                    "size": amount_text(size),
                    "side": own_side.value,
                    "hash": _hash(token, own_side, own_price, size),
                    "best_bid": best_bid,
                    "best_ask": best_ask,
                }
            )
    return {
        "event_type": "price_change",
        "market": market.condition,
        "price_changes": changes,
        "timestamp": _ms(now_ns),
    }


def touch_texts(market: Market, token: TokenId, best: tuple[Price | None, Price | None]) -> tuple[str, str]:
    """(best bid, best ask) of a token from the book's; an empty side reads "0" or "1"."""
    bid, ask = best
    if token != market.tokens[0]:
        bid, ask = (
            None if ask is None else PRICE_ONE - ask,
            None if bid is None else PRICE_ONE - bid,
        )
    return price_text(bid or 0), price_text(PRICE_ONE if ask is None else ask)


def last_trade_event(
    market: Market, token: TokenId, side: Side, price: Price, shares: Micro, *, now_ns: int
) -> Json:
    return {
        "event_type": "last_trade_price",
        "market": market.condition,
        "asset_id": token,
        "price": price_text(price),
        "size": amount_text(shares),
        "side": side.value,
        "fee_rate_bps": "0",
        "timestamp": _ms(now_ns),
    }


def tick_change_event(market: Market, token: TokenId, old: Price, *, now_ns: int) -> Json:
    return {
        "event_type": "tick_size_change",
        "market": market.condition,
        "asset_id": token,
        "old_tick_size": price_text(old),
        "new_tick_size": price_text(market.tick),
        "timestamp": _ms(now_ns),
    }


def resolved_event(market: Market, *, now_ns: int) -> Json:
    winner = market.winner
    return {
        "event_type": "market_resolved",
        "id": market.slug,
        "market": market.condition,
        "assets_ids": list(market.tokens),
        "winning_asset_id": winner,
        "winning_outcome": market.outcome_of(winner) if winner else None,
        "timestamp": _ms(now_ns),
    }


def _original_size(order: Order, rules: Rules) -> str:
    budget = order.terms.budget_usd
    if budget is not None and rules.fak_buy_size_in_usd:
        return amount_text(budget)
    return amount_text(order.terms.shares)


def _hash(*parts: object) -> str:
    return blake2b(repr(parts).encode(), digest_size=20).hexdigest()


def _ms(now_ns: int) -> str:
    return str(now_ns // 1_000_000)
