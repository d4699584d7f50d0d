"""Authentication as the CLOB does it: L1 (a wallet's signature makes API keys), L2 (HMAC on every request)."""

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from worker.sandbox.exchange.clock import NANOSECONDS, Clock
from worker.sandbox.exchange.hashing import auth_digest
from worker.sandbox.exchange.orders import Address, ApiKey
from worker.sandbox.exchange.refusals import BAD_API_KEY, BAD_L1_HEADERS, RefusedError
from worker.sandbox.exchange.rules import Rules
from worker.sandbox.exchange.signatures import recover


@dataclass(frozen=True, slots=True)
class Credentials:
    key: ApiKey
    secret: str
    passphrase: str
    address: Address

    def __repr__(self) -> str:
        return f"Credentials(key={self.key!r}, address={self.address!r})"


class KeyRing:
    """Every API key of the venue. Keys are a function of address and nonce, as on the real one."""

    def __init__(self, clock: Clock, rules: Rules) -> None:
        self._clock = clock
        self._rules = rules
        self.offset_s = rules.time_offset_s
        self._keys: dict[ApiKey, Credentials] = {}
        self._closed_only: set[Address] = set()
        self._banned: set[Address] = set()

    def create(self, headers: Mapping[str, str]) -> Credentials:
        """Refuses with 400 when the key of this address and nonce exists already."""
        address, nonce = self._level_one(headers)
        derived = derive(address, nonce)
        if derived.key in self._keys:
            raise RefusedError("Could not create api key")
        self._keys[derived.key] = derived
        return derived

    def derive(self, headers: Mapping[str, str]) -> Credentials:
        address, nonce = self._level_one(headers)
        derived = derive(address, nonce)
        if derived.key not in self._keys:
            raise RefusedError("Could not derive api key!")
        return derived

    def grant(self, address: str, nonce: int = 0) -> Credentials:
        """Creates the key without a signature: how tests and the demo hand out credentials."""
        derived = derive(Address(address.lower()), nonce)
        return self._keys.setdefault(derived.key, derived)

    def revoke(self, key: ApiKey) -> None:
        self._keys.pop(key, None)

    def _level_one(self, headers: Mapping[str, str]) -> tuple[Address, int]:
        try:
            address = Address(headers["POLY_ADDRESS"].lower())
            timestamp = headers["POLY_TIMESTAMP"]
            nonce = int(headers.get("POLY_NONCE", "0"))
            signature = bytes.fromhex(headers["POLY_SIGNATURE"].removeprefix("0x"))
            fresh = self._is_fresh(timestamp)
            signed = auth_digest(address, timestamp, nonce, self._rules.chain_id)
        except (KeyError, ValueError, OverflowError) as error:
            raise RefusedError(BAD_L1_HEADERS, status=401) from error
        if not fresh or recover(signed, signature) != address:
            raise RefusedError(BAD_L1_HEADERS, status=401)
        return address, nonce

    def authenticate(self, headers: Mapping[str, str], *, method: str, path: str, body: bytes) -> Credentials:
        """The owner of a request. `path` is without the query, `body` the bytes as received.

        Refuses with 401 on an unknown key, a wrong passphrase, address or signature, or a skewed clock.
        """
        known = self._keys.get(ApiKey(headers.get("POLY_API_KEY", "")))
        timestamp = headers.get("POLY_TIMESTAMP", "")
        if (
            known is None
            or not timestamp.isdecimal()
            or not self._is_fresh(timestamp)
            or not hmac.compare_digest(headers.get("POLY_PASSPHRASE", "").encode(), known.passphrase.encode())
            or headers.get("POLY_ADDRESS", "").lower() != known.address
        ):
            raise RefusedError(BAD_API_KEY, status=401)
        expected = sign_request(known.secret, timestamp, method, path, body)
        if not hmac.compare_digest(expected.encode(), headers.get("POLY_SIGNATURE", "").encode()):
            raise RefusedError(BAD_API_KEY, status=401)
        return known

    def by_secret(self, key: str, secret: str, passphrase: str) -> Credentials | None:
        """Who a user-stream subscription belongs to: the stream takes the credentials themselves."""
        known = self._keys.get(ApiKey(key))
        if known is None or (known.secret, known.passphrase) != (secret, passphrase):
            return None
        return known

    def keys_of(self, address: Address) -> list[ApiKey]:
        return [known.key for known in self._keys.values() if known.address == address]

    def restrict(self, address: str, *, closed_only: bool = False, banned: bool = False) -> None:
        lowered = Address(address.lower())
        self._closed_only.discard(lowered)
        self._banned.discard(lowered)
        if closed_only:
            self._closed_only.add(lowered)
        if banned:
            self._banned.add(lowered)

    def is_closed_only(self, address: Address) -> bool:
        return address in self._closed_only

    def is_banned(self, address: Address) -> bool:
        return address in self._banned

    def server_time_s(self) -> int:
        return self._clock.now_ns() // NANOSECONDS + self.offset_s

    def _is_fresh(self, timestamp: str) -> bool:
        return abs(int(timestamp) - self.server_time_s()) <= self._rules.auth_skew_s


def sign_request(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """The L2 signature: url-safe base64 of HMAC-SHA256 over timestamp, method, path and body."""
    try:
        key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    except binascii.Error as error:
        raise RefusedError(BAD_API_KEY, status=401) from error
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.urlsafe_b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def derive(address: Address, nonce: int) -> Credentials:
    """The one set of credentials an address has for a nonce."""
    seed = keccak(f"simulated-exchange:{address}:{nonce}".encode())
    return Credentials(
        key=ApiKey(str(uuid.UUID(bytes=seed[:16], version=4))),
        secret=base64.urlsafe_b64encode(keccak(seed + b"secret")).decode(),
        passphrase=keccak(seed + b"passphrase").hex(),
        address=address,
    )
