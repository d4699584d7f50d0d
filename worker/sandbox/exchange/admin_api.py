"""The simulation's own control panel over JSON, for an exchange that runs in another process.

Everything here is also reachable in process through `Venue`. Nothing of it exists on the venue.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeAlias

from aiohttp import web

from worker.sandbox.exchange.accounts import USD, asset_of
from worker.sandbox.exchange.admin_faults import FaultDesk
from worker.sandbox.exchange.intake import load_json
from worker.sandbox.exchange.journal import Receipt
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import Side, TokenId
from worker.sandbox.exchange.refusals import RefusedError
from worker.sandbox.exchange.trades import Trade
from worker.sandbox.exchange.trading_api import answer
from worker.sandbox.exchange.units import Micro, Price, amount_text, micro, price_of, price_text
from worker.sandbox.exchange.venue import Venue
from worker.sandbox.exchange.wire import Json

Verb: TypeAlias = Callable[[Json], Any]


class AdminApi:
    def __init__(self, venue: Venue, prefix: str) -> None:
        self._venue = venue
        self._faults = FaultDesk(venue)
        self._prefix = prefix

    def routes(self) -> list[web.RouteDef]:
        verbs: dict[str, Verb] = {
            "fund": self._fund,
            "shares": self._shares,
            "level": self._level,
            "levels": self._levels,
            "print": self._print,
            "market": self._list_market,
            "tick": self._tick,
            "pause": self._pause,
            "close": self._close,
            "resolve": self._resolve,
            "void": self._void,
            "redeem": self._redeem,
            "wallet": self._wallet,
            "restrict": self._restrict,
            "fault": self._faults.fault,
            "clear-faults": self._faults.clear_faults,
            "latency": self._faults.latency,
            "mode": self._faults.mode,
            "restart": self._faults.restart,
            "rate-limit": self._faults.rate_limit,
            "visibility": self._faults.visibility,
            "clock": self._faults.clock,
            "hang-up": self._faults.hang_up,
            "fates": self._faults.fates,
            "crowd": self._faults.crowd,
            "stream-noise": self._faults.stream_noise,
            "stall": self._faults.stall,
            "disconnect": self._faults.disconnect,
        }
        return [
            web.get(f"{self._prefix}state", self.state),
            web.get(f"{self._prefix}markets", self.markets),
            web.get(f"{self._prefix}journal", self.journal),
            web.get(f"{self._prefix}accepted", self.accepted),
            web.get(f"{self._prefix}orders", self.orders),
            web.get(f"{self._prefix}balances", self.balances),
            web.get(f"{self._prefix}arrivals", self.arrivals),
            web.get(f"{self._prefix}prints", self.prints),
            *(web.post(f"{self._prefix}{name}", _handler(verb)) for name, verb in verbs.items()),
        ]

    async def state(self, _request: web.Request) -> web.Response:
        engine = self._venue.engine
        return answer(
            {
                "markets": len(engine.markets),
                "orders": len(engine.orders),
                "resting": len(engine.resting),
                "trades": len(engine.trades),
                "order_posts": len(self._venue.journal.orders),
                "accepted_ids": len(self._venue.journal.accepted_ids()),
                "user_streams": self._venue.streams.count("user"),
                "market_streams": self._venue.streams.count("market"),
                "requests": {
                    f"{method} {path}": count for (method, path), count in self._venue.journal.counts.items()
                },
                **self._faults.state(),
            }
        )

    async def markets(self, _request: web.Request) -> web.Response:
        return answer([_market_json(market) for market in self._venue.engine.markets.values()])

    async def journal(self, request: web.Request) -> web.Response:
        """POSTs of orders in order of arrival: all, those of one `order_id`, or those `after` a sequence."""
        journal = self._venue.journal
        order_id = request.query.get("order_id")
        receipts = journal.posts_of(order_id) if order_id else journal.orders
        after = int(request.query.get("after", "-1"))
        limit = int(request.query.get("limit", "1000"))
        chosen = [receipt for receipt in receipts if receipt.sequence > after][:limit]
        return answer([_receipt_json(receipt) for receipt in chosen])

    async def accepted(self, _request: web.Request) -> web.Response:
        return answer(self._venue.journal.accepted_ids())

    async def orders(self, _request: web.Request) -> web.Response:
        """Every order that a client ever placed, as it stands now, with its part of every trade."""
        engine = self._venue.engine
        fills: defaultdict[str, list[Json]] = defaultdict(list)
        for trade in engine.trades.values():
            whole = (trade.price, trade.shares, trade.usd, trade.fee)
            fills[trade.taker.id].append(_fill_json(trade, "TAKER", *whole))
            for fill in trade.fills:
                part = (fill.maker.limit, fill.shares, fill.maker_usd, 0)
                fills[fill.maker.id].append(_fill_json(trade, "MAKER", *part))
        return answer(
            [
                {
                    "id": order.id,
                    "status": order.status.value,
                    "born_ns": order.created_ns,
                    "ended_ns": order.ended_ns,
                    "type": order.type.value,
                    "side": order.side.value,
                    "token": order.token,
                    "shares": amount_text(order.filled_shares),
                    "fills": fills[order.id],
                }
                for order in engine.orders.values()
                if not order.house
            ]
        )

    async def balances(self, request: web.Request) -> web.Response:
        """What `address` owns on the ledger, dollars as `USD` and shares by their token; held back or not."""
        engine, address = self._venue.engine, request.query["address"]
        tokens = (token for market in engine.markets.values() for token in market.tokens)
        held = {
            asset: engine.accounts.holding(address, asset).balance for asset in (USD, *map(asset_of, tokens))
        }
        return answer({asset: amount_text(amount) for asset, amount in held.items() if amount})

    async def prints(self, request: web.Request) -> web.Response:
        """Prints of a replay from number `since` on."""
        return answer(
            [
                {
                    "number": number,
                    "ms": entry.ms,
                    "token": entry.token,
                    "side": entry.side,
                    "price": price_text(entry.price),
                    "shares": amount_text(entry.shares),
                }
                for number, entry in self._venue.tape.since(int(request.query.get("since", "0")))
            ]
        )

    async def arrivals(self, _request: web.Request) -> web.Response:
        """First arrival of every order, also of those that were refused or killed, in Unix nanoseconds."""
        return answer(self._venue.journal.first_arrivals_ns())

    def _fund(self, body: Json) -> Json:
        credentials = self._venue.fund(body["address"], body["usd"])
        holding = self._venue.engine.accounts.holding(body["address"], USD)
        return {
            "balance": amount_text(holding.balance),
            "apiKey": credentials.key,
            "secret": credentials.secret,
            "passphrase": credentials.passphrase,
        }

    def _shares(self, body: Json) -> Json:
        address, token = body["address"], TokenId(body["token"])
        self._venue.backoffice.fund_shares(address, token, micro(body["shares"]))
        holding = self._venue.engine.accounts.holding(address, asset_of(token))
        return {"balance": amount_text(holding.balance)}

    def _level(self, body: Json) -> Json:
        self._venue.quote(body["token"], Side(body["side"]), body["price"], body["shares"])
        return {}

    def _levels(self, body: Json) -> Json:
        for level in body["levels"]:
            self._level(level)
        return {}

    def _print(self, body: Json) -> Json:
        taken = self._venue.house.trade(
            body["token"], Side(body["side"]), price_of(body["price"]), micro(body["shares"])
        )
        return {"taken": amount_text(taken)}

    def _list_market(self, body: Json) -> Json:
        market = synthetic_market(
            body["name"],
            tick=body.get("tick", "0.01"),
            min_size=body.get("min_size", 5),
            neg_risk=body.get("neg_risk", False),
            seconds_delay=body.get("seconds_delay", 0.0),
            taker_hold_s=body.get("taker_hold_s", 0.0),
            protocol_v2=body.get("protocol_v2", False),
        )
        self._venue.engine.list_market(market)
        return _market_json(market)

    def _tick(self, body: Json) -> Json:
        self._venue.backoffice.change_tick(body["condition"], price_of(body["tick"]))
        return {}

    def _pause(self, body: Json) -> Json:
        """The market stays open and takes no orders, until `accepting` is true."""
        self._venue.backoffice.pause(body["condition"], accepting=body.get("accepting", False))
        return {}

    def _close(self, body: Json) -> Json:
        self._venue.backoffice.close(body["condition"])
        return {}

    def _resolve(self, body: Json) -> Json:
        self._venue.backoffice.resolve(body["condition"], body["winner"])
        return {}

    def _void(self, body: Json) -> Json:
        self._venue.backoffice.void(body["condition"])
        return {}

    def _redeem(self, body: Json) -> Json:
        return {"payout": amount_text(self._venue.backoffice.redeem(body["address"], body["condition"]))}

    def _wallet(self, body: Json) -> Json:
        self._venue.engine.wallets.register(
            body["wallet"], owner=body["owner"], signature_type=body["signature_type"]
        )
        return {}

    def _restrict(self, body: Json) -> Json:
        self._venue.engine.keys.restrict(
            body["address"],
            closed_only=body.get("closed_only", False),
            banned=body.get("banned", False),
        )
        return {}


def _handler(verb: Verb) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        body = load_json(await request.read() or b"{}")
        try:
            outcome = verb(body)
            return answer(await outcome if isawaitable(outcome) else outcome)
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error

    return handle


def _market_json(market: Market) -> Json:
    return {
        "condition": market.condition,
        "listed_as": market.listed_as,
        "tokens": list(market.tokens),
        "outcomes": list(market.outcomes),
        "question": market.question,
        "tick": price_text(market.tick),
        "neg_risk": market.neg_risk,
        "closed": market.closed,
        "winner": market.winner,
        "voided": market.voided,
    }


def _fill_json(trade: Trade, role: str, price: Price, shares: Micro, usd: Micro, fee: Micro) -> Json:
    """`usd`: what changes hands for the shares, whole millionths of a dollar."""
    return {
        "trade": trade.id,
        "role": role,
        "price": price_text(price),
        "shares": amount_text(shares),
        "usd": amount_text(usd),
        "fee_usd": amount_text(fee),
        "status": trade.status.value,
    }


def _receipt_json(receipt: Receipt) -> Json:
    return {
        "sequence": receipt.sequence,
        "path": receipt.path,
        "arrived_ns": receipt.arrived_ns,
        "arrived_monotonic_ns": receipt.arrived_monotonic_ns,
        "answered_monotonic_ns": receipt.answered_monotonic_ns,
        "body": receipt.body.decode(errors="replace"),
        "order_ids": receipt.order_ids,
        "outcomes": receipt.outcomes,
        "status": receipt.status,
        "fault": receipt.fault,
    }
