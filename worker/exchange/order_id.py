"""The id of an order before anybody has seen it: keccak(0x1901 ‖ domain separator ‖ struct hash), per EIP-712.

Packed by hand, because this runs between a signal and its order and eleven words of 32 bytes need no encoder. The
id is the digest of the plain Order for every kind of wallet; expiration, order type and owner are outside of it.
Source: polymarket-clob.md 1.6 and 3.8. Checked in tests against the exchange's own Solidity vector, against the
official SDK and against a second client.
"""

from dataclasses import dataclass

from eth_utils.crypto import keccak

from worker.orders.terms import ExchangeVersion, OrderId, Side, TokenId

CHAIN_ID = 137  # Polygon
ZERO_BYTES32 = "0x" + "00" * 32

VERIFYING_CONTRACTS: dict[ExchangeVersion, str] = {
    ExchangeVersion.STANDARD: "0xE111180000d2663C0091e4f400237545B87B996B",
    ExchangeVersion.NEG_RISK: "0xe2222d279d744050d28e00520010520000310F59",
    ExchangeVersion.V3: "0xe3333700cA9d93003F00f0F71f8515005F6c00Aa",
}

_WORD = 32
_ADDRESS = 20
_DOMAIN_VERSIONS = {ExchangeVersion.STANDARD: b"2", ExchangeVersion.NEG_RISK: b"2", ExchangeVersion.V3: b"3"}
_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_SIDES = {Side.BUY: 0, Side.SELL: 1}

# A position of protocol V2 has these 64 bits of its token id clear, and is traded on Exchange V3.
_RESERVED_BITS_FROM = 40
_RESERVED_BITS = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class OrderStruct:
    """The eleven fields that the contract hashes. Amounts in base units of 10⁻⁶, `timestamp_ms` in milliseconds."""

    salt: int
    maker: str
    signer: str
    token_id: TokenId
    maker_amount: int
    taker_amount: int
    side: Side
    signature_type: int
    timestamp_ms: int
    metadata: str = ZERO_BYTES32
    builder: str = ZERO_BYTES32


def exchange_version(token_id: TokenId, *, neg_risk: bool) -> ExchangeVersion:
    """The contract that trades this token."""
    if (int(token_id) >> _RESERVED_BITS_FROM) & _RESERVED_BITS == 0:
        return ExchangeVersion.V3
    return ExchangeVersion.NEG_RISK if neg_risk else ExchangeVersion.STANDARD


def order_id(order: OrderStruct, version: ExchangeVersion) -> OrderId:
    """0x + 64 hex. Raises ValueError if a field does not fit its Solidity type."""
    return OrderId("0x" + order_digest(order, version).hex())


def order_digest(order: OrderStruct, version: ExchangeVersion) -> bytes:
    """The 32 bytes that a plain key signs, and that the exchange calls the order by."""
    return keccak(b"\x19\x01" + DOMAIN_SEPARATORS[version] + struct_hash(order))


def nested_digest(order: OrderStruct, version: ExchangeVersion) -> bytes:
    """What the owner of a deposit wallet signs: the order inside a TypedDataSign that names the wallet (ERC-7739)."""
    nested = keccak(
        _TYPED_DATA_SIGN_TYPE_HASH
        + struct_hash(order)
        + keccak(b"DepositWallet")
        + keccak(b"1")
        + _uint(CHAIN_ID)
        + _hex_word(order.maker, _ADDRESS)
        + bytes(_WORD)
    )
    return keccak(b"\x19\x01" + DOMAIN_SEPARATORS[version] + nested)


def nested_proof(order: OrderStruct, version: ExchangeVersion) -> bytes:
    """What follows such a signature, so that the wallet's contract can build the digest again."""
    return DOMAIN_SEPARATORS[version] + struct_hash(order) + _ORDER_TYPE + len(_ORDER_TYPE).to_bytes(2, "big")


def struct_hash(order: OrderStruct) -> bytes:
    return keccak(
        _ORDER_TYPE_HASH
        + _uint(order.salt)
        + _hex_word(order.maker, _ADDRESS)
        + _hex_word(order.signer, _ADDRESS)
        + _uint(int(order.token_id))
        + _uint(order.maker_amount)
        + _uint(order.taker_amount)
        + _uint(_SIDES[order.side])
        + _uint(order.signature_type)
        + _uint(order.timestamp_ms)
        + _hex_word(order.metadata, _WORD)
        + _hex_word(order.builder, _WORD)
    )


def _uint(number: int) -> bytes:
    if not 0 <= number < 1 << 256:
        raise ValueError(f"Expected an unsigned integer of 256 bits, was {number}.")
    return number.to_bytes(_WORD, "big")


def _hex_word(text: str, size: int) -> bytes:
    """`size` bytes of hex, left-padded to a word as an address is; a whole word is itself."""
    raw = bytes.fromhex(text.removeprefix("0x"))
    if len(raw) != size:
        raise ValueError(f"Expected {size} bytes as hex, was {text!r}.")
    return raw.rjust(_WORD, b"\x00")


def _domain_separator(version: ExchangeVersion) -> bytes:
    return keccak(
        keccak(_DOMAIN_TYPE)
        + keccak(b"Polymarket CTF Exchange")
        + keccak(_DOMAIN_VERSIONS[version])
        + _uint(CHAIN_ID)
        + _hex_word(VERIFYING_CONTRACTS[version], _ADDRESS)
    )


_ORDER_TYPE_HASH = keccak(_ORDER_TYPE)
_TYPED_DATA_SIGN_TYPE_HASH = keccak(
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,"
    b"bytes32 salt)" + _ORDER_TYPE
)
DOMAIN_SEPARATORS: dict[ExchangeVersion, bytes] = {
    version: _domain_separator(version) for version in ExchangeVersion
}
