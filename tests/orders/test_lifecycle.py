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
    adopted,
    given_up,
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
    assert {state for state in AttemptState if TRANSITIONS[state]} == ALIVE | {A.LOST}


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


def test_only_an_unknown_order_is_lost_and_what_it_came_to_after_all_is_booked() -> None:
    assert [old for old, news in TRANSITIONS.items() if A.LOST in news] == [A.UNKNOWN]
    assert TRANSITIONS[A.LOST] == {A.MATCHED, A.CANCELLED}


def test_what_is_over_never_lives_again() -> None:
    """Its money was given out, and another attempt of its order may be alive."""
    assert all(not TRANSITIONS[state] & ALIVE for state in AttemptState if state not in ALIVE)


def test_news_of_an_order_only_take_it_nearer_to_its_end() -> None:
    taken_in = [A.DELAYED, A.UNMATCHED, A.LIVE, A.CANCELLED]
    for held in taken_in:
        for told in taken_in:
            assert adopted(held, told) is max(held, told, key=taken_in.index)


@pytest.mark.parametrize("held", [state for state in AttemptState if state is not A.SUBMITTING])
def test_a_doubt_takes_back_nothing_that_is_known(held: AttemptState) -> None:
    assert adopted(held, A.UNKNOWN) is held


@pytest.mark.parametrize("held", sorted(ALIVE))
def test_whatever_is_not_found_any_more_is_given_up_in_two_steps(held: AttemptState) -> None:
    once = given_up(held)
    assert once is (A.LOST if held is A.UNKNOWN else A.UNKNOWN)
    assert held is A.UNKNOWN or given_up(once) is A.LOST


def test_what_is_over_is_not_given_up() -> None:
    assert all(given_up(state) is state for state in AttemptState if state not in ALIVE)


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
