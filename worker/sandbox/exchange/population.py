"""A seeded crowd of market makers and takers, so that a simulation has markets that move.

Every market has a fair price that walks at random on its tick grid. Makers quote a ladder around it, refill
what was taken when they next look, and takers print against them. The same seed makes the same crowd.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.exchange.house import House
from worker.sandbox.exchange.markets import Market, synthetic_market
from worker.sandbox.exchange.orders import Side, TokenId
from worker.sandbox.exchange.recording import Print
from worker.sandbox.exchange.units import CENT, MICRO, PRICE_ONE, Micro, Price

_SUBJECTS = ("Rain in {} tomorrow", "{} wins the final", "{} above its average", "New record in {}")
_PLACES = ("Lisbon", "Oslo", "Quito", "Hanoi", "Accra", "Perth", "Turin", "Izmir", "Kyoto", "Leeds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the crowd behaves."""

    depth: int = 6
    """Levels quoted on each side."""
    level_shares: int = 400
    """Typical size of a level."""
    move_probability: float = 0.25
    """Chance that the fair price moves a tick when makers look."""
    print_probability: float = 0.2
    """Chance that somebody takes."""
    print_shares: int = 60


def population_markets(count: int, *, seed: int = 0) -> list[Market]:
    """Markets with plausible names and mixed ticks. Their ids follow from the seed."""
    source = random.Random(seed)
    return [
        synthetic_market(
            f"{_SUBJECTS[index % len(_SUBJECTS)].format(_PLACES[index // len(_SUBJECTS) % len(_PLACES)])} "
            f"({seed}-{index})",
            tick=source.choice(("0.01", "0.01", "0.01", "0.001")),
        )
        for index in range(count)
    ]


class Population:
    """Drives its markets one look at a time. `on_print` hears every print the crowd makes."""

    def __init__(
        self,
        house: House,
        markets: list[Market],
        *,
        now_ms: Callable[[], int],
        seed: int = 0,
        habits: Habits | None = None,
    ) -> None:
        self._house = house
        self._markets = markets
        self._now_ms = now_ms
        self._habits = habits or Habits()
        self._random = random.Random(seed)
        self._fair = {m.condition: self._random.randrange(2_000, 8_000, 100) for m in markets}
        self._quoted: dict[str, set[tuple[Side, Price]]] = {}
        self.on_print: Callable[[Print], None] = lambda _: None

    def open(self) -> None:
        """The first quotes of every market."""
        for market in self._markets:
            self._quote(market)

    def step(self) -> Market | None:
        """One look at one market, chosen at random: perhaps a move, always a refill, perhaps a print."""
        trading = [market for market in self._markets if market.trading]
        if not trading:
            return None
        market = self._random.choice(trading)
        if self._random.random() < self._habits.move_probability:
            self._move(market)
        self._quote(market)
        if self._random.random() < self._habits.print_probability:
            self._take(market)
        return market

    async def run(self, *, looks_per_s: float) -> None:
        """Looks at markets at a steady pace until cancelled, and at none while the house is asleep."""
        while True:
            if not self._house.asleep:
                self.step()
            await asyncio.sleep(1 / looks_per_s)

    def _move(self, market: Market) -> None:
        edge = (self._habits.depth + 2) * market.tick
        moved = self._fair[market.condition] + self._random.choice((-1, 1)) * market.tick
        self._fair[market.condition] = min(max(moved, edge), PRICE_ONE - edge)

    def _quote(self, market: Market) -> None:
        """A ladder a tick apart around the fair price; levels that moved away are taken down."""
        token, tick, habits = market.tokens[0], market.tick, self._habits
        fair = self._fair[market.condition] // tick * tick
        wanted: dict[tuple[Side, Price], Micro] = {}
        for step in range(1, habits.depth + 1):
            for side, price in ((Side.BUY, fair - step * tick), (Side.SELL, fair + step * tick)):
                left = self._house.size_at(token, side, price)
                wanted[side, price] = left if left > self._full() // 4 else self._size()
        gone = self._quoted.get(market.condition, set()) - wanted.keys()
        self._quoted[market.condition] = set(wanted)
        self._house.set_levels(
            token,
            [(side, price, 0) for side, price in sorted(gone)]
            + [(side, price, size) for (side, price), size in wanted.items()],
        )

    def _take(self, market: Market) -> None:
        token: TokenId = self._random.choice(market.tokens)
        side = self._random.choice((Side.BUY, Side.SELL))
        shares = round(self._random.expovariate(1 / self._habits.print_shares) + 1) * MICRO
        limit = PRICE_ONE - market.tick if side is Side.BUY else market.tick
        taken = self._house.trade(token, side, limit, shares)
        if taken and market.last_trade_price is not None:
            price = market.own_price(token, market.last_trade_price)
            self.on_print(Print(self._now_ms(), token, side, price, taken))

    def _full(self) -> Micro:
        return self._habits.level_shares * MICRO

    def _size(self) -> Micro:
        return round(self._full() * self._random.lognormvariate(0, 0.5) / CENT) * CENT
