"""Where one life of a worker is to die or to fall asleep: memory that it shares with whoever torments it.

Its own misfortune is there when it is born. More points can be added while it lives: then it dies at whichever it comes
by first, and with its last breath marks that one, so that a kill is never counted for a point where nobody died.
"""

import os
import signal
from collections.abc import Callable, Collection
from ctypes import Array, c_int
from typing import Final

from tests.chaos.schedule import POINTS, Blow, Misfortune, Point
from worker.execution.steps import Moment

_PLACE: Final = {(point.step, point.moment): place for place, point in enumerate(POINTS)}
_NOWHERE: Final = len(POINTS)  # its cell holds the place where the life was struck dead, or this again
_SIGNALS: Final = {Blow.KILL: signal.SIGKILL, Blow.PAUSE: signal.SIGSTOP}


class Appointments:
    """Cells hold how often a point is passed until it strikes; nought: never."""

    def __init__(self, shared: Callable[[str, int], "Array[c_int]"], misfortune: Misfortune | None) -> None:
        """`shared`: the `RawArray` of the context that starts the process."""
        self._own = misfortune
        self._passes = {blow: shared("i", len(POINTS) + 1) for blow in Blow}
        self._passes[Blow.KILL][_NOWHERE] = _NOWHERE
        if misfortune is not None:
            self._passes[misfortune.blow][_PLACE[misfortune.point.step, misfortune.point.moment]] = (
                misfortune.nth
            )

    @property
    def met(self) -> Point | None:
        """The point where it was struck dead; None: at none."""
        place = self._passes[Blow.KILL][_NOWHERE]
        return None if place == _NOWHERE else POINTS[place]

    def widen(self, points: Collection[Point]) -> None:
        """From now on it dies at the first of these that it comes by, beside its own, and at no other."""
        own = self._own and self._own.point
        for place, point in enumerate(POINTS):
            if point in points:
                self._passes[Blow.KILL][place] = 1
            elif point != own:
                self._passes[Blow.KILL][place] = 0

    def observe(self, step: str, moment: Moment) -> None:
        """The production seam's observer, in the worker's own process."""
        place = _PLACE.get((step, moment), _NOWHERE)
        if place == _NOWHERE:
            return
        for blow, passes in self._passes.items():
            if passes[place]:
                passes[place] -= 1
                if not passes[place]:
                    if blow is Blow.KILL:
                        passes[_NOWHERE] = place
                    os.kill(os.getpid(), _SIGNALS[blow])
