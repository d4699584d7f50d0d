"""Sealed orders: reproducible, complete, and refused when they are not what was sealed."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.exchange_floor import account_of
from tests.support.exchange_plans import SOME_TIME, listed_market, plan
from worker.exchange.envelopes import canonical_json, order_fields, random_salt, seal
from worker.orders.decide import Plan
from worker.orders.ports import Envelope
from worker.orders.terms import ExchangeVersion, OrderType, Side

ACCOUNT = account_of()
MARKET = listed_market()
PLAN = plan(MARKET, limit_price="0.52", bet_usd="50")


def sealed(wanted: Plan = PLAN, *, salt: int = 12345, timestamp_ms: int = 1795361411000) -> Envelope:
    signer = ACCOUNT.signer()
    return seal(wanted, wallet=ACCOUNT.wallet, signer=signer, salt=salt, timestamp_ms=timestamp_ms)


def altered(envelope: Envelope, **changed: Any) -> Envelope:
    letter = json.loads(envelope.body)
    letter["order"].update(changed)
    return replace(envelope, body=canonical_json(letter))


def test_the_same_order_is_sealed_with_the_same_bytes() -> None:
    assert sealed() == sealed()


def test_another_salt_or_time_is_another_order() -> None:
    ids = {sealed().order_id, sealed(salt=12346).order_id, sealed(timestamp_ms=1795361411001).order_id}
    assert len(ids) == 3


def test_the_body_carries_the_plans_exact_amounts() -> None:
    fields = order_fields(sealed())
    assert fields["maker_amount"] == PLAN.amounts.maker_base_units
    assert fields["taker_amount"] == PLAN.amounts.taker_base_units
    assert (fields["side"], fields["order_type"], fields["token_id"]) == ("BUY", "FAK", "7" * 70)
    assert fields["expiration"] == 0


def test_a_gtd_order_states_when_it_expires() -> None:
    until = SOME_TIME + timedelta(seconds=300)
    envelope = sealed(plan(MARKET, limit_price="0.52", order_type=OrderType.GTD, expires_at=until))
    assert order_fields(envelope)["expiration"] == int(until.timestamp())
    assert envelope.expires_at == until


def test_a_body_survives_being_written_down_as_text() -> None:
    envelope = sealed(plan(MARKET, limit_price="0.48", side=Side.SELL, shares="12.34"))
    stored = json.loads(json.dumps({"signed_body": envelope.body}))["signed_body"]
    assert order_fields(replace(envelope, body=stored)) == order_fields(envelope)


def test_the_contract_version_is_part_of_the_id() -> None:
    ids = {
        sealed(plan(replace(MARKET, exchange_version=version), limit_price="0.52")).order_id
        for version in ExchangeVersion
    }
    assert len(ids) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"maker_amount": 1},
        {"taker_amount": 1},
        {"token_id": "9"},
        {"side": "SELL"},
        {"salt": 1},
        {"timestamp": 1},
        {"maker": "0x" + "11" * 20},
        {"signer": "0x" + "11" * 20},
        {"signature_type": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_body_that_was_altered_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="altered or mixed up"):
        order_fields(altered(sealed(), **change))


@pytest.mark.parametrize("body", ["", "{", "[]", "null", "{}", '{"exchange_version":"std","order":{}}'])
def test_a_body_that_cannot_be_read_is_refused(body: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        order_fields(replace(sealed(), body=body))


def test_salts_fit_a_json_number() -> None:
    salts = {random_salt() for _ in range(1000)}
    assert len(salts) == 1000
    assert all(0 <= salt < 1 << 53 for salt in salts)
