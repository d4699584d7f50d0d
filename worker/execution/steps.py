"""Where each step of the money path begins and ends: one seam, so that a test can watch every one of them.

Every call that crosses to the database or to the exchange goes through a port, and every port that the daemon hands
out goes through `stepped`. In production nobody observes, and nothing stands between the caller and the adapter.
"""

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar, cast


class Moment(StrEnum):
    BEFORE = "before"
    AFTER = "after"


Observer: TypeAlias = Callable[[str, Moment], None]
"""Hears `ledger.claim before`, `ledger.claim after`, ... An observer that does not return ends the process there."""

P = TypeVar("P")


def stepped(port: P, name: str, observer: Observer | None) -> P:
    """The same port, each of whose awaited calls is told before it begins and after it has its answer."""
    return port if observer is None else cast(P, _Stepped(port, name, observer))


class _Stepped:
    def __init__(self, port: object, name: str, observer: Observer) -> None:
        self._port = port
        self._name = name
        self._observer = observer

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._port, attribute)
        if not inspect.iscoroutinefunction(value):
            return value
        step, observer = f"{self._name}.{attribute}", self._observer

        async def call(*arguments: Any, **keywords: Any) -> Any:
            observer(step, Moment.BEFORE)
            result = await value(*arguments, **keywords)
            observer(step, Moment.AFTER)
            return result

        return call
