"""Work that must not be cut off in the middle: a POST and the record of its answer.

Whoever started it may be cancelled; the work goes on, and `drain` waits for what is still under way at the stop.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)
T = TypeVar("T")


class InFlight:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._witnesses: dict[object, set[str]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def witnessed(self) -> Iterator[Collection[str]]:
        """Names of the work that is under way at any moment of the block, however short.

        What was read meanwhile of such work may be older than its end.
        """
        witness, names = object(), {task.get_name() for task in self._tasks}
        self._witnesses[witness] = names
        try:
            yield names
        finally:
            del self._witnesses[witness]

    async def shielded(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Wait for the work; if the waiting is cancelled, the work is not."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        for names in self._witnesses.values():
            names.add(name)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def settled(self) -> None:
        """Return once nothing is under way."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def drain(self, timeout_s: float) -> int:
        """Wait until nothing is under way; returns how many were given up: cut off, each of them logged.

        What is cut off may have been sent; its attempt says so, and whoever takes over looks it up.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        late = tuple(self._tasks)
        for task in late:
            log.error("submission.abandoned_at_stop", task=task.get_name())
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)
