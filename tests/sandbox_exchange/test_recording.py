"""A recorded market rebuilds the books it was recorded from, and its liquidity can be traded with."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.exchange_clients import Trader
from tests.support.recordings import NO, SHARED, YES, write_recording
from worker.sandbox.exchange.engine import Exchange
from worker.sandbox.exchange.orders import OrderStatus, Side
from worker.sandbox.exchange.recording import LevelChange, Print, Recording, Replay
from worker.sandbox.exchange.units import MICRO, PRICE_ONE
from worker.sandbox.exchange.venue import Venue
from worker.sandbox.exchange.wire import levels_of


def recorded(folder: Path, rows: Iterable[str]) -> tuple[Replay, Venue]:
    recording = Recording.load(write_recording(folder, rows))
    venue = Venue(Exchange(recording.markets))
    return Replay(recording, venue.house), venue


def touch(venue: Venue, token: str) -> tuple[int | None, int | None]:
    market = venue.engine.market_of(token)
    assert market is not None
    bids, asks = levels_of(
        venue.engine.books[market.condition], market, market.tokens[token == market.tokens[1]]
    )
    return bids[-1][0] if bids else None, asks[-1][0] if asks else None


def test_rows_are_replayed_in_order_of_time_and_mirrored(tmp_path: Path) -> None:
    replay, venue = recorded(
        tmp_path,
        [
            "2000,0,A,0.55,0,0.4,0.6,P",
            "1000,0,A,0.55,10,0.4,0.55,P",
            "1500,1,A,0.6,7.5,0.3,0.6,P",
            "1600,0,A,0.6,20,0.4,0.55,P",
        ],
    )
    changes = [row.ms for row in replay.steps()]
    assert changes == [1000, 1500, 1600, 2000]
    assert touch(venue, YES) == (4000, 6000)
    assert touch(venue, NO) == (4000, 6000)


def test_a_level_inside_the_stated_touch_is_stale_and_removed(tmp_path: Path) -> None:
    replay, venue = recorded(tmp_path, ["1000,0,A,0.5,10,0.4,0.5,P", "2000,0,A,0.6,10,0.4,0.6,P"])
    list(replay.steps())
    assert touch(venue, YES) == (None, 6000)


def test_what_was_taken_stays_taken_until_the_recording_mentions_the_level_again(tmp_path: Path) -> None:
    replay, venue = recorded(
        tmp_path,
        [
            "1000,0,A,0.5,10,0.4,0.5,P",
            "2000,0,A,0.6,10,0.4,0.5,P",
            "3000,0,A,0.5,9,0.4,0.5,P",
        ],
    )
    trader = Trader(venue)
    steps = replay.steps()
    next(steps)
    trader.buy(YES, "2.00", "0.50")
    assert venue.house.size_at(YES, Side.SELL, 5000) == 6 * MICRO
    next(steps)
    assert venue.house.size_at(YES, Side.SELL, 5000) == 6 * MICRO
    next(steps)
    assert venue.house.size_at(YES, Side.SELL, 5000) == 9 * MICRO


def test_a_print_fills_users_at_better_prices_but_not_at_its_own(tmp_path: Path) -> None:
    replay, venue = recorded(tmp_path, ["1000,0,B,0.3,5,0.3,0.7,P", "2000,0,A,0.4,30,0,0,T"])
    trader = Trader(venue)
    steps = replay.steps()
    next(steps)
    better = trader.limit(YES, Side.BUY, "0.45", "10").order
    same = trader.limit(YES, Side.BUY, "0.40", "10").order
    assert next(steps) == Print(
        2000, venue.engine.markets[better.condition].tokens[0], Side.SELL, 4000, 30 * MICRO
    )
    assert (better.status, same.filled_shares) == (OrderStatus.MATCHED, 0)


async def test_prints_come_when_their_moment_comes(tmp_path: Path) -> None:
    replay, _ = recorded(
        tmp_path, ["1000,0,B,0.3,5,0.3,0.7,P", "1100,0,A,0.4,30,0,0,T", "1200,1,B,0.6,30,0,0,T"]
    )
    prints = [printed.ms async for printed in replay.run(speed=4)]
    assert prints == [1100, 1200]
    assert replay.now_ms == 1200


@pytest.mark.skipif(not SHARED.exists(), reason="the shared recording is not on this machine")
def test_the_shared_recording_rebuilds_the_touch_it_states() -> None:
    recording = Recording.load(SHARED)
    venue = Venue(Exchange(recording.markets))
    replay = Replay(recording, venue.house)
    assert all(earlier.ms <= later.ms for earlier, later in pairwise(recording.rows))
    assert len(replay.warm_up(120)) > 50
    stated = matching = 0
    for row in replay.steps():
        if isinstance(row, LevelChange):
            stated += 1
            rebuilt = touch(venue, row.token)
            matching += rebuilt == (row.best_bid or None, row.best_ask % PRICE_ONE or None)
    assert stated > 100_000
    assert matching / stated >= 0.99
