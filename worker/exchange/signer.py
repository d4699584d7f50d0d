"""Who trades and who signs: an `Account` is a wallet with its key, a `Signer` turns digests into signatures.

Orders are signed through `Signer` alone, so the key may live elsewhere one day (a hardware module, the platform's
remote signer). The local one signs with libsecp256k1 in about 0.03 ms; pure Python would hold the event loop
for 5 ms. Signatures are deterministic (RFC 6979): the same digest always gives the same bytes.
"""

from dataclasses import dataclass
from typing import Protocol

import coincurve
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from pydantic import SecretStr

from worker.errors import CredentialError
from worker.orders.terms import WalletAddress, WalletKind

_KEY_DIGITS = 64
_RECOVERY_OFFSET = 27  # Ethereum writes the recovery id of a signature as 27 or 28


class Signer(Protocol):
    @property
    def address(self) -> str:
        """The address whose signatures these are, with its checksum."""
        ...

    def sign(self, digest: bytes) -> str:
        """`0x` and the 65 bytes r, s, v over a digest of 32 bytes, v as 27 or 28. Must not block."""
        ...


class LocalSigner:
    """Signs with a private key held in this process. Raises `CredentialError` for what is not a key."""

    def __init__(self, key: SecretStr) -> None:
        digits = key.get_secret_value().removeprefix("0x")
        try:
            # Too few digits would be padded to some other key; too many are refused by the library.
            self._key = coincurve.PrivateKey(bytes.fromhex(digits.ljust(_KEY_DIGITS, "?")))
        except ValueError:
            raise CredentialError(
                f"The private key is not one: expected {_KEY_DIGITS} hexadecimal digits within the curve."
            ) from None
        public = self._key.public_key.format(compressed=False)
        self._address = str(to_checksum_address(keccak(public[1:])[-20:]))

    @property
    def address(self) -> str:
        return self._address

    def sign(self, digest: bytes) -> str:
        if len(digest) != 32:
            raise ValueError(f"Expected a digest of 32 bytes, was {len(digest)}")
        raw = self._key.sign_recoverable(digest, hasher=None)
        return "0x" + raw[:64].hex() + f"{raw[64] + _RECOVERY_OFFSET:02x}"

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"


@dataclass(frozen=True, slots=True)
class ApiCredentials:
    """The exchange's own credentials of a wallet; derived at start from the key where they are not given."""

    key: SecretStr
    secret: SecretStr
    passphrase: SecretStr


@dataclass(frozen=True, slots=True)
class Account:
    """A wallet that holds funds, and the key that signs for it."""

    wallet: WalletAddress
    key: SecretStr
    credentials: ApiCredentials | None = None
    kind: WalletKind = WalletKind.EOA

    def signer(self) -> LocalSigner:
        """Raises `CredentialError` where the key cannot be the wallet's: orders would all be refused.

        Which deposit wallet is a key's own only the SDK can tell (`polymarket/desk.py`).
        """
        signer = LocalSigner(self.key)
        if self.kind is WalletKind.DEPOSIT_WALLET:
            if signer.address.lower() == self.wallet:
                raise CredentialError(
                    f"Wallet {self.wallet} is the address of its own key, and no deposit wallet: set its `type` to eoa."
                )
        elif signer.address.lower() != self.wallet:
            raise CredentialError(
                f"The key of wallet {self.wallet} belongs to {signer.address.lower()}: set the key that matches."
            )
        return signer
