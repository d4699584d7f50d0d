"""Readings of an account's trades that are shared: as few as can be, and none from before the question."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.eventually import eventually
from worker.errors import ExchangeUnreachable
from worker.exchange.readings import Readings
from worker.exchange.trades import Trade

BORN_S = 1_800_000_000
LONG_AGO_S = BORN_S - 24 * 3600


class Account:
    """An account without trades, whose every reading takes until the test lets it end."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self._ends: list[asyncio.Future[Sequence[Trade]]] = []

    async def trades(self, *, since_s: int) -> Sequence[Trade]:
        self.begun.append(since_s)
        self._ends.append(asyncio.get_running_loop().create_future())
        return await self._ends[-1]

    def end(self, number: int, failure: Exception | None = None) -> None:
        if failure is None:
            self._ends[number].set_result(())
        else:
            self._ends[number].set_exception(failure)


async def begun(account: Account, count: int) -> None:
    await eventually(lambda: len(account.begun) == count)


async def asked(readings: Readings, account: Account, *since_s: int) -> list[asyncio.Task[Sequence[Trade]]]:
    """That many have asked and wait."""
    asking = [asyncio.create_task(readings.trades(account, one)) for one in since_s]
    await asyncio.sleep(0)
    return asking


async def test_whoever_asks_during_a_reading_shares_the_next_one_from_the_earliest_birth_on() -> None:
    readings, account = Readings(), Account()
    first = await asked(readings, account, BORN_S)
    await begun(account, 1)
    others = await asked(readings, account, BORN_S + 2, BORN_S + 1, BORN_S + 3)
    assert account.begun == [BORN_S]  # what it reads may be older than their question
    account.end(0)
    await begun(account, 2)
    assert not any(task.done() for task in others)
    account.end(1)
    assert await asyncio.gather(*first, *others) == [(), (), (), ()]
    assert account.begun == [BORN_S, BORN_S + 1]


async def test_orders_of_other_ages_and_other_accounts_wait_for_nobody() -> None:
    readings, account, other = Readings(), Account(), Account()
    asking = [
        *await asked(readings, account, BORN_S, LONG_AGO_S),
        *await asked(readings, other, BORN_S),
    ]
    await begun(account, 2)
    await begun(other, 1)
    assert sorted(account.begun) == [LONG_AGO_S, BORN_S]
    account.end(0)
    account.end(1)
    other.end(0)
    assert await asyncio.gather(*asking) == [(), (), ()]


async def test_a_reading_that_failed_has_failed_for_all_who_shared_it_and_for_nobody_else() -> None:
    readings, account = Readings(), Account()
    first = await asked(readings, account, BORN_S)
    await begun(account, 1)
    sharing = await asked(readings, account, BORN_S, BORN_S)
    account.end(0)
    await begun(account, 2)
    later = await asked(readings, account, BORN_S)
    account.end(1, ExchangeUnreachable("down"))
    await begun(account, 3)
    account.end(2)
    outcomes = await asyncio.gather(*sharing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ExchangeUnreachable, ExchangeUnreachable]
    assert await asyncio.gather(*first, *later) == [(), ()]


async def test_a_reader_that_is_cancelled_leaves_the_reading_to_the_next() -> None:
    readings, account = Readings(), Account()
    (first,) = await asked(readings, account, BORN_S)
    await begun(account, 1)
    second, third = await asked(readings, account, BORN_S, BORN_S)
    account.end(0)
    await begun(account, 2)
    second.cancel()
    await begun(account, 3)
    account.end(2)
    assert await first == await third == ()
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_nothing_is_kept_of_a_reading_that_is_over() -> None:
    readings, account = Readings(), Account()
    for number in range(2):
        (asking,) = await asked(readings, account, BORN_S)
        await begun(account, number + 1)
        account.end(number)
        assert await asking == ()
    assert not readings._queues
