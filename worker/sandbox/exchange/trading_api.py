"""The authenticated half of the CLOB over HTTP: keys, orders, cancels, look-ups, balances."""

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, TypeVar

from aiohttp import web

from worker.sandbox.exchange import wire
from worker.sandbox.exchange.accounts import USD, asset_of
from worker.sandbox.exchange.auth import Credentials
from worker.sandbox.exchange.clock import NANOSECONDS
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.faults import HANDLING
from worker.sandbox.exchange.handling import BY_THE_RULES
from worker.sandbox.exchange.hashing import NEG_RISK_EXCHANGE, STANDARD_EXCHANGE, V3_EXCHANGE
from worker.sandbox.exchange.intake import load_json, read_post
from worker.sandbox.exchange.journal import Journal, Receipt
from worker.sandbox.exchange.limiter import Errand
from worker.sandbox.exchange.orders import Address, OrderId, Side, TokenId
from worker.sandbox.exchange.outcomes import Cancellation
from worker.sandbox.exchange.refusals import NO_ORDER, POST_ONLY_MODE, TOO_MANY_REQUESTS, RefusedError
from worker.sandbox.exchange.wire import Json

RECEIPT = web.RequestKey("receipt", Receipt)
RATE_HEADERS = web.RequestKey("rate_headers", Mapping[str, str])
"""What the limiter says of a request, for whatever its answer becomes."""
FIRST_CURSOR, LAST_CURSOR = "MA==", "LTE="
_Item = TypeVar("_Item")


def answer(body: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(body, separators=(",", ":")).encode(), status=status, content_type="application/json"
    )


class TradingApi:
    def __init__(self, exchange: Exchange, journal: Journal) -> None:
        self._exchange = exchange
        self._journal = journal

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/order", self.post_order),
            web.post("/orders", self.post_orders),
            web.delete("/order", self.cancel_order),
            web.delete("/orders", self.cancel_orders),
            web.delete("/cancel-all", self.cancel_all),
            web.delete("/cancel-market-orders", self.cancel_market_orders),
            web.get("/data/order/{order_id}", self.get_order),
            web.get("/data/orders", self.list_orders),
            web.get("/data/trades", self.list_trades),
            web.get("/balance-allowance", self.balance_allowance),
            web.get("/balance-allowance/update", self.update_balance_allowance),
            web.post("/auth/api-key", self.create_api_key),
            web.get("/auth/derive-api-key", self.derive_api_key),
            web.get("/auth/api-keys", self.list_api_keys),
            web.delete("/auth/api-key", self.revoke_api_key),
            web.get("/auth/ban-status/closed-only", self.closed_only),
        ]

    async def post_order(self, request: web.Request) -> web.Response:
        body = await request.read()
        credentials = self._authenticate(request, body)
        self._charge(request, credentials, Errand.ORDER)
        return answer(await self._submit(request, load_json(body), credentials))

    async def post_orders(self, request: web.Request) -> web.Response:
        """A batch: each order is answered in its own entry, refusals included."""
        body = await request.read()
        credentials = self._authenticate(request, body)
        entries = load_json(body)
        if not isinstance(entries, list) or not entries:
            raise RefusedError("Invalid order payload")
        allowed = self._exchange.rules.max_batch
        if len(entries) > allowed:
            raise RefusedError(f"Too many orders in payload: {len(entries)}, max allowed: {allowed}")
        self._exchange.modes.check_order(post_only=True)  # post-only itself is answered entry by entry
        self._charge(request, credentials, Errand.ORDER, len(entries))
        answers: list[Json] = []
        for entry in entries:
            try:
                answers.append(await self._submit(request, entry, credentials))
            except RefusedError as refusal:
                claims_success = refusal.text == POST_ONLY_MODE
                answers.append(wire.refused_in_batch(refusal.text, success=claims_success))
        return answer(answers)

    async def _submit(self, request: web.Request, entry: Any, credentials: Credentials) -> Json:
        identity: OrderId | None = None
        try:
            post = read_post(entry)
            identity = self._exchange.identify(post.signed)
            self._exchange.modes.check_order(post_only=post.post_only)
            hold_s = self._exchange.taker_hold_s(post.signed.token, post.type)
            if hold_s:
                await asyncio.sleep(hold_s)
            accepted = self._exchange.submit(
                post.signed,
                order_type=post.type,
                post_only=post.post_only,
                owner=post.owner,
                credentials=credentials,
                handling=request.get(HANDLING, BY_THE_RULES),
            )
        except RefusedError as refusal:
            self._journal.note(request[RECEIPT], identity, refusal.text)
            raise
        self._journal.note(request[RECEIPT], identity, accepted.status)
        buys = accepted.order.side is Side.BUY
        return wire.accepted(
            accepted.order.id,
            accepted.status,
            making=accepted.usd if buys else accepted.shares,
            taking=accepted.shares if buys else accepted.usd,
            trade_ids=[trade.id for trade in accepted.trades],
        )

    async def cancel_order(self, request: web.Request) -> web.Response:
        body = await request.read()
        credentials = self._authenticate(request, body)
        fields = load_json(body)
        if not isinstance(fields, dict) or not isinstance(fields.get("orderID"), str):
            raise RefusedError("Invalid orderID")
        return self._cancel(request, credentials, [fields["orderID"]])

    async def cancel_orders(self, request: web.Request) -> web.Response:
        body = await request.read()
        credentials = self._authenticate(request, body)
        ids = load_json(body)
        if not isinstance(ids, list) or not all(isinstance(item, str) for item in ids):
            raise RefusedError("Invalid orderID")
        allowed = self._exchange.rules.max_cancel_batch
        if len(ids) > allowed:
            raise RefusedError(f"Too many orders in payload, max allowed: {allowed}")
        return self._cancel(request, credentials, ids)

    async def cancel_all(self, request: web.Request) -> web.Response:
        credentials = self._authenticate(request, await request.read())
        ids = [order.id for order in self._exchange.open_orders(credentials.key)]
        return self._cancel_found(request, credentials, ids)

    async def cancel_market_orders(self, request: web.Request) -> web.Response:
        body = await request.read()
        credentials = self._authenticate(request, body)
        fields = load_json(body)
        if not isinstance(fields, dict):
            raise RefusedError("Invalid payload")
        market, asset = fields.get("market") or "", fields.get("asset_id") or ""
        ids = [
            order.id
            for order in self._exchange.open_orders(credentials.key)
            if market in {"", order.condition} and asset in {"", order.token}
        ]
        return self._cancel_found(request, credentials, ids)

    def _cancel(self, request: web.Request, credentials: Credentials, ids: Sequence[str]) -> web.Response:
        """Orders that were named: they are charged one by one."""
        self._exchange.modes.check_cancel()
        self._charge(request, credentials, Errand.CANCEL, len(ids))
        return _cancelled(self._exchange.cancel(ids, credentials.key))

    def _cancel_found(
        self, request: web.Request, credentials: Credentials, ids: Sequence[str]
    ) -> web.Response:
        """Orders that the venue found: one token lets the request in, the orders are charged afterwards."""
        self._exchange.modes.check_cancel()
        self._charge(request, credentials, Errand.CANCEL)
        cancellation = self._exchange.cancel(ids, credentials.key)
        self._exchange.limiter.overdraw(credentials.address, Errand.CANCEL, len(cancellation.canceled))
        return _cancelled(cancellation)

    async def get_order(self, request: web.Request) -> web.Response:
        credentials = self._authenticate(request)
        order = self._exchange.visible_order(request.match_info["order_id"], credentials.key)
        if order is not None:
            return answer(wire.order_json(order, self._exchange.rules))
        if self._exchange.sight.missing_as_null:
            return answer(None)
        raise RefusedError(NO_ORDER, status=404)

    async def list_orders(self, request: web.Request) -> web.Response:
        """Open orders only, oldest first."""
        credentials = self._authenticate(request)
        query = request.query
        found = [
            order
            for order in self._exchange.open_orders(credentials.key)
            if self._exchange.sight.sees_order(order)
            and query.get("id", order.id) == order.id
            and query.get("market", order.condition) == order.condition
            and query.get("asset_id", order.token) == order.token
        ]
        return self._page(request, found, lambda order: wire.order_json(order, self._exchange.rules))

    async def list_trades(self, request: web.Request) -> web.Response:
        """Trades the key's owner took or made, newest first. `after` and `before` are Unix seconds."""
        credentials = self._authenticate(request)
        query = request.query
        try:
            after, before = int(query.get("after", 0)), int(query.get("before", 1 << 62))
        except ValueError as error:
            raise RefusedError("Invalid trade params payload") from error
        maker_address = query.get("maker_address", "").lower()
        newest_first = reversed(self._exchange.trades_of[credentials.key])
        found = [
            trade
            for trade in takewhile(lambda trade: trade.matched_ns // NANOSECONDS >= after, newest_first)
            if trade.matched_ns // NANOSECONDS <= before
            and self._exchange.sight.sees_trade(trade)
            and query.get("id", trade.id) == trade.id
            and query.get("market", trade.market.condition) == trade.market.condition
            and query.get("asset_id", trade.taker.token) == trade.taker.token
            and (not maker_address or maker_address in trade.addresses())
        ]
        return self._page(request, found, lambda trade: wire.trade_json(trade, credentials.key))

    async def balance_allowance(self, request: web.Request) -> web.Response:
        """What the chain says, in base units: trades not mined yet are not in it."""
        credentials = self._authenticate(request)
        query = request.query
        match query.get("asset_type"):
            case "COLLATERAL":
                asset = USD
            case "CONDITIONAL" | "CONDITIONAL-V2":
                token = query.get("token_id") or query.get("asset_id") or ""
                if self._exchange.market_of(token) is None:
                    raise RefusedError("Invalid token id")
                asset = asset_of(TokenId(token))
            case _:
                raise RefusedError("Invalid asset type")
        signature_type = query.get("signature_type", "0")
        if signature_type not in {"0", "1", "2", "3"}:
            raise RefusedError("Invalid signature_type")
        holder = self._holder(credentials.address, int(signature_type))
        accounts = self._exchange.accounts
        return answer(
            {
                "balance": str(accounts.holding(holder, asset).balance),
                "allowances": {
                    spender: str(accounts.allowance(holder, asset, spender))
                    for spender in (STANDARD_EXCHANGE, NEG_RISK_EXCHANGE, V3_EXCHANGE)
                },
            }
        )

    async def update_balance_allowance(self, request: web.Request) -> web.Response:
        self._authenticate(request)
        return answer({})

    def _holder(self, address: Address, signature_type: int) -> Address:
        return self._exchange.wallets.wallet_of(address, signature_type) or address

    async def create_api_key(self, request: web.Request) -> web.Response:
        return _credentials(self._exchange.keys.create(request.headers))

    async def derive_api_key(self, request: web.Request) -> web.Response:
        return _credentials(self._exchange.keys.derive(request.headers))

    async def list_api_keys(self, request: web.Request) -> web.Response:
        credentials = self._authenticate(request)
        return answer({"apiKeys": self._exchange.keys.keys_of(credentials.address)})

    async def revoke_api_key(self, request: web.Request) -> web.Response:
        self._exchange.keys.revoke(self._authenticate(request).key)
        return answer("OK")

    async def closed_only(self, request: web.Request) -> web.Response:
        credentials = self._authenticate(request)
        return answer({"closed_only": self._exchange.keys.is_closed_only(credentials.address)})

    def _charge(self, request: web.Request, credentials: Credentials, errand: Errand, cost: int = 1) -> None:
        verdict = self._exchange.limiter.take(credentials.address, errand, cost)
        request[RATE_HEADERS] = verdict.headers
        if not verdict.admitted:
            raise RefusedError(TOO_MANY_REQUESTS, status=429)

    def _authenticate(self, request: web.Request, body: bytes = b"") -> Credentials:
        self._exchange.modes.check_up(request.path)
        return self._exchange.keys.authenticate(
            request.headers, method=request.method, path=request.rel_url.raw_path, body=body
        )

    def _page(
        self, request: web.Request, found: Sequence[_Item], render: Callable[[_Item], Json]
    ) -> web.Response:
        size = self._exchange.sight.page_size
        start = _offset(request.query.get("next_cursor", FIRST_CURSOR))
        page = found[start : start + size]
        more = start + size < len(found)
        cursor = base64.b64encode(str(start + size).encode()).decode() if more else LAST_CURSOR
        return answer(
            {
                "limit": size,
                "count": len(page),
                "next_cursor": cursor,
                "data": [render(item) for item in page],
            }
        )


def _offset(cursor: str) -> int:
    try:
        offset = int(base64.b64decode(cursor, validate=True))
    except (ValueError, binascii.Error) as error:
        raise RefusedError("Invalid payload") from error
    if offset < 0:
        raise RefusedError("Invalid payload")
    return offset


def _cancelled(cancellation: Cancellation) -> web.Response:
    return answer({"canceled": cancellation.canceled, "not_canceled": cancellation.not_canceled})


def _credentials(credentials: Credentials) -> web.Response:
    return answer(
        {
            "apiKey": credentials.key,
            "secret": credentials.secret,
            "passphrase": credentials.passphrase,
        }
    )
