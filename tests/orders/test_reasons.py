import pytest

from worker.orders.reasons import Backoff, SkipReason, Stage


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_is_a_word_with_a_stage_and_a_sentence(reason: SkipReason) -> None:
    assert SkipReason(str(reason)) is reason
    assert reason.value == reason.name.lower()
    assert reason.stage in Stage
    assert reason.sentence[0].isupper()
    assert reason.sentence.endswith(".")


def test_no_two_reasons_say_the_same() -> None:
    assert len({reason.sentence for reason in SkipReason}) == len(SkipReason)


@pytest.mark.parametrize("reason", list(SkipReason))
def test_a_reason_is_final_or_says_how_soon_and_until_when_to_ask_again(reason: SkipReason) -> None:
    assert reason.final == (reason.backoff is None) == (reason.expiry is None)


def test_a_closed_door_is_knocked_at_slowly() -> None:
    doors = [reason for reason in SkipReason if reason.stage is Stage.VENUE]
    assert not any(reason.final for reason in doors)
    assert SkipReason.EXCHANGE_DISABLED.backoff is Backoff.SLOW


# What lt_claim may answer: the contract between worker/database and supabase/migrations.
CLAIM_WORDS = [
    "lease_lost",
    "kill_switch",
    "strategy_paused",
    "strategy_inactive",
    "breaker_active",
    "already_executed",
    "ft_not_open",
    "signal_changed",
    "wallet_mismatch",
    "above_max_order_size",
    "max_position_size",
    "max_total_exposure",
    "insufficient_capital",
    "wallet_balance_unknown",
    "wallet_insufficient_balance",
]


@pytest.mark.parametrize("word", CLAIM_WORDS)
def test_every_word_of_the_claim_is_a_reason(word: str) -> None:
    assert SkipReason(word).value == word


@pytest.mark.parametrize("word", ["lease_lost", "signal_changed", "wallet_balance_unknown"])
def test_what_the_claim_does_not_record_stays_work(word: str) -> None:
    assert not SkipReason(word).final
