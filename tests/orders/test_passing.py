"""What would have passed: told of every reason, and true of the rules that said no."""

from decimal import Decimal

import pytest

from tests.support.noes import NUMBERED, no_of
from worker.orders.numbers import floor_to, share_count
from worker.orders.passing import SET_BY_THE_PLATFORM, Sense, passing
from worker.orders.pricing import limit_price
from worker.orders.reasons import SkipReason
from worker.orders.states import STATES
from worker.orders.terms import Side

R = SkipReason


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_tells_what_failed_and_what_would_have_passed(reason: SkipReason) -> None:
    no = no_of(reason)
    would = passing(reason, no.value, no.limit, no.snapshot)
    assert no.would_pass in would.would_pass
    assert no.advice in would.advice
    assert (no.failed or no.value) in would.number
    assert would.sentence().endswith(f"{would.would_pass} would have passed.")
    assert (
        f"{would.number} failed, " in would.sentence()
        or f"{would.measured} was {would.number}; " in would.sentence()
    )
    assert would.is_number == (reason in NUMBERED)
    if would.is_number:
        assert no.limit in would.limit


def test_a_reason_is_about_a_number_or_is_listed_with_the_state_that_would_have_passed() -> None:
    assert set(STATES) | set(NUMBERED) == set(SkipReason)
    # What tripped a breaker may be a number, or known to the platform alone.
    assert set(STATES) & set(NUMBERED) == {R.BREAKER_ACTIVE}


@pytest.mark.parametrize("reason", list(SkipReason))
def test_whatever_stands_in_the_ledger_can_be_told(reason: SkipReason) -> None:
    for value, limit in (("", ""), ("missing", ""), ("", "5"), ("-1.5", "0"), ("NaN", "infinity")):
        would = passing(reason, value, limit, {"base_price": "", "slippage": "x", "win_rate": "NaN"})
        assert "" not in {would.measured, would.number, would.would_pass}
        assert would.is_number or reason in STATES


def test_a_limit_stands_to_its_number_as_the_number_to_its_limit_turned() -> None:
    assert {sense: sense.turned.turned for sense in Sense} == {sense: sense for sense in Sense}
    assert Sense.BELOW.turned is Sense.ABOVE


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("best", ["0.37", "0.44", "0.523", "0.61", "0.7"])
def test_with_the_slippage_that_is_named_the_cap_reaches_the_offer_and_with_less_it_does_not(
    side: Side, best: str
) -> None:
    tick, base, offer = Decimal("0.001"), Decimal("0.55"), Decimal(best)
    if (offer > base) is not (side is Side.BUY):
        offer = base + (base - offer)
    cap = limit_price(base, side, Decimal("0.01"), tick, Decimal(20))
    assert isinstance(cap, Decimal)
    would = passing(R.SIGNAL_STALE, str(offer), str(cap), {"base_price": "0.55", "slippage": "0.01"})
    named = Decimal(would.advice.removeprefix("slippage_tolerance_pct at least ").partition(",")[0])

    def reaches(percent: Decimal) -> bool:
        limit = limit_price(base, side, percent / 100, tick, Decimal(20))
        assert isinstance(limit, Decimal)
        return limit >= offer if side is Side.BUY else limit <= offer

    assert reaches(named)
    assert not reaches(floor_to(named - Decimal("0.01"), Decimal("0.001")))


def test_a_signal_without_any_offer_is_told_what_offer_would_have_done() -> None:
    would = passing(R.SIGNAL_STALE, "no price offered", "0.51", {})
    assert (would.number, would.would_pass) == ("no price offered", "an offer at 0.51 or better")


@pytest.mark.parametrize("reason", [R.SELL_NO_POSITION, R.POSITION_UNSETTLED])
def test_a_sale_of_nothing_needs_something_to_sell(reason: SkipReason) -> None:
    would = passing(reason, "0.00 shares", "", {})
    assert (would.number, would.would_pass) == ("0 shares", "above 0 shares")


def test_a_breaker_that_only_words_tell_of_is_told_without_a_number_that_failed() -> None:
    lost = "20.00 % of 1000.00 USD were lost, the limit is 20.00 %"
    for value, limit, advice in (
        (lost, "30.00", "arm --strategy"),
        (SET_BY_THE_PLATFORM, "", "The platform"),
    ):
        would = passing(R.BREAKER_ACTIVE, value, limit, {})
        assert would.sentence() == (
            f"circuit breaker was {value}; a breaker that has not tripped would have passed."
        )
        assert would.advice.startswith(advice) or advice in would.advice


@pytest.mark.parametrize(
    ("held", "passes"),
    [("12 shares", "12 shares"), ("0.00 shares", "above 0 shares"), ("", "above 0 shares")],
)
def test_a_sale_that_waits_for_a_purchase_would_have_passed_without_it(held: str, passes: str) -> None:
    would = passing(R.POSITION_UNSETTLED, held, "a purchase is open", {})
    assert would.measured == "settled shares to be sold, where a purchase is open"
    assert would.would_pass == f"{passes}, and no purchase open"


def test_one_share_is_not_called_shares_and_no_share_has_no_decimals() -> None:
    would = passing(R.BELOW_MIN_SIZE, "0.50 shares", "1 share", {})
    assert (would.number, would.limit, would.would_pass) == ("0.5 shares", "1 share", "at least 1 share")
    assert share_count(Decimal("-0.00")) == "0 shares"
    assert share_count(Decimal("12.10"), "paper share") == "12.1 paper shares"
