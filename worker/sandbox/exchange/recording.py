"""A recorded market replayed into the simulated books as the house's liquidity, with its prints as they came.

The format is that of the shared recording: rows `ms,token,side,price,size,best_bid,best_ask,type` in capture
order, level totals (P) and prints (T), no initial snapshot. Rows are sorted by `ms`; a level inside the touch
a row states is stale and removed. What users take from a replayed level stays taken until the recording next
mentions that level. A print trades with users who rest at a strictly better price; at its own price users are
behind the recorded queue.
"""

import asyncio
import csv
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import ClassVar

from worker.sandbox.exchange.house import House
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import Side, TokenId
from worker.sandbox.exchange.units import PRICE_ONE, Micro, Price

_SIDES = {"B": Side.BUY, "A": Side.SELL}
_TICK_S = 0.005  # what falls due within it is applied, and told, at once
_SLICE_S = 0.001  # everybody else runs at least this often


@dataclass(frozen=True, slots=True)
class Print:
    """A trade on the tape: the taker's side, price in ten-thousandths, shares in millionths."""

    ms: int
    token: TokenId
    side: Side
    price: Price
    shares: Micro


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A level's new total (0: gone) and the touch the venue stated with it."""

    ms: int
    token: TokenId
    side: Side
    price: Price
    shares: Micro
    best_bid: Price
    best_ask: Price


@dataclass(frozen=True, slots=True)
class Recording:
    """Rows in order of time, and the markets they belong to, with synthesised condition ids."""

    EVENTS: ClassVar = "events.csv.gz"
    TOKENS: ClassVar = "tokens.json"

    markets: tuple[Market, ...]
    rows: tuple[LevelChange | Print, ...]

    @classmethod
    def load(cls, folder: Path) -> "Recording":
        """Reads `events.csv.gz` and `tokens.json`. Raises OSError or ValueError when they are not that."""
        listed = json.loads((folder / cls.TOKENS).read_text())["tokens"]
        tokens = [TokenId(entry["asset_id"]) for entry in listed]
        markets = tuple(
            synthetic_market(
                f"Recorded market {entry['i']}",
                tick=str(entry["tick"]),
                tokens=(entry["asset_id"], tokens[entry["complement"]]),
            )
            for entry in listed
            if entry["i"] < entry["complement"]
        )
        with gzip.open(folder / cls.EVENTS, "rt", newline="") as lines:
            rows = sorted(_rows(csv.reader(lines), tokens), key=lambda row: row.ms)
        return cls(markets, tuple(rows))

    @property
    def start_ms(self) -> int:
        return self.rows[0].ms

    @property
    def prints_per_s(self) -> float:
        """How often somebody trades, on average over the whole recording."""
        prints = sum(isinstance(row, Print) for row in self.rows)
        return prints * 1000 / (self.rows[-1].ms - self.rows[0].ms)


class Replay:
    """Plays a recording into a house. `now_ms` is the recording's time reached so far."""

    def __init__(self, recording: Recording, house: House) -> None:
        self._recording = recording
        self._house = house
        self._next = 0
        self.now_ms = recording.start_ms

    def warm_up(self, seconds: float = 120.0) -> list[Print]:
        """Applies the first stretch at once, so that the books are whole. Answers its prints."""
        until_ms = self._recording.start_ms + round(seconds * 1000)
        return [row for row in self.steps(until_ms=until_ms) if isinstance(row, Print)]

    def steps(self, *, until_ms: int | None = None) -> Iterator[LevelChange | Print]:
        """Applies row after row, yielding each once it is applied."""
        rows = self._recording.rows
        while self._next < len(rows) and (until_ms is None or rows[self._next].ms < until_ms):
            row = rows[self._next]
            self._next += 1
            self.now_ms = row.ms
            self._apply(row)
            yield row

    async def run(self, *, speed: float = 1.0) -> AsyncIterator[Print]:
        """Plays the rest at `speed` times real time, yielding the prints when their moment comes."""
        loop = asyncio.get_running_loop()
        began_s, from_ms = loop.time(), self.now_ms
        while self._next < len(self._recording.rows):
            reached_ms = from_ms + int((loop.time() - began_s) * 1000 * speed)
            for row in self._slice(until_ms=reached_ms + 1):
                yield row
            behind = (
                self._next < len(self._recording.rows) and self._recording.rows[self._next].ms <= reached_ms
            )
            await asyncio.sleep(0 if behind else _TICK_S)

    def _slice(self, *, until_ms: int) -> list[Print]:
        """Applies what is due, but no more than others can wait for; answers the prints among it."""
        prints = []
        enough_at_s = monotonic() + _SLICE_S
        with self._house.one_change():
            for row in self.steps(until_ms=until_ms):
                if isinstance(row, Print):
                    prints.append(row)
                if monotonic() > enough_at_s:
                    break
        return prints

    def _apply(self, row: LevelChange | Print) -> None:
        if isinstance(row, Print):
            better = row.price - 1 if row.side is Side.BUY else row.price + 1
            if 0 < better < PRICE_ONE:
                self._house.trade(row.token, row.side, better, row.shares, users_only=True)
            self._house.report_print(row.token, row.side, row.price, row.shares)
        else:
            self._house.set_level(row.token, row.side, row.price, row.shares)
            self._house.keep_inside(row.token, row.best_bid, row.best_ask)


def _rows(lines: Iterator[list[str]], tokens: list[TokenId]) -> Iterator[LevelChange | Print]:
    next(lines)
    for ms, token, side, price, size, best_bid, best_ask, kind in lines:
        asset, at, shares = tokens[int(token)], _fixed(price, 4), _fixed(size, 6)
        if kind == "T":
            yield Print(int(ms), asset, _SIDES[side], at, shares)
        else:
            yield LevelChange(
                int(ms), asset, _SIDES[side], at, shares, _fixed(best_bid, 4), _fixed(best_ask, 4)
            )


def _fixed(text: str, places: int) -> int:
    """A decimal string as an integer count of 10^-places; digits beyond are cut off."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction[:places].ljust(places, "0"))
