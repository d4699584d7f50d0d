"""The fates of trades by probability, so that a long run sees every way a settlement can go."""

import random
from collections import Counter
from collections.abc import Mapping

from worker.sandbox.exchange.trades import Fate, Trade


class Odds:
    """What is left of the probabilities settles. A trade's fate depends on its id and the seed only.

    So it does not matter in which order trades came about. Raises ValueError when the odds exceed 1.
    """

    def __init__(self, odds: Mapping[Fate, float], *, seed: int = 0) -> None:
        if any(share < 0 for share in odds.values()) or sum(odds.values()) > 1:
            raise ValueError(f"Expected probabilities that add up to 1 at most, was {dict(odds)}")
        self._odds = dict(odds)
        self._seed = seed
        self.met: Counter[str] = Counter()
        """Trades by fate."""

    def __call__(self, trade: Trade) -> Fate:
        fate = self._draw(trade)
        self.met[fate.value] += 1
        return fate

    def _draw(self, trade: Trade) -> Fate:
        drawn = random.Random(f"{self._seed}:{trade.id}").random()
        for fate, share in self._odds.items():
            drawn -= share
            if drawn < 0:
                return fate
        return Fate.SETTLES
