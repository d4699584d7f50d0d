"""The id is checked against four things nobody here wrote: Solidity's vector, two clients, and a typed-data encoder."""

import dataclasses
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polymarket._internal.actions.orders.typed_data import build_order_typed_data
from polymarket._internal.actions.orders.types import UnsignedOrder
from py_clob_client_v2.order_utils.exchange_order_builder_v2 import ExchangeOrderBuilderV2
from py_clob_client_v2.order_utils.model.order_data_v2 import OrderV2
from py_clob_client_v2.order_utils.model.side import Side as ClientSide
from py_clob_client_v2.order_utils.model.signature_type_v2 import SignatureTypeV2

from worker.exchange.order_id import (
    CHAIN_ID,
    DOMAIN_SEPARATORS,
    VERIFYING_CONTRACTS,
    OrderStruct,
    exchange_version,
    order_digest,
    order_id,
    struct_hash,
)
from worker.orders.terms import ExchangeVersion, Side, TokenId

EOA, DEPOSIT_WALLET = 0, 3

unhurried = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# EIP712Digest.t.sol of the exchange's own repository.
SOLIDITY_ORDER = OrderStruct(
    salt=12345,
    maker="0x1234567890123456789012345678901234567890",
    signer="0x2345678901234567890123456789012345678901",
    token_id=TokenId(str(0x0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20)),
    maker_amount=1_000_000,
    taker_amount=500_000,
    side=Side.BUY,
    signature_type=EOA,
    timestamp_ms=1_700_000_000,
    metadata="0x" + f"{0xDEADBEEF:064x}",
    builder="0x" + f"{0xFEEDFACE:064x}",
)

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: to_checksum_address("0x" + raw.hex()))
words = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())


@st.composite
def orders(draw: st.DrawFn) -> OrderStruct:
    """An EOA signs with its own address; a deposit wallet is its own signer."""
    signature_type = draw(st.sampled_from([EOA, DEPOSIT_WALLET]))
    maker = draw(addresses)
    return OrderStruct(
        salt=draw(st.integers(0, 2**53)),
        maker=maker,
        signer=maker if signature_type == DEPOSIT_WALLET else draw(addresses),
        token_id=TokenId(str(draw(st.integers(0, 2**256 - 1)))),
        maker_amount=draw(st.integers(0, 10**15)),
        taker_amount=draw(st.integers(0, 10**15)),
        side=draw(st.sampled_from(list(Side))),
        signature_type=signature_type,
        timestamp_ms=draw(st.integers(0, 2**48)),
        metadata=draw(words),
        builder=draw(words),
    )


def test_the_struct_hash_is_the_one_that_the_contracts_own_test_publishes() -> None:
    published = "08b5c2f163715a48f38ae24e8d1b9ab97bb3d457245b854c1b6cb2a69142742a"
    assert struct_hash(SOLIDITY_ORDER).hex() == published


@pytest.mark.parametrize(
    ("version", "separator"),
    [
        (ExchangeVersion.STANDARD, "3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2"),
        (ExchangeVersion.NEG_RISK, "9b858f53327b0bd13af8ec14cfb35234fb9eb7b0504d1a4e61f433840d30e81a"),
        (ExchangeVersion.V3, "466c63910185bbd55e8679264200c4e0abdcbb0c6264eb3d41d13326022e095b"),
    ],
)
def test_the_domain_separators_are_the_measured_ones(version: ExchangeVersion, separator: str) -> None:
    assert DOMAIN_SEPARATORS[version].hex() == separator


@given(orders(), st.sampled_from([ExchangeVersion.STANDARD, ExchangeVersion.NEG_RISK, ExchangeVersion.V3]))
@unhurried
def test_another_client_computes_the_same_id(order: OrderStruct, version: ExchangeVersion) -> None:
    builder = ExchangeOrderBuilderV2(
        VERIFYING_CONTRACTS[version],
        CHAIN_ID,
        None,
        domain_version="3" if version is ExchangeVersion.V3 else "2",
    )
    theirs = OrderV2(
        salt=str(order.salt),
        maker=order.maker,
        signer=order.signer,
        tokenId=order.token_id,
        makerAmount=str(order.maker_amount),
        takerAmount=str(order.taker_amount),
        side=ClientSide.BUY if order.side is Side.BUY else ClientSide.SELL,
        signatureType=SignatureTypeV2(order.signature_type),
        timestamp=str(order.timestamp_ms),
        metadata=order.metadata,
        builder=order.builder,
        expiration="0",
    )
    assert order_id(order, version) == builder.build_order_hash(builder.build_order_typed_data(theirs))


@given(orders(), st.sampled_from(list(ExchangeVersion)))
@unhurried
def test_the_official_sdks_typed_data_has_the_same_digest(
    order: OrderStruct, version: ExchangeVersion
) -> None:
    typed = build_order_typed_data(UnsignedOrder(**sdk_fields(order, version)))
    plain_order = {
        "types": {name: typed["types"][name] for name in ("EIP712Domain", "Order")},
        "primaryType": "Order",
        "domain": typed["domain"],
        # A deposit wallet signs a wrapping of the order; the id stays that of what is wrapped.
        "message": typed["message"].get("contents", typed["message"]),
    }
    signable = encode_typed_data(full_message=plain_order)
    assert order_digest(order, version) == keccak(b"\x19\x01" + signable.header + signable.body)


def sdk_fields(order: OrderStruct, version: ExchangeVersion) -> dict[str, Any]:
    fields = {field.name: getattr(order, field.name) for field in dataclasses.fields(order)}
    fields["timestamp"] = fields.pop("timestamp_ms")
    return {
        **fields,
        "exchange_address": VERIFYING_CONTRACTS[version],
        "chain_id": CHAIN_ID,
        "protocol_version": "3" if version is ExchangeVersion.V3 else "2",
        "expiration": 0,
        "order_type": "GTC",
    }


@given(orders())
@unhurried
def test_the_three_contracts_never_agree_on_an_id(order: OrderStruct) -> None:
    assert len({order_id(order, version) for version in ExchangeVersion}) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("salt", 12346),
        ("maker", "0x1234567890123456789012345678901234567891"),
        ("signer", "0x2345678901234567890123456789012345678902"),
        ("token_id", TokenId("7")),
        ("maker_amount", 1_000_001),
        ("taker_amount", 500_001),
        ("side", Side.SELL),
        ("signature_type", DEPOSIT_WALLET),
        ("timestamp_ms", 1_700_000_001),
        ("metadata", "0x" + "11" * 32),
        ("builder", "0x" + "11" * 32),
    ],
)
def test_every_field_is_part_of_the_id(field: str, value: Any) -> None:
    changed = dataclasses.replace(SOLIDITY_ORDER, **{field: value})
    version = ExchangeVersion.STANDARD
    assert order_id(changed, version) != order_id(SOLIDITY_ORDER, version)


def test_the_case_of_an_address_is_not_part_of_the_id() -> None:
    mixed = dataclasses.replace(SOLIDITY_ORDER, maker="0x" + "aB" * 20)
    lower = dataclasses.replace(SOLIDITY_ORDER, maker="0x" + "ab" * 20)
    assert order_id(mixed, ExchangeVersion.V3) == order_id(lower, ExchangeVersion.V3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("maker", "0x1234"),
        ("maker", "not hex"),
        ("metadata", "0x00"),
        ("token_id", TokenId("-1")),
        ("token_id", TokenId("0xfeed")),
        ("salt", -1),
        ("maker_amount", 2**256),
    ],
)
def test_a_field_that_does_not_fit_its_type_is_refused_and_never_cut(field: str, value: Any) -> None:
    with pytest.raises(ValueError):
        order_id(dataclasses.replace(SOLIDITY_ORDER, **{field: value}), ExchangeVersion.STANDARD)


def test_an_id_reads_as_the_exchange_writes_it() -> None:
    text = order_id(SOLIDITY_ORDER, ExchangeVersion.V3)
    assert len(text) == 66
    assert text == text.lower()
    assert text == "0x" + order_digest(SOLIDITY_ORDER, ExchangeVersion.V3).hex()


def test_a_token_names_its_contract_by_its_reserved_bits() -> None:
    ordinary = TokenId(str(0xFF << 40))
    position = TokenId(str((1 << 200) | 0xFFFF))
    assert exchange_version(ordinary, neg_risk=False) is ExchangeVersion.STANDARD
    assert exchange_version(ordinary, neg_risk=True) is ExchangeVersion.NEG_RISK
    assert exchange_version(position, neg_risk=False) is ExchangeVersion.V3
    assert exchange_version(position, neg_risk=True) is ExchangeVersion.V3
    for bit in (40, 103):
        assert exchange_version(TokenId(str(1 << bit)), neg_risk=False) is ExchangeVersion.STANDARD
    for bit in (39, 104):
        assert exchange_version(TokenId(str(1 << bit)), neg_risk=False) is ExchangeVersion.V3
