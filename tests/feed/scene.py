"""What a feed trial is played on: a small world, the production worker as a child process, and its log as it grows.

The feed's time is compressed, the server's and the worker's waits for it alike, so that a trial takes seconds. The
sweep is production's: it is what is under test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from time import time
from typing import Any

from worker.configuration.feed import FeedSettings, SweepSettings
from worker.database.realtime_session import SIGNAL_TABLE
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.postgres import Postgres
from worker.sandbox.worker_process import WorkerProcess
from worker.sandbox.world import Follower, World, open_world

FOLLOWERS = (
    Follower("FEED_FAK", "FT_ONE", 0, "FAK", Decimal("5.0")),
    Follower("FEED_FOK", "FT_TWO", 1, "FOK", Decimal("5.0")),
)
COMPRESSION = 0.2
TIMING = GatewayTiming(
    upgrade_error_s=2.0 * COMPRESSION,
    join_error_s=5.0 * COMPRESSION,
    resubscribe_s=2.0 * COMPRESSION,
    idle_s=66.0 * COMPRESSION,
    fault_scale=COMPRESSION,
)
_FEED = FeedSettings()
SETTINGS: Mapping[str, str] = {
    **{
        f"POLYCOPY_FEED__{name.upper()}": str(getattr(_FEED, name) * COMPRESSION)
        for name in (
            "join_timeout_s",
            "live_timeout_s",
            "backoff_most_s",
            "backoff_rate_limited_s",
            "backoff_refused_s",
            "ping_every_s",
            "replace_again_after_s",
            "replace_again_most_s",
        )
    },
    "POLYCOPY_STOP_DRAIN_S": "8",
    "POLYCOPY_LOG__FORMAT": "json",
}
SWEEP_EVERY_S = SweepSettings().every_s
_BET_USD = Decimal(10)
_DEPOSIT_USD = Decimal(9_000_000)  # no run ends because the money does
_READ_LOG_EVERY_S = 0.5


Away = tuple[float, float]  # from when to when there was no database to ask, in Unix seconds


@dataclass(slots=True)
class WorkerLog:
    """What the worker has said so far: which source brought each signal, and how it felt when."""

    sources: dict[str, set[str]] = field(default_factory=dict)  # ft_order_id -> feed, sweep, ...
    health: list[tuple[float, str, str]] = field(default_factory=list)  # Unix time, level, sentence

    def take(self, line: str) -> None:
        try:
            said: Any = json.loads(line)
        except ValueError:
            return  # a traceback
        match said.get("event"):
            case "order.decided":
                self.sources.setdefault(said["ft_order_id"], set()).add(said["source"])
            case "health.changed":
                at = datetime.fromisoformat(said["timestamp"]).timestamp()
                self.health.append((at, said["level"], said["sentence"]))

    def degraded_at(self, since: float) -> float | None:
        """When the feed was first said to be degraded after `since`, in Unix time."""
        return next(
            (
                at
                for at, level, sentence in self.health
                if at >= since and level != "ok" and "feed" in sentence
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Scene:
    world: World
    worker: WorkerProcess
    log: WorkerLog
    away: list[Away]

    @contextmanager
    def without_database(self) -> Iterator[None]:
        """The worker cannot reach the database in the course of the block."""
        began_at = time()
        try:
            yield
        finally:
            self.away.append((began_at, time()))

    def lost_to_faults(self) -> int:
        """Signals, so far, that a fault kept from channels."""
        return sum(strike.lost[SIGNAL_TABLE] for strike in self.world.supabase.gateway.faults.history)

    def unheard(self) -> int:
        """Signals, so far, that no live channel was there to hear."""
        return self.world.supabase.gateway.faults.unheard[SIGNAL_TABLE]

    def read_log(self) -> None:
        for line in self.worker.new_lines():
            self.log.take(line)


@asynccontextmanager
async def open_scene(
    world: World, log: WorkerLog, away: list[Away], settings: Mapping[str, str] | None = None
) -> AsyncIterator[Scene]:
    """One life of the worker in its world; what it says is added to `log`, what is done to its database to `away`."""
    environment = {**world.worker_environment(), **SETTINGS, **(settings or {})}
    async with WorkerProcess.start(environment, "--live") as worker:
        scene = Scene(world, worker, log, away)
        reading = asyncio.create_task(_keep_reading(scene))
        try:
            yield scene
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            scene.read_log()


async def _keep_reading(scene: Scene) -> None:
    while True:
        scene.read_log()
        await asyncio.sleep(_READ_LOG_EVERY_S)


@asynccontextmanager
async def open_feed_world(
    *,
    seed: int,
    followers: Sequence[Follower] = FOLLOWERS,
    template: str | None = None,
    postgres: Postgres | None = None,
) -> AsyncIterator[World]:
    """A world on a PostgreSQL of its own, because trials restart it, unless one is lent."""
    async with (
        _lent_or_own(postgres) as server,
        open_world(
            seed=seed,
            markets=8,
            followers=followers,
            bet_usd=_BET_USD,
            deposit_usd=_DEPOSIT_USD,
            timing=TIMING,
            postgres=server,
            template=template,
        ) as world,
    ):
        yield world


@asynccontextmanager
async def _lent_or_own(postgres: Postgres | None) -> AsyncIterator[Postgres]:
    if postgres is not None:
        yield postgres
        return
    async with Postgres.private() as own:
        yield own
