"""Those who trade on the simulated exchange in tests: a fast signer of our own, and the official SDK."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import ROUND_FLOOR, Decimal
from itertools import count
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_hash.auto import keccak
from polymarket import PRODUCTION, AsyncSecureClient
from polymarket._internal.environment import get_environment_config, with_environment_config
from polymarket.environments import Environment

from worker.sandbox.exchange.handling import BY_THE_RULES
from worker.sandbox.exchange.hashing import digest, separator_of, struct_hash
from worker.sandbox.exchange.orders import Address, OrderType, Side, SignedOrder, TokenId
from worker.sandbox.exchange.outcomes import Acceptance
from worker.sandbox.exchange.refusals import RefusedError
from worker.sandbox.exchange.remote import RemoteExchange
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.units import micro
from worker.sandbox.exchange.venue import Venue


def private_key(number: int) -> PrivateKey:
    """The same key for the same number, on every machine."""
    return PrivateKey(keccak(f"trader {number}".encode()))


def address_of(key: PrivateKey) -> Address:
    return Address("0x" + keccak(key.public_key.format(compressed=False)[1:])[-20:].hex())


@contextmanager
def refused(text: str, *, status: int = 400) -> Iterator[None]:
    """What is done inside is refused with exactly this text."""
    with pytest.raises(RefusedError) as refusal:
        yield
    assert (refusal.value.text, refusal.value.status) == (text, status)


class Trader:
    """An EOA with an account, an API key and a pen. It submits straight to the engine."""

    _salts = count(1)

    def __init__(self, venue: Venue, number: int = 1, *, usd: Decimal | int | str = 1_000) -> None:
        self.venue = venue
        self.key = private_key(number)
        self.address = address_of(self.key)
        self.credentials = venue.fund(self.address, usd)
        self.handling = BY_THE_RULES

    def sign(
        self,
        token: str,
        side: Side,
        maker_amount: int,
        taker_amount: int,
        *,
        expiration_s: int = 0,
        neg_risk: bool = False,
        **changes: Any,
    ) -> SignedOrder:
        """Signs amounts in millionths. `changes` replace fields before signing."""
        unsigned = SignedOrder(
            salt=next(self._salts),
            maker=self.address,
            signer=self.address,
            token=TokenId(token),
            maker_amount=maker_amount,
            taker_amount=taker_amount,
            side=side,
            signature_type=0,
            timestamp_ms=self.venue.engine.clock.now_ns() // 1_000_000,
            metadata=bytes(32),
            builder=bytes(32),
            expiration_s=expiration_s,
            signature=b"",
        )
        order = dataclasses.replace(unsigned, **changes)
        signed = digest(separator_of(token, neg_risk=neg_risk), struct_hash(order))
        signature = self.key.sign_recoverable(signed, hasher=None)
        return dataclasses.replace(order, signature=signature[:64] + bytes([signature[64] + 27]))

    def submit(self, signed: SignedOrder, order_type: OrderType, *, post_only: bool = False) -> Acceptance:
        return self.venue.engine.submit(
            signed,
            order_type=order_type,
            post_only=post_only,
            owner=self.credentials.key,
            credentials=self.credentials,
            handling=self.handling,
        )

    def limit(
        self,
        token: str,
        side: Side,
        price: str,
        shares: str,
        *,
        order_type: OrderType = OrderType.GTC,
        post_only: bool = False,
        expiration_s: int = 0,
    ) -> Acceptance:
        usd = micro(Decimal(price) * Decimal(shares))
        amounts = (usd, micro(shares)) if side is Side.BUY else (micro(shares), usd)
        signed = self.sign(token, side, *amounts, expiration_s=expiration_s)
        return self.submit(signed, order_type, post_only=post_only)

    def buy(self, token: str, usd: str, limit: str, *, order_type: OrderType = OrderType.FAK) -> Acceptance:
        """A market BUY of a dollar amount, shares floored to four decimals."""
        shares = (Decimal(usd) / Decimal(limit)).quantize(Decimal("0.0001"), rounding=ROUND_FLOOR)
        return self.submit(self.sign(token, Side.BUY, micro(usd), micro(shares)), order_type)

    def sell(
        self, token: str, shares: str, limit: str, *, order_type: OrderType = OrderType.FAK
    ) -> Acceptance:
        usd = Decimal(shares) * Decimal(limit)
        return self.submit(self.sign(token, Side.SELL, micro(shares), micro(usd)), order_type)


def sdk_environment(exchange: SimulatedExchange | RemoteExchange) -> Environment:
    """Production's contracts and chain, with every host replaced by the simulated exchange."""
    http, ws = exchange.http_url, exchange.ws_url
    config = dataclasses.replace(
        get_environment_config(PRODUCTION),
        clob_url=http,
        gamma_url=http,
        data_url=http,
        relayer_url=http,
        rpc_url=http,
        rfq_url=http,
        perps_url=http,
        builder_gateway_url=http,
        collateral_return_url=http,
        clob_user_ws_url=f"{ws}/ws/user",
        clob_market_ws_url=f"{ws}/ws/market",
        rtds_ws_url=f"{ws}/ws/none",
        sports_ws_url=f"{ws}/ws/none",
        realtime_ws_url=f"{ws}/ws/none",
    )
    return with_environment_config(PRODUCTION, config=config)


@asynccontextmanager
async def sdk_client(exchange: SimulatedExchange, number: int = 1) -> AsyncIterator[AsyncSecureClient]:
    """The official client, trading for the numbered key's EOA."""
    key = private_key(number)
    client = await AsyncSecureClient.create(
        private_key="0x" + key.secret.hex(),
        wallet=address_of(key),
        environment=sdk_environment(exchange),
    )
    try:
        yield client
    finally:
        await client.close()
