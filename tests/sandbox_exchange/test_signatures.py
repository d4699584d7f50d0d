"""Who may trade for whom, and what the venue answers when signer, maker and API key do not fit."""

import dataclasses
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from polymarket._internal.actions.orders.typed_data import build_order_signature, build_order_typed_data
from polymarket._internal.actions.orders.types import UnsignedOrder
from polymarket.models.types import TokenId as SdkTokenId
from polymarket.types import EvmAddress, HexString

from tests.support.exchange_clients import Trader, refused
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.hashing import STANDARD_EXCHANGE
from worker.sandbox.exchange.markets import synthetic_market
from worker.sandbox.exchange.orders import Address, OrderType, Side, SignedOrder
from worker.sandbox.exchange.venue import Venue

STANDARD = synthetic_market("Standard")
NEG_RISK = synthetic_market("Negative risk", neg_risk=True)
POSITION = synthetic_market("Position", tokens=(str(7 << 128), str((7 << 128) | 1)))
WALLET = Address("0x" + "ab" * 20)
WRONG_SIGNER = "the order signer address has to be the address of the API KEY"


@pytest.fixture
def venue() -> Venue:
    return Venue(Exchange([STANDARD, NEG_RISK, POSITION]))


def bid(
    trader: Trader, token: str = STANDARD.tokens[0], *, neg_risk: bool = False, **changes: Any
) -> SignedOrder:
    return trader.sign(token, Side.BUY, 5_000_000, 10_000_000, neg_risk=neg_risk, **changes)


@pytest.mark.parametrize(
    ("token", "neg_risk"),
    [(STANDARD.tokens[1], False), (NEG_RISK.tokens[0], True), (POSITION.tokens[1], False)],
)
def test_each_kind_of_market_accepts_orders_of_its_own_domain(
    venue: Venue, token: str, *, neg_risk: bool
) -> None:
    trader = Trader(venue)
    accepted = trader.submit(bid(trader, token, neg_risk=neg_risk), OrderType.GTC)
    assert accepted.status == "live"


def test_an_order_signed_for_the_wrong_exchange_contract_has_no_valid_signature(venue: Venue) -> None:
    trader = Trader(venue)
    with refused("invalid signature"):
        trader.submit(bid(trader, NEG_RISK.tokens[0], neg_risk=False), OrderType.GTC)


def test_an_order_changed_after_signing_has_no_valid_signature(venue: Venue) -> None:
    trader = Trader(venue)
    forged = dataclasses.replace(bid(trader), taker_amount=20_000_000)
    with refused("invalid signature"):
        trader.submit(forged, OrderType.GTC)


def test_the_signer_must_be_the_address_of_the_api_key(venue: Venue) -> None:
    stranger = Trader(venue, 2)
    trader = Trader(venue)
    trader.key, trader.address = stranger.key, stranger.address
    with refused(WRONG_SIGNER):
        trader.submit(bid(trader), OrderType.GTC)


def test_the_owner_must_be_the_api_key_that_asks(venue: Venue) -> None:
    trader, stranger = Trader(venue), Trader(venue, 2)
    with refused("the order owner has to be the owner of the API KEY"):
        venue.engine.submit(
            bid(trader),
            order_type=OrderType.GTC,
            post_only=False,
            owner=stranger.credentials.key,
            credentials=trader.credentials,
        )


def test_an_eoa_may_only_spend_its_own_money(venue: Venue) -> None:
    trader = Trader(venue)
    with refused("maker address not allowed, please use the deposit wallet flow"):
        trader.submit(bid(trader, maker=WALLET), OrderType.GTC)


@pytest.mark.parametrize("signature_type", [1, 2])
def test_a_wallet_contract_spends_when_its_owner_signs(venue: Venue, signature_type: int) -> None:
    trader = Trader(venue)
    venue.engine.wallets.register(WALLET, owner=trader.address, signature_type=signature_type)
    venue.fund(WALLET, 100)
    order = bid(trader, maker=WALLET, signature_type=signature_type)
    assert trader.submit(order, OrderType.GTC).order.maker == WALLET


def test_a_wallet_contract_of_another_kind_does_not_spend(venue: Venue) -> None:
    trader = Trader(venue)
    venue.engine.wallets.register(WALLET, owner=trader.address, signature_type=2)
    with refused("maker address not allowed, please use the deposit wallet flow"):
        trader.submit(bid(trader, maker=WALLET, signature_type=1), OrderType.GTC)


def sign_for_deposit_wallet(trader: Trader) -> SignedOrder:
    """The official SDK's own ERC-7739 signature over an order of a deposit wallet."""
    plain = bid(trader, maker=WALLET, signer=WALLET, signature_type=3)
    unsigned = UnsignedOrder(
        salt=plain.salt,
        maker=EvmAddress(plain.maker),
        signer=EvmAddress(plain.signer),
        token_id=SdkTokenId(plain.token),
        maker_amount=plain.maker_amount,
        taker_amount=plain.taker_amount,
        side="BUY",
        signature_type=3,
        timestamp=plain.timestamp_ms,
        metadata=HexString("0x" + plain.metadata.hex()),
        builder=HexString("0x" + plain.builder.hex()),
        expiration=0,
        order_type="GTC",
        chain_id=137,
        exchange_address=EvmAddress(STANDARD_EXCHANGE),
    )
    typed_data = build_order_typed_data(unsigned)
    inner = Account.sign_message(encode_typed_data(full_message=typed_data), trader.key.secret)
    signature = build_order_signature(unsigned, HexString("0x" + inner.signature.hex()))
    return dataclasses.replace(plain, signature=bytes.fromhex(signature[2:]))


def test_a_deposit_wallet_spends_when_its_owner_signs_the_nested_order(venue: Venue) -> None:
    trader = Trader(venue)
    venue.engine.wallets.register(WALLET, owner=trader.address, signature_type=3)
    venue.fund(WALLET, 100)
    accepted = trader.submit(sign_for_deposit_wallet(trader), OrderType.GTC)
    assert (accepted.status, accepted.order.maker) == ("live", WALLET)


def test_a_deposit_wallet_signature_with_a_foreign_tail_is_invalid(venue: Venue) -> None:
    trader = Trader(venue)
    venue.engine.wallets.register(WALLET, owner=trader.address, signature_type=3)
    signed = sign_for_deposit_wallet(trader)
    broken = dataclasses.replace(signed, signature=signed.signature[:-1] + b"\x00")
    with refused("invalid signature"):
        trader.submit(broken, OrderType.GTC)


def test_a_deposit_wallet_of_somebody_else_is_refused(venue: Venue) -> None:
    trader, owner = Trader(venue), Trader(venue, 2)
    venue.engine.wallets.register(WALLET, owner=owner.address, signature_type=3)
    with refused(WRONG_SIGNER):
        trader.submit(sign_for_deposit_wallet(trader), OrderType.GTC)


def test_an_unknown_signature_type_is_refused(venue: Venue) -> None:
    trader = Trader(venue)
    with refused("Invalid signature_type"):
        trader.submit(bid(trader, signature_type=4), OrderType.GTC)
