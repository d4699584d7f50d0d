"""The public half: books, prices, ticks, fees, market descriptions (CLOB and Gamma), time and health."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from aiohttp import web

from worker.sandbox.exchange import wire
from worker.sandbox.exchange.clock import NANOSECONDS
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.intake import load_json
from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.orders import ConditionId, Side, TokenId
from worker.sandbox.exchange.refusals import NO_MARKET, NO_ORDER_BOOK, RefusedError
from worker.sandbox.exchange.trading_api import answer
from worker.sandbox.exchange.units import MICRO, PRICE_ONE, Price, price_text
from worker.sandbox.exchange.wire import Json

_BASE_FEE_BPS = 1000


class MarketApi:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/book", self.book),
            web.post("/books", self.books),
            web.get("/midpoint", self.midpoint),
            web.get("/price", self.price),
            web.get("/spread", self.spread),
            web.get("/last-trade-price", self.last_trade_price),
            web.get("/tick-size", self.tick_size),
            web.get("/neg-risk", self.neg_risk),
            web.get("/fee-rate", self.fee_rate),
            web.get("/markets-by-token/{token}", self.market_by_token),
            web.get("/clob-markets/{condition}", self.clob_market),
            web.get("/markets/{condition}", self.market),
            web.get("/markets", self.gamma_markets),
            web.get("/time", self.time),
            web.get("/version", self.version),
            web.get("/ok", self.ok),
            web.get("/", self.ok),
            web.get("/api/geoblock", self.geoblock),
            web.get("/deployed", self.deployed),
        ]

    async def book(self, request: web.Request) -> web.Response:
        return answer(self._book(request.query.get("token_id", "")))

    async def books(self, request: web.Request) -> web.Response:
        """Unknown tokens are left out, as on the venue."""
        wanted = load_json(await request.read())
        if not isinstance(wanted, list) or not all(isinstance(entry, dict) for entry in wanted):
            raise RefusedError("Invalid payload")
        tokens = [str(entry.get("token_id", "")) for entry in wanted]
        return answer([self._book(token) for token in tokens if self._exchange.market_of(token)])

    async def midpoint(self, request: web.Request) -> web.Response:
        bid, ask = self._touch(request)
        return answer({"mid": _decimal_text(Decimal(bid + ask) / 2 / PRICE_ONE)})

    async def price(self, request: web.Request) -> web.Response:
        bid, ask = self._touch(request)
        side = request.query.get("side", "").upper()
        if side not in {"BUY", "SELL"}:
            raise RefusedError("Invalid side")
        return answer({"price": price_text(bid if side == "BUY" else ask)})

    async def spread(self, request: web.Request) -> web.Response:
        bid, ask = self._touch(request)
        return answer({"spread": price_text(ask - bid)})

    async def last_trade_price(self, request: web.Request) -> web.Response:
        market, token = self._market_of(request)
        last = market.last_trade_price
        price = "0.5" if last is None else price_text(market.own_price(token, last))
        return answer({"price": price, "side": Side.BUY.value})

    async def tick_size(self, request: web.Request) -> web.Response:
        market, _ = self._market_of(request)
        return answer({"minimum_tick_size": market.tick / PRICE_ONE})

    async def neg_risk(self, request: web.Request) -> web.Response:
        market, _ = self._market_of(request)
        return answer({"neg_risk": market.neg_risk})

    async def fee_rate(self, request: web.Request) -> web.Response:
        self._market_of(request)
        return answer({"base_fee": _BASE_FEE_BPS})

    async def market_by_token(self, request: web.Request) -> web.Response:
        market = self._exchange.market_of(request.match_info["token"])
        if market is None:
            raise RefusedError(NO_MARKET, status=404)
        primary, secondary = market.tokens
        return answer(
            {
                "condition_id": market.condition,
                "primary_token_id": primary,
                "secondary_token_id": secondary,
            }
        )

    async def clob_market(self, request: web.Request) -> web.Response:
        return answer(clob_market_json(self._by_condition(request)))

    async def market(self, request: web.Request) -> web.Response:
        return answer(long_market_json(self._by_condition(request), self._exchange))

    async def gamma_markets(self, request: web.Request) -> web.Response:
        """Gamma's list, narrowed by `condition_ids`, `clob_token_ids` (repeated or comma-separated) or `closed`."""
        conditions = _listed(request, "condition_ids")
        tokens = _listed(request, "clob_token_ids")
        found = [
            market
            for market in self._exchange.markets.values()
            if (not conditions or not conditions.isdisjoint({market.condition, market.listed_as}))
            and (not tokens or not tokens.isdisjoint(market.tokens))
            and request.query.get("closed", str(market.closed).lower()) == str(market.closed).lower()
        ]
        limit = int(request.query.get("limit", "100"))
        offset = int(request.query.get("offset", "0"))
        return answer(
            [gamma_market_json(market, self._exchange) for market in found[offset : offset + limit]]
        )

    async def time(self, _request: web.Request) -> web.Response:
        return answer(self._exchange.keys.server_time_s())

    async def version(self, _request: web.Request) -> web.Response:
        return answer({"version": 2})

    async def ok(self, _request: web.Request) -> web.Response:
        return answer("OK")

    async def geoblock(self, _request: web.Request) -> web.Response:
        return answer({"blocked": False, "ip": "127.0.0.1", "country": "IE", "region": "L"})

    async def deployed(self, request: web.Request) -> web.Response:
        """The relayer's word on whether a wallet's contract is on the chain."""
        return answer({"deployed": self._exchange.wallets.is_deployed(request.query.get("address", ""))})

    def _book(self, token: str) -> Json:
        market = self._exchange.market_of(token)
        if market is None or market.closed:
            raise RefusedError(NO_ORDER_BOOK, status=404)
        book = self._exchange.books[market.condition]
        return wire.book_json(book, market, TokenId(token), now_ns=self._exchange.clock.now_ns())

    def _market_of(self, request: web.Request) -> tuple[Market, TokenId]:
        token = request.query.get("token_id", "")
        market = self._exchange.market_of(token)
        if market is None:
            raise RefusedError(NO_MARKET, status=404)
        return market, TokenId(token)

    def _by_condition(self, request: web.Request) -> Market:
        market = self._exchange.markets.get(ConditionId(request.match_info["condition"]))
        if market is None:
            raise RefusedError(NO_MARKET, status=404)
        return market

    def _touch(self, request: web.Request) -> tuple[Price, Price]:
        market, token = self._market_of(request)
        if market.closed:
            raise RefusedError(NO_ORDER_BOOK, status=404)
        return touch_of(self._exchange, market, token)


def touch_of(exchange: Exchange, market: Market, token: TokenId) -> tuple[Price, Price]:
    """(best bid, best ask) of a token; an empty side reads 0 or 1."""
    book = exchange.books[market.condition]
    bids, asks = wire.levels_of(book, market, token)
    return (bids[-1][0] if bids else 0), (asks[-1][0] if asks else PRICE_ONE)


def clob_market_json(market: Market) -> Json:
    return {
        "c": market.condition,
        "t": [{"t": t, "o": o} for t, o in zip(market.tokens, market.outcomes, strict=True)],
        "mos": market.min_size / MICRO,
        "mts": market.tick / PRICE_ONE,
        "mbf": _BASE_FEE_BPS,
        "tbf": _BASE_FEE_BPS,
        "nr": market.neg_risk,
        "fd": {"r": float(market.fees.rate), "e": market.fees.exponent, "to": True},
        "itode": market.taker_hold_s > 0,
        "sd": market.seconds_delay,
        "oas": 0,
    }


def long_market_json(market: Market, exchange: Exchange) -> Json:
    return {
        "condition_id": market.condition,
        "question": market.question,
        "market_slug": market.slug,
        "active": True,
        "closed": market.closed,
        "archived": False,
        "accepting_orders": market.accepting_orders,
        "enable_order_book": not market.closed,
        "minimum_order_size": market.min_size / MICRO,
        "minimum_tick_size": market.tick / PRICE_ONE,
        "neg_risk": market.neg_risk,
        "seconds_delay": market.seconds_delay,
        "game_start_time": None,
        "maker_base_fee": 0,
        "taker_base_fee": 0,
        "tokens": [
            {
                "token_id": token,
                "outcome": market.outcome_of(token),
                "price": _mark(market, token, exchange),
                "winner": market.winner == token,
            }
            for token in market.tokens
        ],
    }


def gamma_market_json(market: Market, exchange: Exchange) -> Json:
    """Gamma packs lists as JSON inside strings."""
    bid, ask = touch_of(exchange, market, market.tokens[0])
    marks = [_mark(market, token, exchange) for token in market.tokens]
    return {
        "id": str(int(market.condition[2:10], 16)),
        "question": market.question,
        "conditionId": market.listed_as,
        "slug": market.slug,
        "outcomes": json.dumps(list(market.outcomes)),
        "outcomePrices": json.dumps([str(mark) for mark in marks]),
        **(
            {"version": "v2", "positionIds": list(market.tokens)}
            if market.is_position
            else {"clobTokenIds": json.dumps(list(market.tokens))}
        ),
        "active": True,
        "closed": market.closed,
        "archived": False,
        "acceptingOrders": market.accepting_orders,
        "enableOrderBook": not market.closed,
        "orderPriceMinTickSize": market.tick / PRICE_ONE,
        "orderMinSize": market.min_size / MICRO,
        "negRisk": market.neg_risk,
        "secondsDelay": market.seconds_delay,
        "bestBid": bid / PRICE_ONE,
        "bestAsk": ask / PRICE_ONE,
        "spread": (ask - bid) / PRICE_ONE,
        "lastTradePrice": (market.last_trade_price or 0) / PRICE_ONE,
        "feesEnabled": market.fees.rate > 0,
        "feeSchedule": {
            "exponent": market.fees.exponent,
            "rate": float(market.fees.rate),
            "takerOnly": True,
            "rebateRate": 0.0,
        },
        "umaResolutionStatuses": json.dumps(["resolved"] if market.resolved else []),
        "startDate": _iso(0),
        "endDate": _iso(exchange.clock.now_ns() // NANOSECONDS + 86_400),
    }


def _mark(market: Market, token: TokenId, exchange: Exchange) -> float:
    """What a token is worth: its payout once resolved, else the middle of its book."""
    if market.resolved:
        return market.payout(token) / PRICE_ONE
    bid, ask = touch_of(exchange, market, token)
    return (bid + ask) / 2 / PRICE_ONE


def _listed(request: web.Request, name: str) -> set[str]:
    values: list[str] = request.query.getall(name, []) + request.query.getall(f"{name}[]", [])
    return {part for value in values for part in value.split(",") if part}


def _decimal_text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
