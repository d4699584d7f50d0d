"""What became of every signal, by the exchange's journal and by SQL; the worker's log only tells which source it was.

Commit time is `pg_xact_commit_timestamp` of the signal's row, receipt the first arrival of its order at the exchange. A
sale whose shares were not settled yet has to wait for them: it was reacted to when that was first decided.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.feed.flow import Line
from tests.feed.scene import Away, WorkerLog
from worker.orders.reasons import SkipReason, Stage
from worker.sandbox.report import duplicates_among, journal_of, lived_at_once, orders_of
from worker.sandbox.world import World

_PAIRS = b"""
select s.strategy_id, o.order_id::text as ft_order_id, d.state, d.reason,
  extract(epoch from pg_xact_commit_timestamp(o.xmin))::float8 as committed_at,
  case when d.history @> '[{"reason": "position_unsettled"}]' then extract(epoch from d.created_at)::float8 end as waited_at,
  array(
    select a.exchange_order_id from public.lt_order_attempts a
    where a.strategy_id = s.strategy_id and a.ft_order_id = o.order_id and a.mode = 'live') as attempts
from public.lt_scopes s
join public.ft_orders o on o.wallet_id = s.ft_wallet_id
  and o.created_at >= s.scope_from and o.created_at < coalesce(s.scope_to, 'infinity')
left join public.lt_decisions d
  on d.strategy_id = s.strategy_id and d.ft_order_id = o.order_id and d.mode = 'live'
"""
_ATTEMPTS = b"""
select exchange_order_id, strategy_id, ft_order_id from public.lt_order_attempts where mode = 'live'
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """One strategy's part in one signal. Times are Unix seconds."""

    strategy_id: str
    ft_order_id: str
    committed_at: float
    state: str | None
    reason: str | None
    on_wire_at: float | None
    reacted_at: float | None
    twice: int  # orders that came while another one of the pair lived

    @property
    def handled(self) -> bool:
        """Executed and seen by the exchange, or skipped for what it is and not because it was found too late."""
        match self.state:
            case "executed":
                return self.on_wire_at is not None
            case "skipped":
                reason = SkipReason(self.reason or "")
                return reason.final and reason.stage is not Stage.AGE
        return False

    def __str__(self) -> str:
        sent = "on the wire" if self.on_wire_at else "never on the wire"
        return f"{self.strategy_id} {self.ft_order_id} {self.state or 'undecided'} {self.reason or ''} {sent}"


@dataclass(frozen=True, slots=True)
class Books:
    pairs: Sequence[Pair]
    duplicates: int  # accepted orders that lived beside another one of their pair, and those of nobody
    log: WorkerLog
    away: Sequence[Away]

    @classmethod
    async def read(cls, world: World, log: WorkerLog, away: Sequence[Away]) -> "Books":
        arrivals_ms, accepted = await journal_of(world)
        orders = await orders_of(world)
        async with Line.open(world.supabase.dsn) as line:
            rows = await line.insist(_PAIRS)
            attempts = await line.insist(_ATTEMPTS)
        taken_in = {order_id: orders[order_id] for order_id in accepted}
        return cls(
            [_pair(row, arrivals_ms, taken_in) for row in rows],
            duplicates_among(attempts, accepted, orders),
            log,
            away,
        )

    def between(self, began_at: float, ended_at: float) -> "Books":
        """The part of them whose signals were committed in a span of time. `duplicates` are its own pairs' alone."""
        pairs = [pair for pair in self.pairs if began_at <= pair.committed_at < ended_at]
        return Books(pairs, sum(pair.twice for pair in pairs), self.log, self.away)

    @property
    def signals(self) -> frozenset[str]:
        return frozenset(pair.ft_order_id for pair in self.pairs)

    @property
    def missed(self) -> Sequence[Pair]:
        return [pair for pair in self.pairs if not pair.handled]

    @property
    def executed(self) -> int:
        return sum(pair.state == "executed" for pair in self.pairs)

    @property
    def reasons(self) -> Mapping[str, int]:
        return Counter(pair.reason or "" for pair in self.pairs if pair.state == "skipped")

    @property
    def swept(self) -> frozenset[str]:
        """Signals that the sweep alone brought to a decision, at its ticks or when it was asked."""
        return frozenset(
            one for one in self.signals if (sources := self.log.sources.get(one)) and "feed" not in sources
        )

    def worst_delay_ms(self) -> float | None:
        """From commit to wire. While there is no database nothing can be sent: then it counts from when there is."""
        return max(
            (self._delay_ms(pair.committed_at, pair.reacted_at) for pair in self.pairs if pair.reacted_at),
            default=None,
        )

    def _delay_ms(self, committed_at: float, reacted_at: float) -> float:
        back_at = (ended for began, ended in self.away if began < reacted_at and committed_at < ended)
        return max(0.0, reacted_at - max([committed_at, *back_at])) * 1000


def _pair(
    row: Mapping[str, Any], arrivals_ms: Mapping[str, float], taken_in: Mapping[str, Mapping[str, Any]]
) -> Pair:
    """`taken_in`: the orders that the exchange accepted, by id."""
    on_wire_at = min((arrivals_ms[one] / 1000 for one in row["attempts"] if one in arrivals_ms), default=None)
    return Pair(
        strategy_id=row["strategy_id"],
        ft_order_id=row["ft_order_id"],
        committed_at=row["committed_at"],
        state=row["state"],
        reason=row["reason"],
        on_wire_at=on_wire_at,
        reacted_at=on_wire_at and (row["waited_at"] or on_wire_at),
        twice=len(lived_at_once(taken_in[one] for one in row["attempts"] if one in taken_in)),
    )
