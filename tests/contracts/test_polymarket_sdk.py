"""What we rely on in the official SDK beyond its public promises. If an upgrade breaks this, read it before trading."""

import dataclasses

from polymarket import PRODUCTION, SignedOrder
from polymarket._internal.environment import get_environment_config

from tests.support.exchange_floor import account_of
from tests.support.exchange_plans import listed_market, plan
from worker.exchange.envelopes import order_fields, seal
from worker.exchange.order_id import CHAIN_ID, VERIFYING_CONTRACTS
from worker.exchange.polymarket.desk import environment_for
from worker.orders.terms import ExchangeVersion
from worker.settings import ExchangeSettings


def test_nothing_of_the_sandbox_reaches_production() -> None:
    settings = ExchangeSettings(
        clob_url="http://127.0.0.1:1",
        gamma_url="http://127.0.0.1:2",
        data_url="http://127.0.0.1:3",
        user_ws_url="ws://127.0.0.1:4",
        market_ws_url="ws://127.0.0.1:5",
    )
    config = get_environment_config(environment_for(settings))
    texts = {field.name: str(getattr(config, field.name)) for field in dataclasses.fields(config)}
    addresses = {name: text for name, text in texts.items() if "://" in text}
    assert len(addresses) > 10
    assert {name: text for name, text in addresses.items() if "127.0.0.1" not in text} == {}
    assert (config.clob_url, config.gamma_url, config.data_url) == (
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
        "http://127.0.0.1:3",
    )
    assert (config.clob_user_ws_url, config.clob_market_ws_url) == ("ws://127.0.0.1:4", "ws://127.0.0.1:5")


def test_our_default_addresses_are_the_sdks_own() -> None:
    config = get_environment_config(environment_for(ExchangeSettings()))
    assert config == get_environment_config(PRODUCTION)


def test_contracts_and_chain_stay_those_of_production_wherever_the_book_is() -> None:
    ours = get_environment_config(environment_for(ExchangeSettings(clob_url="http://127.0.0.1:1")))
    theirs = get_environment_config(PRODUCTION)
    unchanged = [field.name for field in dataclasses.fields(ours) if not field.name.endswith("_url")]
    assert {name: getattr(ours, name) for name in unchanged} == {
        name: getattr(theirs, name) for name in unchanged
    }


def test_the_sdk_trades_on_the_contracts_that_we_sign_for() -> None:
    config = get_environment_config(PRODUCTION)
    assert config.chain_id == CHAIN_ID
    assert {version: address.lower() for version, address in VERIFYING_CONTRACTS.items()} == {
        ExchangeVersion.STANDARD: config.standard_exchange.lower(),
        ExchangeVersion.NEG_RISK: config.neg_risk_exchange.lower(),
        ExchangeVersion.V3: config.exchange_v3.lower(),
    }


def test_a_sealed_order_has_every_field_of_the_sdks_order_and_no_other() -> None:
    account = account_of()
    envelope = seal(
        plan(listed_market(), limit_price="0.52"),
        wallet=account.wallet,
        signer=account.signer(),
        salt=1,
        timestamp_ms=1,
    )
    assert set(order_fields(envelope)) == {field.name for field in dataclasses.fields(SignedOrder)}
