"""What may happen to a frame between the venue and one listener: lost, doubled, or overtaken by later ones."""

import random
from collections import Counter
from enum import StrEnum


class Misfortune(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    OVERTAKEN = "overtaken"  # arrives `late_s` later, behind whatever was sent meanwhile


class StreamNoise:
    """Probabilities per frame and listener, tried in the order of `Misfortune`. By default all is quiet."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._odds: dict[tuple[str, Misfortune], float] = {}
        self.late_s = 0.05
        self.struck: Counter[str] = Counter()
        """Frames by misfortune."""

    def make(self, channel: str, *, lost: float = 0.0, doubled: float = 0.0, overtaken: float = 0.0) -> None:
        """Sets the probabilities of a channel, replacing those it had. Raises ValueError when they exceed 1."""
        odds = {Misfortune.LOST: lost, Misfortune.DOUBLED: doubled, Misfortune.OVERTAKEN: overtaken}
        if min(odds.values()) < 0 or sum(odds.values()) > 1:
            raise ValueError(f"Expected probabilities that add up to 1 at most, was {odds}")
        self._odds |= {(channel, misfortune): share for misfortune, share in odds.items()}

    def delays_s(self, channel: str) -> tuple[float, ...]:
        """When the copies of the next frame arrive, in seconds from now: none when it is lost."""
        misfortune = self._draw(channel)
        if misfortune is not None:
            self.struck[misfortune.value] += 1
        match misfortune:
            case Misfortune.LOST:
                return ()
            case Misfortune.DOUBLED:
                return (0.0, 0.0)
            case Misfortune.OVERTAKEN:
                return (self.late_s,)
            case None:
                return (0.0,)

    def _draw(self, channel: str) -> Misfortune | None:
        odds = [(misfortune, self._odds.get((channel, misfortune), 0.0)) for misfortune in Misfortune]
        if not any(share for _, share in odds):
            return None
        drawn = self._random.random()
        for misfortune, share in odds:
            drawn -= share
            if drawn < 0:
                return misfortune
        return None
