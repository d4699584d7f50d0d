"""What each sign of the feed sets off: it queues, asks for another reading or sweep, and returns at once.

A sign is never trusted for more than that. What is decided is read again, or compared by the claim.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog

from worker.database.realtime import FeedCount, FeedState
from worker.execution.submit import Received
from worker.feed.canary import CANARY_TABLE, Canary
from worker.feed.watch import FeedWatch
from worker.handlers.backfill import Sweep
from worker.handlers.intake import Intake, Item, insert_time
from worker.handlers.notices import SWEEP_ASKED
from worker.handlers.strategies import Strategies
from worker.observe.metrics import Metrics
from worker.orders.ports import Clock
from worker.orders.terms import FtOrderId

log = structlog.get_logger(__name__)


class Wakeups:
    """Each method is what `RealtimeFeed` calls under that name."""

    def __init__(
        self,
        *,
        intake: Intake,
        sweep: Sweep,
        strategies: Strategies,
        canary: Canary,
        feed_watch: FeedWatch,
        clock: Clock,
        metrics: Metrics,
        catch_up_after_live_s: Sequence[float],
    ) -> None:
        self._intake = intake
        self._sweep = sweep
        self._strategies = strategies
        self._canary = canary
        self._feed_watch = feed_watch
        self._clock = clock
        self._metrics = metrics
        self._catch_up_after_live_s = catch_up_after_live_s

    def on_signal(self, row: Mapping[str, Any]) -> None:
        ft_order_id = _id_of(row)
        if ft_order_id is None:
            self._sweep.ask()  # a row cut short by the server: the database has it whole
            return
        self._feed_watch.brought(ft_order_id, insert_time(row))
        item = Item(ft_order_id, row, None, "feed", Received.now(self._clock))
        self._intake.offer(item, fresh=True)

    def on_change(self, table: str, row: Mapping[str, Any]) -> None:
        if table == CANARY_TABLE:
            self._canary.heard(row)
            if row.get("worker") == SWEEP_ASKED:
                self._sweep.ask()
        else:
            log.debug("strategies.changed", table=table)
            self._strategies.changed()

    def on_state(self, state: FeedState, detail: str) -> None:
        self._feed_watch.changed(state, detail)
        if state is FeedState.LIVE:
            self._sweep.ask()
            for after_s in self._catch_up_after_live_s:
                self._sweep.ask(after_s=after_s)

    def on_table_live(self, table: str) -> None:
        """What changed before its table was listened to was not heard."""
        if table == CANARY_TABLE:
            self._canary.ask()
        else:
            self._strategies.changed()

    def on_count(self, what: FeedCount) -> None:
        self._metrics.feed_events.labels(what).inc()


def _id_of(row: Mapping[str, Any]) -> FtOrderId | None:
    try:
        return FtOrderId(str(UUID(str(row.get("order_id")))))
    except ValueError:
        return None
