"""How often a run through the backlog has offered each pair: often enough, and in bounded memory.

Of pairs that were decided the latest are remembered, because a page that was asked for before may still bring them. Of
pairs that were offered and not decided all are, and above a number of these no other is taken on: a run must come to
its end though everything fails, and what it leaves is still work.
"""

from collections import OrderedDict

from worker.handlers.intake import PairKey

_TRIES_MOST = 3  # of one pair, in one run
_REMEMBERED = 100_000


class Offers:
    def __init__(self, *, remembered: int = _REMEMBERED) -> None:
        """`remembered`: how many pairs of either kind."""
        self._remembered = remembered
        self._open: dict[PairKey, int] = {}
        self._decided: OrderedDict[PairKey, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open) + len(self._decided)

    def may(self, pair: PairKey) -> bool:
        """Whether the pair may be offered, for the first time or again."""
        if pair in self._open:
            return self._open[pair] < _TRIES_MOST
        return self._decided.get(pair, 0) < _TRIES_MOST and len(self._open) < self._remembered

    def offered(self, pair: PairKey) -> bool:
        """Count one offer; returns whether it was the first that is remembered."""
        before = self._decided.pop(pair, 0) or self._open.get(pair, 0)
        self._open[pair] = before + 1
        return not before

    def decided(self, pair: PairKey, *, final: bool) -> None:
        """A pair that is decided for good is offered no more; one that was put off, as often as any other."""
        tries = self._open.pop(pair, 0)
        self._decided[pair] = _TRIES_MOST if final else tries
        self._decided.move_to_end(pair)
        if len(self._decided) > self._remembered:
            self._decided.popitem(last=False)
