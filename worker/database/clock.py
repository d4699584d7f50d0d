"""The database's time on this machine: what ages and expiries are judged by.

Every answer of the database says when it was made, and that moment lies between our send and our receive. So each
answer is proof that bounds the offset by half its round trip. The clock runs on a monotonic clock that counts the time
for which the machine slept: neither a step of its wall clock nor a suspension moves it off the database's time.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

_GAIN = 0.2  # how far one answer pulls inside the bound that it proves; quiets the jitter of the network


def steady_clock() -> Callable[[], float]:
    """Seconds that only grow, also while the machine is suspended: leases end in the database meanwhile.

    Where the kernel has no such clock, the ordinary monotonic one, which stands still in a suspension.
    """
    since_boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    if since_boot is None:
        return time.monotonic
    try:
        time.clock_gettime(since_boot)
    except OSError:
        return time.monotonic
    return partial(time.clock_gettime, since_boot)


class DatabaseClock:
    """Implements `orders.ports.Clock`. Until the first answer it tells the machine's own time."""

    def __init__(
        self,
        *,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] | None = None,
    ) -> None:
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s or steady_clock()
        self._epoch_s = wall_s() - self._monotonic_s()  # database time at the monotonic clock's zero
        self._answers = 0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._epoch_s + self._monotonic_s(), tz=UTC)

    def monotonic(self) -> float:
        return self._monotonic_s()

    @property
    def synchronised(self) -> bool:
        return self._answers > 0

    @property
    def offset_s(self) -> float:
        """Database time minus this machine's wall clock, in seconds."""
        return self._epoch_s + self._monotonic_s() - self._wall_s()

    def learn(self, database_now: datetime, *, sent_s: float, received_s: float) -> None:
        """Take one answer into account; `sent_s` and `received_s` are of `monotonic()`.

        The old offset is first brought inside the bound `midpoint ± round trip / 2`, then pulled to its middle.
        A slow answer proves little and moves little; a real step is followed at once.
        """
        half_s = max(received_s - sent_s, 0.0) / 2
        middle_s = database_now.timestamp() - (sent_s + half_s)
        if self._answers == 0:
            self._epoch_s = middle_s
        else:
            bounded_s = min(max(self._epoch_s, middle_s - half_s), middle_s + half_s)
            self._epoch_s = bounded_s + _GAIN * (middle_s - bounded_s)
        self._answers += 1
