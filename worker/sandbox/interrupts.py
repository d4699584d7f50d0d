"""Ctrl-C and SIGTERM for a program that has something to finish.

The first one ends what may be ended in good order, where there is such a thing; any other cancels the whole
program, which then takes down what it has started.
"""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Use `listening` to get one; it hears even where a shell has its background jobs ignore Ctrl-C."""

    def __init__(self, program: asyncio.Task[object]) -> None:
        self._program = program
        self._part: asyncio.Task[object] | None = None
        self.heard = False

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator["Interrupts"]:
        """Hears on behalf of the current task."""
        program = asyncio.current_task()
        if program is None:
            raise RuntimeError("Expected to be called inside a task")
        interrupts = cls(program)
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupts._arrived)
        try:
            yield interrupts
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def end_first(self, part: asyncio.Task[object]) -> None:
        """The next interrupt cancels only `part`."""
        self._part = part

    def _arrived(self) -> None:
        self.heard = True
        part, self._part = self._part, None
        if part is not None and not part.done():
            part.cancel()
        else:
            self._program.cancel()
