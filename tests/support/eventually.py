"""Waiting in tests: for a state, not for a time. The bound only ends what will never come: it costs nothing else."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    probe: Callable[[], Awaitable[T]], *, within_s: float = 20.0, every_s: float = 0.01
) -> T: ...
@overload
async def eventually(probe: Callable[[], T], *, within_s: float = 20.0, every_s: float = 0.01) -> T: ...
async def eventually(probe: Callable[[], Any], *, within_s: float = 20.0, every_s: float = 0.01) -> Any:
    """Calls `probe` until it returns something true and returns that.

    An AssertionError of the probe counts as "not yet"; the last one is raised when time is up.
    """
    deadline = monotonic() + within_s
    while True:
        complaint: AssertionError | None = None
        try:
            outcome = probe()
            value = await outcome if inspect.isawaitable(outcome) else outcome
        except AssertionError as error:
            complaint = error
        else:
            if value:
                return value
        if monotonic() > deadline:
            raise complaint or AssertionError(f"not within {within_s:g} s: {probe}")
        await asyncio.sleep(every_s)
