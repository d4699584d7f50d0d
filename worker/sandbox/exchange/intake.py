"""From the bytes of POST /order to a typed order. Anything that is not exactly the documented shape is refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from worker.sandbox.exchange.orders import Address, OrderId, OrderType, Side, SignedOrder, TokenId
from worker.sandbox.exchange.refusals import BAD_PAYLOAD, VERSION_MISMATCH, RefusedError

_V1_FIELDS = frozenset({"taker", "nonce", "feeRateBps"})
_WORD_LENGTH = 32
_UINT256 = 1 << 256


@dataclass(frozen=True, slots=True)
class OrderPost:
    signed: SignedOrder
    type: OrderType
    post_only: bool
    owner: str


def load_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise RefusedError(BAD_PAYLOAD) from error


def read_post(entry: Any) -> OrderPost:
    """One element of POST /order(s). Raises RefusedError: a bad payload, or an order of another version."""
    try:
        fields = entry["order"]
        if not _V1_FIELDS.isdisjoint(fields):
            raise RefusedError(VERSION_MISMATCH)
        return OrderPost(
            signed=SignedOrder(
                salt=_number(fields["salt"]),
                maker=_address(fields["maker"]),
                signer=_address(fields["signer"]),
                token=TokenId(str(_digits(fields["tokenId"]))),
                maker_amount=_digits(fields["makerAmount"]),
                taker_amount=_digits(fields["takerAmount"]),
                side=Side(fields["side"]),
                signature_type=_number(fields["signatureType"]),
                timestamp_ms=_digits(fields["timestamp"]),
                metadata=_word(fields["metadata"]),
                builder=_word(fields["builder"]),
                expiration_s=_digits(fields.get("expiration", "0")),
                signature=_hex(fields["signature"]),
            ),
            type=OrderType(entry["orderType"]),
            post_only=entry.get("postOnly", False) is True,
            owner=str(entry["owner"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(BAD_PAYLOAD) from error


def ids_in(body: bytes, identify: Callable[[SignedOrder], OrderId]) -> list[OrderId]:
    """The ids of all orders a body carries, whatever else is wrong with it."""
    ids: list[OrderId] = []
    with suppress(RefusedError):
        entries = load_json(body)
        for entry in entries if isinstance(entries, list) else [entries]:
            with suppress(RefusedError):
                ids.append(identify(read_post(entry).signed))
    return ids


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _UINT256:
        raise ValueError(f"Expected a JSON number, was {value!r}")
    return value


def _digits(value: Any) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or int(value) >= _UINT256:
        raise ValueError(f"Expected a string of digits, was {value!r}")
    return int(value)


def _hex(value: Any) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError(f"Expected a 0x-prefixed string, was {value!r}")
    return bytes.fromhex(value[2:])


def _word(value: Any) -> bytes:
    word = _hex(value)
    if len(word) != _WORD_LENGTH:
        raise ValueError(f"Expected 32 bytes, was {len(word)}")
    return word


def _address(value: Any) -> Address:
    if len(_hex(value)) != 20:
        raise ValueError(f"Expected an address, was {value!r}")
    return Address(value.lower())
