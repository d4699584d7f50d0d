"""A simulated crowd keeps its markets alive: prices move, levels come back, and the seed decides everything."""

import asyncio
from itertools import pairwise

from tests.support.eventually import eventually
from tests.support.exchange_clients import Trader
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.orders import Side
from worker.sandbox.exchange.population import Habits, Population, population_markets
from worker.sandbox.exchange.recording import Print
from worker.sandbox.exchange.units import MICRO
from worker.sandbox.exchange.venue import Venue


def crowd(count: int = 5, *, seed: int = 7, habits: Habits | None = None) -> tuple[Venue, Population]:
    markets = population_markets(count, seed=seed)
    venue = Venue(Exchange(markets))
    population = Population(venue.house, markets, now_ms=lambda: 0, seed=seed, habits=habits)
    population.open()
    return venue, population


def mids(venue: Venue) -> list[int]:
    books = venue.engine.books.values()
    return [(book.bids.best() or 0) + (book.asks.best() or 0) for book in books]


def test_every_market_opens_with_two_sides() -> None:
    venue, _ = crowd()
    for book in venue.engine.books.values():
        assert (len(book.bids.prices()), len(book.asks.prices())) == (6, 6)


def test_prices_walk_and_books_stay_whole() -> None:
    venue, population = crowd()
    before = mids(venue)
    for _ in range(2_000):
        population.step()
        for book in venue.engine.books.values():
            bid, ask = book.bids.best(), book.asks.best()
            assert bid is None or ask is None or bid < ask
    assert all(earlier != later for earlier, later in zip(before, mids(venue), strict=True))


def test_a_level_that_was_taken_is_refilled_at_the_next_look() -> None:
    venue, population = crowd(1, habits=Habits(move_probability=0, print_probability=0))
    (market,) = venue.engine.markets.values()
    best = venue.engine.books[market.condition].asks.best()
    assert best is not None
    trader = Trader(venue, usd=100_000)
    had = venue.house.size_at(market.tokens[0], Side.SELL, best)
    trader.limit(market.tokens[0], Side.BUY, str(best / 10_000), str(had // MICRO))
    assert venue.house.size_at(market.tokens[0], Side.SELL, best) < MICRO
    population.step()
    assert venue.house.size_at(market.tokens[0], Side.SELL, best) > 50 * MICRO


def test_the_same_seed_makes_the_same_crowd() -> None:
    tapes: list[list[Print]] = []
    for seed in (7, 7, 8):
        _, population = crowd(seed=seed)
        tape: list[Print] = []
        population.on_print = tape.append
        for _ in range(300):
            population.step()
        tapes.append(tape)
    assert tapes[0] == tapes[1] != tapes[2]
    assert len(tapes[0]) > 20


def test_a_closed_market_is_left_alone() -> None:
    venue, population = crowd(1)
    (market,) = venue.engine.markets.values()
    venue.backoffice.close(market.condition)
    assert population.step() is None
    assert mids(venue) == [0]


def test_names_and_ids_do_not_repeat() -> None:
    markets = population_markets(200)
    tokens = sorted(token for market in markets for token in market.tokens)
    assert all(one != other for one, other in pairwise(tokens))
    assert len({market.slug for market in markets}) == 200


async def test_the_crowd_keeps_its_pace_until_it_is_cancelled() -> None:
    venue, population = crowd(1, habits=Habits(move_probability=1))
    before = mids(venue)
    running = asyncio.create_task(population.run(looks_per_s=1_000))
    await eventually(lambda: mids(venue) != before)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()


async def test_a_crowd_that_sleeps_leaves_the_market_as_it_is() -> None:
    venue, population = crowd(1, habits=Habits(move_probability=1))
    venue.house.asleep = True
    before = mids(venue)
    running = asyncio.create_task(population.run(looks_per_s=1_000_000))
    for _ in range(50):
        await asyncio.sleep(0)
    assert mids(venue) == before
    venue.house.asleep = False
    await eventually(lambda: mids(venue) != before)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
