"""An order as one sealed letter: signed once, written down as text, and opened into the very same order. Pure.

The body is canonical JSON (sorted keys, no spaces) of every field that goes over the wire and of the contract
version, which the id depends on but the wire does not carry. Opening recomputes the id: a body whose amounts,
token or wallet were altered, or that is paired with another id, is refused before a byte of it is sent.
"""

import json
import time
from collections.abc import Mapping
from math import ceil
from secrets import randbits
from typing import Any

from eth_utils.address import to_checksum_address

from worker.exchange.order_id import (
    ZERO_BYTES32,
    OrderStruct,
    nested_digest,
    nested_proof,
    order_digest,
)
from worker.exchange.signer import Signer
from worker.orders.decide import Plan
from worker.orders.ports import Envelope
from worker.orders.terms import ExchangeVersion, OrderId, Side, TokenId, WalletAddress, WalletKind

# The exchange's numbers for who signs for the wallet.
_SIGNATURE_TYPES = {WalletKind.EOA: 0, WalletKind.DEPOSIT_WALLET: 3}
_NO_EXPIRATION = 0
_SALT_BITS = 53  # the salt crosses as a JSON number


def random_salt() -> int:
    return randbits(_SALT_BITS)


def wall_clock_ms() -> int:
    """Unix time in ms by this machine's clock: what an order is stamped with."""
    return time.time_ns() // 1_000_000


def canonical_json(value: Mapping[str, Any]) -> str:
    """One text for one value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def seal(
    plan: Plan,
    *,
    wallet: WalletAddress,
    signer: Signer,
    salt: int,
    timestamp_ms: int,
    kind: WalletKind = WalletKind.EOA,
) -> Envelope:
    """Sign the plan's exact amounts. The same arguments always give the same envelope, byte for byte."""
    holder = to_checksum_address(wallet)
    expiration_s = ceil(plan.expires_at.timestamp()) if plan.expires_at is not None else _NO_EXPIRATION
    fields: dict[str, Any] = {
        "builder": ZERO_BYTES32,
        "expiration": expiration_s,
        "maker": holder,
        "maker_amount": plan.amounts.maker_base_units,
        "metadata": ZERO_BYTES32,
        "order_type": plan.order_type.value,
        "post_only": False,
        "salt": salt,
        "side": plan.side.value,
        "signature_type": _SIGNATURE_TYPES[kind],
        "signer": signer.address if kind is WalletKind.EOA else holder,
        "taker_amount": plan.amounts.taker_base_units,
        "timestamp": timestamp_ms,
        "token_id": plan.token.token_id,
    }
    version = plan.market.exchange_version
    struct = _struct(fields)
    digest = order_digest(struct, version)
    fields["signature"] = _signature(struct, version, signer, kind)
    return Envelope(
        order_id=OrderId("0x" + digest.hex()),
        wallet=wallet,
        token_id=plan.token.token_id,
        side=plan.side,
        order_type=plan.order_type,
        exchange_version=version,
        body=canonical_json({"exchange_version": version.value, "order": fields}),
        expires_at=plan.expires_at,
    )


def order_fields(envelope: Envelope) -> dict[str, Any]:
    """Every field of the signed order. Raises `ValueError` unless the body is the one that was sealed."""
    try:
        letter = json.loads(envelope.body)
        fields: dict[str, Any] = letter["order"]
        found = "0x" + order_digest(_struct(fields), ExchangeVersion(letter["exchange_version"])).hex()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"The body of order {envelope.order_id} cannot be read: {error!r}.") from error
    if found != envelope.order_id:
        raise ValueError(
            f"The body of order {envelope.order_id} is that of {found}: it was altered or mixed up."
        )
    return fields


def _signature(order: OrderStruct, version: ExchangeVersion, signer: Signer, kind: WalletKind) -> str:
    if kind is WalletKind.EOA:
        return signer.sign(order_digest(order, version))
    return signer.sign(nested_digest(order, version)) + nested_proof(order, version).hex()


def _struct(fields: Mapping[str, Any]) -> OrderStruct:
    return OrderStruct(
        salt=fields["salt"],
        maker=fields["maker"],
        signer=fields["signer"],
        token_id=TokenId(fields["token_id"]),
        maker_amount=fields["maker_amount"],
        taker_amount=fields["taker_amount"],
        side=Side(fields["side"]),
        signature_type=fields["signature_type"],
        timestamp_ms=fields["timestamp"],
        metadata=fields["metadata"],
        builder=fields["builder"],
    )
