"""A run through the backlog offers each pair a few times, and remembers no more of them than it can hold."""

from worker.handlers.intake import PairKey
from worker.orders.terms import FtOrderId, StrategyId
from worker.verbs.offers import Offers


def pair(number: int) -> PairKey:
    return StrategyId("LT_ONE"), FtOrderId(str(number))


def test_a_pair_that_fails_is_offered_three_times_and_counts_as_new_once() -> None:
    offers = Offers()
    assert [offers.offered(pair(1)) for _ in range(3) if offers.may(pair(1))] == [True, False, False]
    assert not offers.may(pair(1))


def test_a_pair_that_is_decided_is_offered_no_more_and_one_that_was_put_off_is() -> None:
    offers = Offers()
    for number in (1, 2):
        offers.offered(pair(number))
    offers.decided(pair(1), final=True)
    offers.decided(pair(2), final=False)
    assert (offers.may(pair(1)), offers.may(pair(2))) == (False, True)
    assert offers.offered(pair(2)) is False


def test_decided_pairs_are_forgotten_the_oldest_first() -> None:
    offers = Offers(remembered=10)
    for number in range(1000):
        offers.offered(pair(number))
        offers.decided(pair(number), final=True)
    assert len(offers) == 10
    assert not offers.may(pair(999))


def test_when_too_many_are_undecided_no_other_is_taken_on() -> None:
    offers = Offers(remembered=10)
    for number in range(10):
        offers.offered(pair(number))
    assert (offers.may(pair(9)), offers.may(pair(10))) == (True, False)
    offers.decided(pair(0), final=True)
    assert offers.may(pair(10))
