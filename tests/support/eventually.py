"""Waiting in tests: for a state, not for a time. The bound only ends what will never come: it costs nothing else."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar, overload

T = TypeVar("T")

# Whoever has waited long looks less often: many a probe is a query, and takes CPU from what it waits for.
_SHARE = 0.05  # of the time that has passed
_SELDOMEST_S = 0.05


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
    began_s = monotonic()
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
        waited_s = monotonic() - began_s
        if waited_s > within_s:
            raise complaint or AssertionError(f"not within {within_s:g} s: {probe}")
        await asyncio.sleep(max(every_s, min(waited_s * _SHARE, _SELDOMEST_S)))
