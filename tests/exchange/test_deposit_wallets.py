"""Deposit wallets: a contract holds the funds, and its owner's key signs each order nested (ERC-7739)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account as EthAccount
from eth_account.messages import encode_typed_data
from polymarket._internal.actions.orders.typed_data import build_order_signature, build_order_typed_data
from polymarket._internal.actions.orders.types import UnsignedOrder
from polymarket.models.types import TokenId as SdkTokenId
from polymarket.types import EvmAddress, HexString

from tests.support.deposit_wallets import DEPOSIT_WALLET, deposit_wallet_of
from tests.support.exchange_floor import KEY, OTHER_KEY, Floor, open_floor, polymarket, prepared
from tests.support.exchange_plans import listed_market, plan
from worker.errors import CredentialError
from worker.exchange.envelopes import order_fields, seal
from worker.exchange.order_id import VERIFYING_CONTRACTS
from worker.exchange.polymarket.exchange import PolymarketExchange
from worker.exchange.signer import Account, LocalSigner
from worker.orders.terms import ExchangeVersion, OrderType, WalletAddress, WalletKind

OWNER = LocalSigner(KEY).address
WALLET = deposit_wallet_of(OWNER)
ACCOUNT = Account(WALLET, KEY, kind=WalletKind.DEPOSIT_WALLET)


@pytest.fixture
async def floor() -> AsyncIterator[Floor]:
    """A deposit wallet with $1,000, whose owner has nothing."""
    async with open_floor(funds_usd=0) as floor:
        floor.venue.engine.wallets.register(WALLET, owner=OWNER, signature_type=DEPOSIT_WALLET)
        floor.venue.fund(WALLET, 1000)
        yield replace(floor, account=ACCOUNT)


@pytest.fixture
async def exchange(floor: Floor) -> AsyncIterator[PolymarketExchange]:
    async with polymarket(floor) as exchange:
        yield exchange


@pytest.mark.parametrize("version", list(ExchangeVersion))
def test_the_signature_is_the_official_sdks_own_for_every_contract(version: ExchangeVersion) -> None:
    market = replace(listed_market(), exchange_version=version)
    envelope = seal(
        plan(market, limit_price="0.52", bet_usd="50"),
        wallet=WALLET,
        signer=ACCOUNT.signer(),
        salt=12345,
        timestamp_ms=1795361411000,
        kind=WalletKind.DEPOSIT_WALLET,
    )
    fields = order_fields(envelope)
    assert fields["maker"] == fields["signer"]
    unsigned = UnsignedOrder(
        salt=fields["salt"],
        maker=EvmAddress(fields["maker"]),
        signer=EvmAddress(fields["signer"]),
        token_id=SdkTokenId(fields["token_id"]),
        maker_amount=fields["maker_amount"],
        taker_amount=fields["taker_amount"],
        side="BUY",
        signature_type=DEPOSIT_WALLET,
        timestamp=fields["timestamp"],
        metadata=HexString(fields["metadata"]),
        builder=HexString(fields["builder"]),
        expiration=0,
        order_type="FAK",
        chain_id=137,
        exchange_address=EvmAddress(VERIFYING_CONTRACTS[version]),
    )
    domain = "3" if version is ExchangeVersion.V3 else "2"
    typed_data = build_order_typed_data(unsigned, protocol_version=domain)
    inner = EthAccount.sign_message(
        encode_typed_data(full_message=typed_data), bytes.fromhex(KEY.get_secret_value()[2:])
    )
    theirs = build_order_signature(unsigned, HexString("0x" + inner.signature.hex()), protocol_version=domain)
    assert fields["signature"] == theirs


@pytest.mark.parametrize("listing", [{}, {"neg_risk": True}, {"protocol_v2": True}])
async def test_its_orders_are_taken_on_every_contract_and_paid_by_the_wallet(
    floor: Floor, exchange: PolymarketExchange, listing: dict[str, Any]
) -> None:
    floor = floor.with_market(**listing)
    floor.offer("0.50", "1000")
    envelope = await prepared(floor, exchange, bet_usd="10")
    answer = await exchange.submit(envelope)
    assert (answer.status, answer.order_id) == ("matched", envelope.order_id)
    view = await exchange.lookup(floor.wallet, envelope.order_id)
    assert view.found
    assert sum(fill.shares * fill.price for fill in view.fills) == answer.making_amount
    trades = floor.venue.engine.trades.values()
    assert {str(trade.taker.maker) for trade in trades} == {str(WALLET)}


async def test_what_rests_is_cancelled_and_the_balance_is_the_wallets(
    floor: Floor, exchange: PolymarketExchange
) -> None:
    envelope = await prepared(floor, exchange, order_type=OrderType.GTC, bet_usd="10")
    assert (await exchange.submit(envelope)).status == "live"
    assert await exchange.cancel(floor.wallet, envelope.order_id)
    assert (await exchange.balance(floor.wallet)).collateral_usd == Decimal(1000)


async def test_another_keys_wallet_is_refused_by_name(floor: Floor) -> None:
    stranger = Account(WALLET, OTHER_KEY, kind=WalletKind.DEPOSIT_WALLET)
    with pytest.raises(CredentialError, match=WALLET):
        async with polymarket(replace(floor, account=stranger)):
            pass


@pytest.mark.parametrize(
    "account",
    [Account(WALLET, KEY), Account(WalletAddress(OWNER.lower()), KEY, kind=WalletKind.DEPOSIT_WALLET)],
)
def test_a_wallet_of_the_other_kind_is_refused_before_anybody_hears_of_it(account: Account) -> None:
    with pytest.raises(CredentialError, match=account.wallet):
        account.signer()


async def test_a_wallet_that_was_never_made_is_refused_and_not_made_by_us(floor: Floor) -> None:
    account = Account(
        deposit_wallet_of(LocalSigner(OTHER_KEY).address), OTHER_KEY, kind=WalletKind.DEPOSIT_WALLET
    )
    with pytest.raises(CredentialError, match=account.wallet):
        async with polymarket(replace(floor, account=account)):
            pass
    posted = {path for method, path in floor.venue.journal.counts if method == "POST"}
    assert posted <= {"/auth/api-key"}
