"""Who signed: public-key recovery, and the rules binding signer, maker and API key together.

Types 0 (EOA), 1 (proxy), 2 (Safe) and 3 (deposit wallet, ERC-7739). Wallet contracts are known from a
registry, which stands for their deployment on chain.
"""

from dataclasses import dataclass

from coincurve import PublicKey
from eth_hash.auto import keccak

from worker.sandbox.exchange.hashing import (
    ORDER_TYPE,
    digest,
    separator_of,
    struct_hash,
    wallet_digest,
)
from worker.sandbox.exchange.orders import Address, SignedOrder
from worker.sandbox.exchange.refusals import BAD_SIGNATURE, WRONG_MAKER, WRONG_SIGNER, RefusedError

EOA, PROXY, SAFE, DEPOSIT_WALLET = range(4)
_ECDSA_LENGTH = 65
_ERC7739_TAIL = 32 + 32 + len(ORDER_TYPE) + 2


def recover(message_digest: bytes, signature: bytes) -> Address | None:
    """The address whose key made a 65-byte signature, or None when there is none."""
    if len(signature) != _ECDSA_LENGTH:
        return None
    recovery = signature[64] - 27 if signature[64] >= 27 else signature[64]
    try:
        key = PublicKey.from_signature_and_message(
            signature[:64] + bytes([recovery]), message_digest, hasher=None
        )
    except ValueError:
        return None
    return Address("0x" + keccak(key.format(compressed=False)[1:])[-20:].hex())


@dataclass(frozen=True, slots=True)
class WalletContract:
    """A deployed wallet: whose key may sign for it, and with which signature type."""

    owner: Address
    signature_type: int


class WalletRegistry:
    def __init__(self) -> None:
        self._wallets: dict[Address, WalletContract] = {}

    def register(self, wallet: str, *, owner: str, signature_type: int) -> None:
        self._wallets[Address(wallet.lower())] = WalletContract(Address(owner.lower()), signature_type)

    def is_deployed(self, wallet: str) -> bool:
        return Address(wallet.lower()) in self._wallets

    def owned_by(self, wallet: Address, owner: Address, signature_type: int) -> bool:
        return self._wallets.get(wallet) == WalletContract(owner, signature_type)

    def wallet_of(self, owner: Address, signature_type: int) -> Address | None:
        """The wallet contract through which a key trades with a signature type, if it has one."""
        sought = WalletContract(owner, signature_type)
        return next((wallet for wallet, contract in self._wallets.items() if contract == sought), None)

    def verify(self, order: SignedOrder, *, neg_risk: bool, key_address: Address) -> None:
        """Refuses an order whose signer, maker, signature and API key do not belong together."""
        match order.signature_type:
            case 0 | 1 | 2:
                self._verify_plain(order, neg_risk=neg_risk, key_address=key_address)
            case 3:
                self._verify_wallet(order, neg_risk=neg_risk, key_address=key_address)
            case _:
                raise RefusedError("Invalid signature_type")

    def _verify_plain(self, order: SignedOrder, *, neg_risk: bool, key_address: Address) -> None:
        if order.signer != key_address:
            raise RefusedError(WRONG_SIGNER)
        if order.signature_type == EOA:
            if order.maker != order.signer:
                raise RefusedError(WRONG_MAKER)
        elif not self.owned_by(order.maker, order.signer, order.signature_type):
            raise RefusedError(WRONG_MAKER)
        signed = digest(separator_of(order.token, neg_risk=neg_risk), struct_hash(order))
        if recover(signed, order.signature) != order.signer:
            raise RefusedError(BAD_SIGNATURE)

    def _verify_wallet(self, order: SignedOrder, *, neg_risk: bool, key_address: Address) -> None:
        if order.signer != order.maker or not self.owned_by(order.maker, key_address, DEPOSIT_WALLET):
            raise RefusedError(WRONG_SIGNER)
        inner, tail = order.signature[:_ECDSA_LENGTH], order.signature[_ECDSA_LENGTH:]
        expected_tail = (
            separator_of(order.token, neg_risk=neg_risk)
            + struct_hash(order)
            + ORDER_TYPE
            + len(ORDER_TYPE).to_bytes(2, "big")
        )
        if len(tail) != _ERC7739_TAIL or tail != expected_tail:
            raise RefusedError(BAD_SIGNATURE)
        if recover(wallet_digest(order, neg_risk=neg_risk), inner) != key_address:
            raise RefusedError(BAD_SIGNATURE)
