"""The exchange's door: shut by answers, waited for together, knocked at by one."""

import asyncio
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.eventually import eventually
from worker.execution.doors import Closed, Doors, Visit
from worker.orders.outcomes import Outcome, classify
from worker.orders.ports import Answer
from worker.orders.reasons import SkipReason
from worker.orders.terms import OrderId, WalletAddress

WALLET = WalletAddress("0x" + "11" * 20)
OTHER = WalletAddress("0x" + "22" * 20)
TIMED_OUT = Answer(500, error="order timed out")
NOT_SENDABLE = Answer(None, connected=False, sendable=False)
RESTARTING = Answer(425, error="restarting")
TAKEN = Answer(200, status="matched")


class Hands:
    """A clock whose hands are moved by the test."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at_s)

    def monotonic(self) -> float:
        return self.at_s


class Street:
    """The doors, and visitors who may knock only when the hands allow it."""

    def __init__(self) -> None:
        self.hands = Hands()
        self.doors = Doors(self.hands)

    def hear(self, answer: Answer, *, order_id: str = "0x1", sent_s: float | None = None) -> Outcome:
        outcome = classify(answer, first_send=True)
        sent_s = self.hands.at_s if sent_s is None else sent_s
        self.doors.heard(WALLET, outcome, order_id=OrderId(order_id), sent_s=sent_s, words=outcome.reason)
        return outcome

    def refuse_for(self, seconds: float) -> None:
        """Knock in vain, again and again, until it has lasted for so long."""
        until_s = self.hands.at_s + seconds
        while self.hands.at_s < until_s:
            self.hear(RESTARTING)
            self.hands.at_s += 2.1


@pytest.fixture
def street() -> Street:
    return Street()


async def enters_at_once(visit: Visit) -> bool:
    return await visit.enter(within_s=0) is None


async def test_a_door_is_open_until_an_answer_shuts_it_and_then_only_for_its_wallet(street: Street) -> None:
    with street.doors.visit(WALLET) as visit, street.doors.visit(OTHER) as other:
        assert await enters_at_once(visit)
        street.hear(RESTARTING)
        assert not await enters_at_once(visit)
        assert await enters_at_once(other)


async def test_while_one_knocks_the_others_wait_and_all_enter_when_it_is_let_in(street: Street) -> None:
    street.hear(RESTARTING)
    street.hands.at_s += 1
    with ExitStack() as stack:
        visits = [stack.enter_context(street.doors.visit(WALLET)) for _ in range(20)]
        for visit in visits:
            visit.claimed()
        entering = [asyncio.create_task(visit.enter(within_s=60)) for visit in visits]
        await eventually(lambda: entering[0].done() and all(visit.waited for visit in visits[1:]))
        assert [task.done() for task in entering] == [True] + [False] * 19
        street.hear(TAKEN)
        assert set(await asyncio.gather(*entering)) == {None}


async def test_whoever_leaves_without_an_answer_gives_the_knock_to_the_next(street: Street) -> None:
    street.hear(RESTARTING)
    street.hands.at_s += 1
    with street.doors.visit(WALLET) as second:
        with street.doors.visit(WALLET) as first:
            assert await enters_at_once(first)
            assert not await enters_at_once(second)
        assert await enters_at_once(second)


async def test_who_holds_no_capital_leaves_the_knocking_to_those_who_do(street: Street) -> None:
    street.hear(RESTARTING)
    street.hands.at_s += 1
    with street.doors.visit(WALLET) as claimed, street.doors.visit(WALLET) as unclaimed:
        claimed.claimed()
        assert not await enters_at_once(unclaimed)
        assert await enters_at_once(claimed)


async def test_answers_to_orders_that_went_out_together_make_nobody_wait_longer(street: Street) -> None:
    sent_s = street.hands.at_s
    street.hands.at_s += 0.02
    for _ in range(50):
        street.hear(RESTARTING, sent_s=sent_s)
    street.hands.at_s += 0.06
    with street.doors.visit(WALLET) as visit:
        assert await enters_at_once(visit)


async def test_an_order_that_was_taken_before_the_door_was_shut_does_not_open_it(street: Street) -> None:
    sent_s = street.hands.at_s
    street.hands.at_s += 0.02
    street.hear(RESTARTING, sent_s=sent_s)
    street.hear(TAKEN, sent_s=sent_s)
    with street.doors.visit(WALLET) as visit:
        assert not await enters_at_once(visit)


async def test_a_door_stays_shut_for_as_long_as_the_exchange_says(street: Street) -> None:
    street.hear(
        Answer(503, error="post-only mode", retry_after_s=Decimal(90)),
    )
    closed = street.doors.closed(WALLET)
    assert closed is not None
    assert closed.reason is SkipReason.EXCHANGE_POST_ONLY
    assert closed.again_in_s == 90
    assert "exchange_post_only" in street.doors.shut[WALLET]
    street.hands.at_s += 89.5
    assert street.doors.shut == {}
    assert street.doors.closed(WALLET) is None  # not worth putting an order off
    with street.doors.visit(WALLET) as visit:
        assert not await enters_at_once(visit)
        street.hands.at_s += 0.6
        assert await enters_at_once(visit)


async def test_every_order_that_was_given_up_makes_it_longer_until_the_next_is_risked(
    street: Street,
) -> None:
    waits_s = []
    for _ in range(6):
        with street.doors.visit(WALLET) as victim:
            assert await enters_at_once(victim)
            victim.claimed()
            street.refuse_for(1)
            street.hear(RESTARTING)
            assert not await enters_at_once(victim)
        began_s = street.hands.at_s
        while street.doors.closed(WALLET):
            street.hands.at_s += 0.5
        street.hands.at_s += 1.1
        waits_s.append(street.hands.at_s - began_s)
    assert waits_s == sorted(waits_s)
    assert waits_s[0] < 7
    assert 55 < waits_s[-1] < 65


async def test_an_order_that_can_wait_for_long_is_no_risk_and_knocks_as_soon_as_anybody_may(
    street: Street,
) -> None:
    with street.doors.visit(WALLET) as victim:
        assert await enters_at_once(victim)
        victim.claimed()
        street.refuse_for(1)
        street.hear(RESTARTING)
        assert not await enters_at_once(victim)
    street.hands.at_s += 1.1
    assert street.doors.closed(WALLET) is not None
    assert street.doors.closed(WALLET, patience_s=30) is None
    with street.doors.visit(WALLET) as brief, street.doors.visit(WALLET, patience_s=30) as patient:
        assert not await enters_at_once(brief)
        assert await enters_at_once(patient)


async def test_a_door_is_knocked_at_once_a_second_and_not_less_often_however_long_it_is_shut(
    street: Street,
) -> None:
    """So that no order waits for more than a second once the exchange is back."""
    street.refuse_for(600)
    street.hear(RESTARTING)
    with street.doors.visit(WALLET, patience_s=30) as visit:
        street.hands.at_s += 0.99
        assert not await enters_at_once(visit)
        street.hands.at_s += 0.02
        assert await enters_at_once(visit)


async def test_a_shut_door_is_deserted_when_somebody_might_knock_and_nobody_is_there(street: Street) -> None:
    assert street.doors.deserted == []
    with street.doors.visit(WALLET) as visit:
        visit.claimed()
        street.hear(RESTARTING)
        street.hands.at_s += 1.1
        assert street.doors.deserted == []
    assert street.doors.deserted == [WALLET]
    assert dict(street.doors.modes) == {WALLET: SkipReason.EXCHANGE_RESTARTING}
    street.hear(Answer(503, error="post-only mode", retry_after_s=Decimal(90)))
    assert street.doors.deserted == []  # nobody may knock yet
    street.doors.halt(WALLET, None, "a human has to look")
    street.hands.at_s += 1e6
    assert street.doors.deserted == []


async def test_who_asked_to_be_told_hears_of_a_door_once_when_it_opens(street: Street) -> None:
    opened: list[WalletAddress] = []
    street.doors.tell(opened.append)
    street.hear(TAKEN)
    street.hear(RESTARTING)
    street.hands.at_s += 1
    assert opened == []
    street.hear(TAKEN)
    street.hear(TAKEN)
    assert opened == [WALLET]
    assert dict(street.doors.modes) == {}


async def test_an_exchange_that_does_not_answer_shuts_the_door_under_its_own_reason(street: Street) -> None:
    street.hear(Answer(None, connected=False))
    with street.doors.visit(WALLET) as visit:
        closed = await visit.enter(within_s=0)
    assert isinstance(closed, Closed)
    assert closed.reason is SkipReason.EXCHANGE_UNREACHABLE


async def test_what_is_about_one_order_alone_leaves_an_open_door_open(street: Street) -> None:
    street.hear(TIMED_OUT)
    with street.doors.visit(WALLET) as visit:
        assert await enters_at_once(visit)


async def test_what_one_order_after_the_other_hears_is_about_the_exchange(street: Street) -> None:
    for order_id in ("0x1", "0x1", "0x1", "0x2"):
        street.hear(TIMED_OUT, order_id=order_id)
    assert dict(street.doors.modes) == {}
    street.hear(Answer(200, status="matched"), order_id="0x3")
    for order_id in ("0x4", "0x5"):
        street.hear(TIMED_OUT, order_id=order_id)
    assert dict(street.doors.modes) == {}
    street.hear(TIMED_OUT, order_id="0x6")
    assert dict(street.doors.modes) == {WALLET: SkipReason.EXCHANGE_UNREACHABLE}


async def test_whoever_is_sent_away_leaves_the_knocking_to_others(street: Street) -> None:
    with street.doors.visit(WALLET) as away, street.doors.visit(WALLET, patience_s=60) as other:
        away.claimed()
        sleeping = asyncio.create_task(away.away(3600))
        await asyncio.sleep(0)
        street.hear(RESTARTING)
        street.hands.at_s += 1
        assert street.doors.deserted == [WALLET]
        assert await enters_at_once(other)
        sleeping.cancel()


async def test_what_is_about_one_order_alone_is_a_knock_in_vain_at_a_shut_door(street: Street) -> None:
    street.hear(RESTARTING)
    street.hands.at_s += 1
    with street.doors.visit(WALLET) as visit:
        assert await enters_at_once(visit)
        street.hear(TIMED_OUT)
        assert not await enters_at_once(visit)
        assert dict(street.doors.modes) == {WALLET: SkipReason.EXCHANGE_RESTARTING}
        street.hands.at_s += 1
        assert await enters_at_once(visit)


async def test_an_order_that_no_request_can_be_made_of_neither_shuts_a_door_nor_opens_it(
    street: Street,
) -> None:
    street.hear(NOT_SENDABLE)
    assert dict(street.doors.modes) == {}
    street.hear(RESTARTING)
    street.hands.at_s += 1
    street.hear(NOT_SENDABLE)
    assert dict(street.doors.modes) == {WALLET: SkipReason.EXCHANGE_RESTARTING}


async def test_a_halted_wallets_door_opens_for_nobody_any_more(street: Street) -> None:
    street.doors.halt(WALLET, None, "a human has to look")
    street.hear(TAKEN)
    street.hands.at_s += 1e6
    with street.doors.visit(WALLET) as visit:
        assert await visit.enter(within_s=1e9) == Closed(
            SkipReason.CREDENTIALS_REFUSED, "a human has to look"
        )
    assert street.doors.closed(WALLET) is not None
    assert dict(street.doors.halted) == {WALLET: "a human has to look"}


async def test_nobody_waits_long_for_the_knock_of_another(street: Street) -> None:
    street.hear(RESTARTING)
    with street.doors.visit(WALLET) as knocker:
        street.hands.at_s += 0.1
        assert await enters_at_once(knocker)
        assert street.doors.closed(WALLET) is None
        street.hands.at_s += 1  # no answer yet
        assert street.doors.closed(WALLET) is not None
    assert street.doors.closed(WALLET) is None
