"""Signing: the right address, signatures that anybody can check, and keys that never show."""

import pytest
from eth_keys.datatypes import Signature
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from worker.errors import CredentialError
from worker.exchange.signer import Account, LocalSigner
from worker.orders.terms import WalletAddress

# The first account of the well-known development mnemonic "test test ... junk".
DEVELOPMENT_KEY = SecretStr("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
DEVELOPMENT_ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"


def test_the_address_of_a_key_is_the_one_that_everybody_knows() -> None:
    assert LocalSigner(DEVELOPMENT_KEY).address == DEVELOPMENT_ADDRESS


@given(st.binary(min_size=32, max_size=32))
def test_a_signature_recovers_to_the_signers_address(digest: bytes) -> None:
    signature = bytes.fromhex(LocalSigner(DEVELOPMENT_KEY).sign(digest)[2:])
    assert signature[64] in {27, 28}
    recoverable = Signature(signature[:64] + bytes([signature[64] - 27]))
    public_key = recoverable.recover_public_key_from_msg_hash(digest)
    assert public_key.to_checksum_address() == DEVELOPMENT_ADDRESS


def test_the_same_digest_is_always_signed_with_the_same_bytes() -> None:
    digest = keccak(b"an order")
    assert LocalSigner(DEVELOPMENT_KEY).sign(digest) == LocalSigner(DEVELOPMENT_KEY).sign(digest)


def test_anything_but_a_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, was 5"):
        LocalSigner(DEVELOPMENT_KEY).sign(b"order")


@pytest.mark.parametrize("text", ["", "0x12", "not a key", "0x" + "00" * 32, "0x" + "ff" * 32])
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(CredentialError) as caught:
        LocalSigner(SecretStr(text))
    assert caught.value.__cause__ is None
    assert "ff" * 32 not in str(caught.value)


def test_a_key_of_another_wallet_is_refused_by_name() -> None:
    wallet = WalletAddress("0x" + "ab" * 20)
    with pytest.raises(CredentialError, match=DEVELOPMENT_ADDRESS.lower()) as caught:
        Account(wallet, DEVELOPMENT_KEY).signer()
    assert wallet in str(caught.value)


def test_neither_account_nor_signer_shows_its_key() -> None:
    account = Account(WalletAddress(DEVELOPMENT_ADDRESS.lower()), DEVELOPMENT_KEY)
    shown = f"{account!r} {account.signer()!r}"
    assert DEVELOPMENT_KEY.get_secret_value()[2:] not in shown
