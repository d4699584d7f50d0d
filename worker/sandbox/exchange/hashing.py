"""Hashes of the signed structures, packed by hand: the order id, ERC-7739 contents and the ClobAuth message.

Written from the contracts' definitions (EIP-712), sharing no code with any client, so that an id computed
here is a second opinion. About 20 microseconds per order.
"""

from eth_hash.auto import keccak

from worker.sandbox.exchange.orders import OrderId, Side, SignedOrder

CHAIN_ID = 137
ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,uint256 takerAmount,"
    b"uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
STANDARD_EXCHANGE = "0xe111180000d2663c0091e4f400237545b87b996b"
NEG_RISK_EXCHANGE = "0xe2222d279d744050d28e00520010520000310f59"
V3_EXCHANGE = "0xe3333700ca9d93003f00f0f71f8515005f6c00aa"

_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_EXCHANGE_NAME = keccak(b"Polymarket CTF Exchange")
_ORDER_TYPE_HASH = keccak(ORDER_TYPE)
_TYPED_DATA_SIGN_TYPE_HASH = keccak(
    b"TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,"
    b"bytes32 salt)" + ORDER_TYPE
)
_WALLET_NAME = keccak(b"DepositWallet")
_WALLET_VERSION = keccak(b"1")
_AUTH_TYPE_HASH = keccak(b"ClobAuth(address address,string timestamp,uint256 nonce,string message)")
_AUTH_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId)")
_AUTH_NAME = keccak(b"ClobAuthDomain")
_AUTH_VERSION = keccak(b"1")
_AUTH_MESSAGE = keccak(b"This message attests that I control the given wallet")


def word(value: int) -> bytes:
    """A uint256 as the ABI packs it. Raises OverflowError outside 0 .. 2^256-1."""
    return value.to_bytes(32, "big")


def address_word(address: str) -> bytes:
    return word(int(address, 16))


def domain_separator(version: str, contract: str, chain_id: int = CHAIN_ID) -> bytes:
    return keccak(
        _DOMAIN_TYPE + _EXCHANGE_NAME + keccak(version.encode()) + word(chain_id) + address_word(contract)
    )


_STANDARD = domain_separator("2", STANDARD_EXCHANGE)
_NEG_RISK = domain_separator("2", NEG_RISK_EXCHANGE)
_V3 = domain_separator("3", V3_EXCHANGE)


def is_position_id(token: str) -> bool:
    """Whether an asset id comes from the PositionManager (bits 40 to 103 zero): it trades on Exchange V3."""
    return (int(token) >> 40) & ((1 << 64) - 1) == 0


def exchange_of(token: str, *, neg_risk: bool) -> str:
    """The contract that settles a token: the spender that needs an allowance."""
    if is_position_id(token):
        return V3_EXCHANGE
    return NEG_RISK_EXCHANGE if neg_risk else STANDARD_EXCHANGE


def separator_of(token: str, *, neg_risk: bool) -> bytes:
    if is_position_id(token):
        return _V3
    return _NEG_RISK if neg_risk else _STANDARD


def struct_hash(order: SignedOrder) -> bytes:
    return keccak(
        _ORDER_TYPE_HASH
        + word(order.salt)
        + address_word(order.maker)
        + address_word(order.signer)
        + word(int(order.token))
        + word(order.maker_amount)
        + word(order.taker_amount)
        + word(0 if order.side is Side.BUY else 1)
        + word(order.signature_type)
        + word(order.timestamp_ms)
        + order.metadata
        + order.builder
    )


def digest(separator: bytes, hashed: bytes) -> bytes:
    return keccak(b"\x19\x01" + separator + hashed)


def order_id(order: SignedOrder, *, neg_risk: bool) -> OrderId:
    """The exchange's id of an order: its plain EIP-712 digest, for every signature type."""
    return OrderId("0x" + digest(separator_of(order.token, neg_risk=neg_risk), struct_hash(order)).hex())


def wallet_digest(order: SignedOrder, *, neg_risk: bool) -> bytes:
    """What the owner of a deposit wallet signs: the order nested in ERC-7739 TypedDataSign."""
    nested = keccak(
        _TYPED_DATA_SIGN_TYPE_HASH
        + struct_hash(order)
        + _WALLET_NAME
        + _WALLET_VERSION
        + word(CHAIN_ID)
        + address_word(order.maker)
        + bytes(32)
    )
    return digest(separator_of(order.token, neg_risk=neg_risk), nested)


def auth_digest(address: str, timestamp: str, nonce: int, chain_id: int = CHAIN_ID) -> bytes:
    """What a wallet signs to create or derive its API key (L1)."""
    separator = keccak(_AUTH_DOMAIN_TYPE + _AUTH_NAME + _AUTH_VERSION + word(chain_id))
    hashed = keccak(
        _AUTH_TYPE_HASH + address_word(address) + keccak(timestamp.encode()) + word(nonce) + _AUTH_MESSAGE
    )
    return digest(separator, hashed)
