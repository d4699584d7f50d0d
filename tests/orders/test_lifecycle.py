from decimal import Decimal

import pytest

from worker.orders.lifecycle import (
    ALIVE,
    FILL_TRANSITIONS,
    TRANSITIONS,
    AttemptLife,
    AttemptState,
    FillState,
    OrderStatus,
    allowed,
    order_status,
    transition,
    transition_rows,
)

D = Decimal
A = AttemptState
FINAL = [A.MATCHED, A.KILLED, A.REJECTED, A.ABANDONED, A.CANCELLED, A.EXPIRED]


def status(*attempts: tuple[AttemptState, bool], filled: str = "0", target: str = "10") -> OrderStatus:
    return order_status(
        [AttemptLife(state, closed) for state, closed in attempts], filled=D(filled), target=D(target)
    )


def test_the_table_speaks_of_every_state_and_of_no_other() -> None:
    assert set(TRANSITIONS) == set(AttemptState)
    assert {new for news in TRANSITIONS.values() for new in news} <= set(AttemptState)
    assert set(FILL_TRANSITIONS) == set(FillState)


def test_alive_is_what_may_still_trade() -> None:
    assert {A.SUBMITTING, A.LIVE, A.DELAYED, A.UNMATCHED, A.UNKNOWN, A.CANCELLING} == ALIVE
    assert {state for state in AttemptState if len(TRANSITIONS[state]) > 1} == ALIVE


@pytest.mark.parametrize("state", FINAL)
def test_a_final_state_is_left_by_nothing(state: AttemptState) -> None:
    assert not TRANSITIONS[state]


def test_no_attempt_returns_to_its_birth() -> None:
    assert all(A.SUBMITTING not in news for news in TRANSITIONS.values())


def test_every_state_can_be_reached_from_birth() -> None:
    reached, frontier = {A.SUBMITTING}, [A.SUBMITTING]
    while frontier:
        found = TRANSITIONS[frontier.pop()] - reached
        reached |= found
        frontier.extend(found)
    assert reached == set(AttemptState)


def test_from_every_living_state_an_end_can_be_reached() -> None:
    for state in ALIVE:
        assert TRANSITIONS[state] - ALIVE


def test_only_what_was_never_answered_can_prove_that_it_was_never_sent() -> None:
    assert [old for old, news in TRANSITIONS.items() if A.ABANDONED in news] == [A.SUBMITTING]


def test_only_an_unknown_order_is_lost_and_a_late_fill_finds_it_again() -> None:
    assert [old for old, news in TRANSITIONS.items() if A.LOST in news] == [A.UNKNOWN]
    assert TRANSITIONS[A.LOST] == {A.MATCHED}


def test_what_is_known_to_rest_is_not_unknown_again() -> None:
    assert not allowed(A.LIVE, A.UNKNOWN)
    assert allowed(A.DELAYED, A.UNKNOWN)


@pytest.mark.parametrize("state", list(AttemptState))
def test_a_record_may_be_repeated(state: AttemptState) -> None:
    assert transition(state, state) is state


def test_an_illegal_step_names_both_ends() -> None:
    with pytest.raises(ValueError, match="from killed to live"):
        transition(A.KILLED, A.LIVE)
    assert transition(A.SUBMITTING, A.MATCHED) is A.MATCHED


def test_a_fill_is_confirmed_or_reversed_once() -> None:
    assert FILL_TRANSITIONS[FillState.PROVISIONAL] == {FillState.FINAL, FillState.REVERSED}
    assert not FILL_TRANSITIONS[FillState.FINAL]
    assert not FILL_TRANSITIONS[FillState.REVERSED]


def test_the_rows_are_the_table() -> None:
    rows = list(transition_rows())
    assert len(rows) == sum(len(news) for news in TRANSITIONS.values())
    assert ("unknown", "lost") in rows
    assert rows == sorted(rows)


@pytest.mark.parametrize("state", sorted(ALIVE))
def test_an_open_order_without_fills_is_pending(state: AttemptState) -> None:
    assert status((state, False)) is OrderStatus.PENDING


def test_a_matched_order_whose_trades_are_not_booked_is_still_pending() -> None:
    assert status((A.MATCHED, False)) is OrderStatus.PENDING


@pytest.mark.parametrize("closed", [False, True])
def test_fills_below_the_target_are_partial_and_dust_does_not_matter(closed: bool) -> None:  # noqa: FBT001
    assert status((A.MATCHED, closed), filled="9.98") is OrderStatus.PARTIAL
    assert status((A.MATCHED, closed), filled="9.99") is OrderStatus.FILLED
    assert status((A.MATCHED, closed), filled="12") is OrderStatus.FILLED


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (A.KILLED, OrderStatus.CANCELLED),
        (A.CANCELLED, OrderStatus.CANCELLED),
        (A.EXPIRED, OrderStatus.CANCELLED),
        (A.ABANDONED, OrderStatus.CANCELLED),
        (A.MATCHED, OrderStatus.CANCELLED),  # every fill was reversed
        (A.REJECTED, OrderStatus.REJECTED),
        (A.LOST, OrderStatus.LOST),
    ],
)
def test_a_closed_order_without_fills_says_how_it_ended(state: AttemptState, word: OrderStatus) -> None:
    assert status((state, True)) is word


def test_the_last_of_several_attempts_gives_the_word() -> None:
    assert status((A.KILLED, True), (A.REJECTED, True)) is OrderStatus.REJECTED
    assert status((A.REJECTED, True), (A.SUBMITTING, False)) is OrderStatus.PENDING
    assert status((A.MATCHED, True), (A.KILLED, True), filled="4") is OrderStatus.PARTIAL
