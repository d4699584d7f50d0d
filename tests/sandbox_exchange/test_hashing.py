"""Order ids and signed digests against authorities: the contracts' own vector and two foreign encoders."""

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st
from py_clob_client_v2.order_utils.exchange_order_builder_v2 import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model.order_data_v2 import OrderV2
from py_clob_client_v2.order_utils.model.side import Side as ClientSide
from py_clob_client_v2.order_utils.model.signature_type_v2 import SignatureTypeV2
from py_clob_client_v2.signer import Signer

from tests.support.exchange_clients import address_of, private_key
from worker.sandbox.exchange.hashing import (
    NEG_RISK_EXCHANGE,
    STANDARD_EXCHANGE,
    V3_EXCHANGE,
    auth_digest,
    domain_separator,
    is_position_id,
    order_id,
    struct_hash,
)
from worker.sandbox.exchange.orders import Address, Side, SignedOrder, TokenId
from worker.sandbox.exchange.signatures import recover

POSITION = (7 << 128) | 1  # bits 40 to 103 are zero


def solidity_vector() -> SignedOrder:
    """The order that Exchange V3's EIP712Digest.t.sol locks its struct hash on."""
    return SignedOrder(
        salt=12345,
        maker=Address("0x1234567890123456789012345678901234567890"),
        signer=Address("0x2345678901234567890123456789012345678901"),
        token=TokenId(str(0x0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20)),
        maker_amount=1_000_000,
        taker_amount=500_000,
        side=Side.BUY,
        signature_type=0,
        timestamp_ms=1_700_000_000,
        metadata=0xDEADBEEF.to_bytes(32, "big"),
        builder=0xFEEDFACE.to_bytes(32, "big"),
        expiration_s=0,
        signature=b"",
    )


def test_the_struct_hash_is_the_one_the_contracts_are_locked_on() -> None:
    expected = "08b5c2f163715a48f38ae24e8d1b9ab97bb3d457245b854c1b6cb2a69142742a"
    assert struct_hash(solidity_vector()).hex() == expected


@pytest.mark.parametrize(
    ("version", "contract", "expected"),
    [
        ("2", STANDARD_EXCHANGE, "3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2"),
        ("2", NEG_RISK_EXCHANGE, "9b858f53327b0bd13af8ec14cfb35234fb9eb7b0504d1a4e61f433840d30e81a"),
        ("3", V3_EXCHANGE, "466c63910185bbd55e8679264200c4e0abdcbb0c6264eb3d41d13326022e095b"),
    ],
)
def test_each_exchange_has_its_own_domain(version: str, contract: str, expected: str) -> None:
    assert domain_separator(version, contract).hex() == expected


words = st.integers(min_value=0, max_value=2**256 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex()))


@given(
    salt=st.integers(min_value=1, max_value=2**53),
    maker=addresses,
    token=st.one_of(words, st.just(POSITION)),
    amounts=st.tuples(words, words),
    side=st.sampled_from(list(Side)),
    signature_type=st.integers(min_value=0, max_value=3),
    timestamp_ms=st.integers(min_value=1, max_value=2**48),
    metadata=st.binary(min_size=32, max_size=32),
    builder=st.binary(min_size=32, max_size=32),
    neg_risk=st.booleans(),
)
def test_an_order_id_equals_the_hash_of_a_client_nobody_here_wrote(
    *,
    salt: int,
    maker: Address,
    token: int,
    amounts: tuple[int, int],
    side: Side,
    signature_type: int,
    timestamp_ms: int,
    metadata: bytes,
    builder: bytes,
    neg_risk: bool,
) -> None:
    ours = SignedOrder(
        salt=salt,
        maker=maker,
        signer=maker,
        token=TokenId(str(token)),
        maker_amount=amounts[0],
        taker_amount=amounts[1],
        side=side,
        signature_type=signature_type,
        timestamp_ms=timestamp_ms,
        metadata=metadata,
        builder=builder,
        expiration_s=0,
        signature=b"",
    )
    theirs = OrderV2(
        salt=str(salt),
        maker=maker,
        signer=maker,
        tokenId=str(token),
        makerAmount=str(amounts[0]),
        takerAmount=str(amounts[1]),
        side=ClientSide.BUY if side is Side.BUY else ClientSide.SELL,
        signatureType=SignatureTypeV2(signature_type),
        timestamp=str(timestamp_ms),
        metadata="0x" + metadata.hex(),
        builder="0x" + builder.hex(),
        expiration="0",
    )
    v3 = is_position_id(str(token))
    contract = V3_EXCHANGE if v3 else NEG_RISK_EXCHANGE if neg_risk else STANDARD_EXCHANGE
    hasher = ExchangeOrderBuilderV2(
        contract, 137, Signer("0x" + "11" * 32, 137), domain_version="3" if v3 else "2"
    )
    typed_data = hasher.build_order_typed_data(theirs)
    assert order_id(ours, neg_risk=neg_risk) == hasher.build_order_hash(typed_data)


def test_an_api_key_request_signed_by_a_wallet_library_is_recovered() -> None:
    key = private_key(1)
    address = address_of(key)
    typed_data = {
        "domain": {"name": "ClobAuthDomain", "version": "1", "chainId": 137},
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
            ],
            "ClobAuth": [
                {"name": "address", "type": "address"},
                {"name": "timestamp", "type": "string"},
                {"name": "nonce", "type": "uint256"},
                {"name": "message", "type": "string"},
            ],
        },
        "primaryType": "ClobAuth",
        "message": {
            "address": address,
            "timestamp": "1795000000",
            "nonce": 3,
            "message": "This message attests that I control the given wallet",
        },
    }
    signed = Account.sign_message(encode_typed_data(full_message=typed_data), key.secret)
    assert recover(auth_digest(address, "1795000000", 3), bytes(signed.signature)) == address


@pytest.mark.parametrize("broken", [b"", b"\x00" * 64, b"\x00" * 65, b"\xff" * 65])
def test_what_is_not_a_signature_recovers_nobody(broken: bytes) -> None:
    assert recover(bytes(32), broken) is None
