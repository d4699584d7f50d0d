"""A row that this worker writes only to hear of it over the feed.

It measures how long a committed row takes to arrive, and proves the whole way while the market is quiet. One that is
not heard in time says that the feed is deaf, however healthy its connection looks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from worker.configuration.feed import CanarySettings
from worker.errors import WorkerError
from worker.observe.metrics import Metrics
from worker.orders.ports import Clock

log = structlog.get_logger(__name__)

CANARY_TABLE = "lt_canary"
_AT_MOST_EVERY_S = 1.0


class Canary:
    def __init__(
        self,
        settings: CanarySettings,
        *,
        send: Callable[[], Awaitable[int]],
        audible: Callable[[], bool],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`send` writes the row and returns its id; `audible`: whether the feed listens to its table now."""
        self._settings = settings
        self._send = send
        self._audible = audible
        self._clock = clock
        self._metrics = metrics
        self._asked = asyncio.Event()
        self._newest_heard = 0
        self._out_id = 0  # the oldest that was not heard yet ...
        self._out_since_s: float | None = None  # ... and since when, monotonic; None: every one was heard
        self._out_since: datetime | None = None
        self.latency_s: float | None = None  # from the insert to here, of the last one heard

    @property
    def overdue(self) -> bool:
        """One has not been heard in time."""
        if self._out_since_s is None:
            return False
        return self._clock.monotonic() - self._out_since_s > self._settings.patience_s

    def ask(self) -> None:
        """Send one now, whatever the hour."""
        self._asked.set()

    def heard(self, row: Mapping[str, Any]) -> None:
        """A row of the canaries' table came: ours, or another worker's, which proves as much."""
        canary_id, sent_at_text = row.get("canary_id"), row.get("sent_at")
        if not isinstance(canary_id, int) or not isinstance(sent_at_text, str):
            return  # an old one was swept away: a change too, of which only the key is told
        if canary_id <= self._newest_heard:
            return
        self._newest_heard = canary_id
        sent_at = datetime.fromisoformat(sent_at_text)
        self.latency_s = max((self._clock.now() - sent_at).total_seconds(), 0.0)
        self._metrics.feed_latency_s.observe(self.latency_s)
        if canary_id >= self._out_id:
            self._forgive()

    def excuse(self, inserted_at: datetime) -> None:
        """A signal of that time has come over the same feed: a canary sent before it is only lost."""
        if self._out_since is not None and inserted_at >= self._out_since:
            self._forgive()

    def forget(self) -> None:
        """The session that it should have come over is gone."""
        self._forgive()

    async def run(self) -> None:
        """Runs until cancelled."""
        pause_s = min(_AT_MOST_EVERY_S, self._settings.again_every_s)
        while True:
            self._asked.clear()
            if self._audible():
                await self._send_one()
                await asyncio.sleep(pause_s)
            else:
                self._forgive()  # nobody listens for it
            try:
                async with asyncio.timeout(self._wait_s()):
                    await self._asked.wait()
            except TimeoutError:
                continue

    def _wait_s(self) -> float:
        waiting = self._out_since_s is not None
        return self._settings.again_every_s if waiting else self._settings.every_s

    async def _send_one(self) -> None:
        since_s, since = self._clock.monotonic(), self._clock.now()
        try:
            canary_id = await self._send()
        except WorkerError as error:
            log.warning("canary.not_sent", error=str(error))
            return
        if canary_id > self._newest_heard and self._out_since_s is None:
            self._out_id, self._out_since_s, self._out_since = canary_id, since_s, since

    def _forgive(self) -> None:
        self._out_since_s = self._out_since = None
