"""The equation, watched while everything happens: seen = executed + skipped + deferred + undecided.

Two witnesses count the same snapshot: plain counts of the harness's own, and the product's `lt_equation`. A sample
holds if both balance, both say the same, and nothing has been undecided for longer than it may.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import time
from typing import Any

import psycopg

from tests.feed.flow import Line

MISSED_AFTER_S = 5.0  # as `lt_equation` has it
_EVERY_S = 0.25
_COUNTS = b"""
with pairs as (
  select s.strategy_id, o.order_id, o.created_at
  from public.lt_scopes s
  join public.ft_orders o on o.wallet_id = s.ft_wallet_id
    and o.created_at >= s.scope_from and o.created_at < coalesce(s.scope_to, 'infinity')
), undecided as (
  select p.created_at from pairs p
  where not exists (
    select from public.lt_decisions d
    where d.strategy_id = p.strategy_id and d.ft_order_id = p.order_id and d.mode = 'live')
)
select
  (select count(*) from pairs) as seen,
  (select count(*) from public.lt_decisions where mode = 'live' and state = 'executed') as executed,
  (select count(*) from public.lt_decisions where mode = 'live' and state = 'skipped') as skipped,
  (select count(*) from public.lt_decisions where mode = 'live' and state = 'deferred') as deferred,
  (select count(*) from undecided) as undecided,
  (select count(*) from undecided where created_at < clock_timestamp() - make_interval(secs => %s)) as missed,
  public.lt_equation('{"mode": "live"}') -> 'total' as told
"""


@dataclass(frozen=True, slots=True)
class Counts:
    seen: int
    executed: int
    skipped: int
    deferred: int
    undecided: int

    @property
    def balance(self) -> bool:
        return self.seen == self.executed + self.skipped + self.deferred + self.undecided

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Counts":
        return cls(row["seen"], row["executed"], row["skipped"], row["deferred"], row["undecided"])


@dataclass(frozen=True, slots=True)
class Sample:
    at: float  # Unix time
    own: Counts
    told: Counts
    missed: int

    @property
    def balances(self) -> bool:
        return self.own.balance and self.own == self.told

    @property
    def holds(self) -> bool:
        return self.balances and not self.missed

    def __str__(self) -> str:
        return f"own {asdict(self.own)}, lt_equation {asdict(self.told)}, missed {self.missed}"


class Sampler:
    """Counts four times a second; while the database is away there is nothing to count."""

    def __init__(self, dsn: str, *, missed_after_s: float) -> None:
        self._dsn = dsn
        self._missed_after_s = missed_after_s
        self.samples: list[Sample] = []

    async def run(self) -> None:
        async with Line.open(self._dsn) as line:
            while True:
                with suppress(psycopg.OperationalError):
                    self.samples.append(await count(line, missed_after_s=self._missed_after_s))
                await asyncio.sleep(_EVERY_S)

    def unbalanced(self) -> Sequence[Sample]:
        return [sample for sample in self.samples if not sample.balances]

    def late(self, excused: Sequence[tuple[float, float]] = ()) -> Sequence[Sample]:
        """Samples with a missed signal, but for `excused` spans without a database."""
        return [
            sample
            for sample in self.samples
            if sample.missed and not any(began <= sample.at <= ended for began, ended in excused)
        ]


async def count(line: Line, *, missed_after_s: float = MISSED_AFTER_S) -> Sample:
    """One snapshot of the database. Raises psycopg.OperationalError while it is away."""
    row = (await line.ask(_COUNTS, [missed_after_s]))[0]
    return Sample(time(), Counts.of(row), Counts.of(row["told"]), row["missed"])
