"""The venue's doors: open, restarting, post-only, cancel-only or disabled, each for as long as it is told.

A restart refuses everything about orders with 425; afterwards, as on the real venue, only post-only orders and
cancels pass for two minutes. Refusals are raised as `RefusedError`: nothing was processed.
"""

from enum import StrEnum
from math import ceil

from worker.sandbox.exchange.clock import NANOSECONDS, Clock
from worker.sandbox.exchange.refusals import (
    CANCEL_ONLY,
    DISABLED,
    POST_ONLY_MODE,
    POST_ONLY_MODE_CODE,
    RESTARTING,
    RefusedError,
)

_FOR_EVER_NS = 1 << 63
_ORDER_PATHS = ("/order", "/orders", "/cancel-all", "/cancel-market-orders", "/data/order")


class Mode(StrEnum):
    OPEN = "open"
    RESTARTING = "restarting"  # 425 on every order endpoint, look-ups of orders included
    POST_ONLY = "post_only"  # 503 for other orders; cancels pass
    CANCEL_ONLY = "cancel_only"  # 503 for orders; cancels pass
    DISABLED = "disabled"  # 503 for orders and cancels


class Modes:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: list[tuple[int, Mode]] = []  # (until when, which), the present one first

    @property
    def current(self) -> Mode:
        now_ns = self._clock.now_ns()
        while self._ahead and self._ahead[0][0] <= now_ns:
            self._ahead.pop(0)
        return self._ahead[0][1] if self._ahead else Mode.OPEN

    @property
    def left_s(self) -> float | None:
        """Seconds until the present mode ends; None when nothing ends it."""
        if self.current is Mode.OPEN or self._ahead[0][0] == _FOR_EVER_NS:
            return None
        return (self._ahead[0][0] - self._clock.now_ns()) / NANOSECONDS

    def enter(self, mode: Mode, seconds: float | None = None) -> None:
        """From now, for `seconds` or until the next call. What was planned before is forgotten."""
        self._ahead = [(self._until_ns(seconds), mode)]

    def restart(self, seconds: float, *, post_only_s: float = 120.0) -> None:
        """The matching engine goes down now, and opens again by way of post-only."""
        self._ahead = [
            (self._until_ns(seconds), Mode.RESTARTING),
            (self._until_ns(seconds + post_only_s), Mode.POST_ONLY),
        ]

    def check_up(self, path: str) -> None:
        """Whether an endpoint answers at all: asked before anything else of a request is looked at."""
        if self.current is Mode.RESTARTING and path.startswith(_ORDER_PATHS):
            raise RefusedError(RESTARTING, status=425)

    def check_order(self, *, post_only: bool) -> None:
        match self.current:
            case Mode.POST_ONLY if not post_only:
                left_s = self.left_s
                wait = {} if left_s is None else {"retry_after_seconds": ceil(left_s)}
                details = {"code": POST_ONLY_MODE_CODE, **wait}
                raise RefusedError(POST_ONLY_MODE, status=503, details=details)
            case Mode.CANCEL_ONLY:
                raise RefusedError(CANCEL_ONLY, status=503)
            case Mode.DISABLED:
                raise RefusedError(DISABLED, status=503)

    def check_cancel(self) -> None:
        if self.current is Mode.DISABLED:
            raise RefusedError(DISABLED, status=503)

    def _until_ns(self, seconds: float | None) -> int:
        return _FOR_EVER_NS if seconds is None else self._clock.now_ns() + round(seconds * NANOSECONDS)
