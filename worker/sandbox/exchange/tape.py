"""The prints of the venue, numbered in order, so that somebody outside can follow them and miss none."""

from collections import deque

from worker.sandbox.exchange.recording import Print

_KEPT = 100_000


class Tape:
    def __init__(self) -> None:
        self._prints: deque[tuple[int, Print]] = deque(maxlen=_KEPT)
        self._next = 0

    def add(self, entry: Print) -> None:
        self._prints.append((self._next, entry))
        self._next += 1

    def since(self, number: int) -> list[tuple[int, Print]]:
        """Prints from `number` on, oldest first."""
        return [entry for entry in self._prints if entry[0] >= number]
