"""A client that speaks to the simulated exchange in bytes: what it sees is what was sent, and nothing is repeated."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpx

from tests.support.exchange_clients import Trader
from worker.sandbox.exchange.auth import sign_request
from worker.sandbox.exchange.orders import OrderId, Side, SignedOrder
from worker.sandbox.exchange.wire import Json


@dataclass(frozen=True)
class Seen:
    """One answer. `body` is the JSON, or the text where there is none."""

    status: int
    body: Any
    headers: httpx.Headers


@dataclass(frozen=True)
class WireClient:
    session: httpx.AsyncClient
    trader: Trader
    url: str

    @classmethod
    @asynccontextmanager
    async def open(cls, trader: Trader, url: str) -> AsyncIterator[Self]:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as session:
            yield cls(session, trader, url)

    async def post_order(self, signed: SignedOrder, order_type: str = "GTC", **more: Any) -> Seen:
        return await self.send("POST", "/order", self.body_of(signed, order_type, **more))

    async def order(self, order_id: str) -> Seen:
        return await self.send("GET", f"/data/order/{order_id}")

    async def trades(self) -> list[Json]:
        return list((await self.send("GET", "/data/trades")).body["data"])

    async def cancel(self, order_id: str) -> Seen:
        return await self.send("DELETE", "/order", {"orderID": order_id})

    async def send(self, method: str, path: str, body: Any = None) -> Seen:
        """A signed request. Bytes go as they are, everything else as JSON."""
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        credentials = self.trader.credentials
        stamp = str(self.trader.venue.engine.keys.server_time_s())
        headers = {
            "POLY_ADDRESS": self.trader.address,
            "POLY_API_KEY": credentials.key,
            "POLY_PASSPHRASE": credentials.passphrase,
            "POLY_TIMESTAMP": stamp,
            "POLY_SIGNATURE": sign_request(credentials.secret, stamp, method, path, raw),
        }
        response = await self.session.request(method, self.url + path, content=raw, headers=headers)
        try:
            seen = response.json()
        except ValueError:
            seen = response.text
        return Seen(response.status_code, seen, response.headers)

    def body_of(self, signed: SignedOrder, order_type: str = "GTC", **more: Any) -> Json:
        return {
            "deferExec": False,
            "order": {
                "salt": signed.salt,
                "maker": signed.maker,
                "signer": signed.signer,
                "tokenId": signed.token,
                "makerAmount": str(signed.maker_amount),
                "takerAmount": str(signed.taker_amount),
                "side": signed.side.value,
                "expiration": str(signed.expiration_s),
                "signatureType": signed.signature_type,
                "timestamp": str(signed.timestamp_ms),
                "metadata": "0x" + signed.metadata.hex(),
                "builder": "0x" + signed.builder.hex(),
                "signature": "0x" + signed.signature.hex(),
            },
            "orderType": order_type,
            "owner": self.trader.credentials.key,
            **more,
        }

    def bid(self, token: str, usd: int = 5, shares: int = 10) -> SignedOrder:
        """A BUY, by default of $5 at 0.50."""
        return self.trader.sign(token, Side.BUY, usd * 1_000_000, shares * 1_000_000)

    def id_of(self, signed: SignedOrder) -> OrderId:
        return self.trader.venue.engine.identify(signed)
