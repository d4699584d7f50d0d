"""How far back, and for whom: what `run --since` and `run --strategy` ask for, read and checked.

Widening the scope is the operator's decision, written down as such. It moves no watermark, because there is none.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from worker.configuration.names import unknown_strategy
from worker.errors import UsageError
from worker.handlers.strategies import Strategies
from worker.orders.ports import Clock
from worker.orders.terms import StrategyId

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d{1,4})([smhdw])")
_HOW: Final = "say how far back (90m, 12h, 7d) or from when (2026-11-20T00:00:00Z)"


class Scopes(Protocol):
    """Which signals are a strategy's to decide, as the ledger keeps it."""

    async def open_scope(self, *, since: datetime, reason: str, strategy_id: StrategyId | None) -> int: ...


@dataclass(frozen=True, slots=True)
class Lookback:
    """`since`: a span back from the database's now, or a time; None: what is in scope already."""

    since: timedelta | datetime | None = None
    strategy_id: StrategyId | None = None
    said: str = ""

    def begins(self, clock: Clock) -> datetime | None:
        """In database time. Raises `UsageError` for a time that has not come yet."""
        if isinstance(self.since, timedelta):
            return clock.now() - self.since
        if self.since is not None:
            refuse_future(self.since, clock.now(), said=self.said)
        return self.since

    async def open(self, scopes: Scopes, strategies: Strategies, clock: Clock) -> datetime | None:
        """Take the older signals in: from when on. Raises `UsageError` for a strategy that cannot be meant."""
        self.check(strategies)
        since = self.begins(clock)
        if since is not None:
            reason = f"backfill --since {self.said}"
            await scopes.open_scope(since=since, reason=reason, strategy_id=self.strategy_id)
        return since

    def check(self, strategies: Strategies) -> None:
        if self.strategy_id is None:
            return
        strategy = strategies.get(self.strategy_id)
        if strategy is None:
            raise unknown_strategy(self.strategy_id, strategies.active, "active strategy")
        if not strategy.is_active:
            raise UsageError(
                f"--strategy {self.strategy_id} is not active: activate it first (is_active = true)."
            )


def parse_since(text: str) -> timedelta | datetime:
    """`7d`, `12h`, `90m`, or an ISO-8601 time with its zone. Raises `UsageError` that says what was meant."""
    if span := _SPAN.fullmatch(text.strip().lower()):
        number, unit = span.groups()
        if int(number) == 0:
            raise UsageError(f"--since {text} looks back at nothing: {_HOW}.")
        return timedelta(**{_UNITS[unit]: int(number)})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--since {text} is neither a span nor a time: {_HOW}.") from None
    if moment.tzinfo is None:
        raise UsageError(f"--since {text} has no time zone: write {moment.isoformat()}Z if you mean UTC.")
    return moment.astimezone(UTC)


def refuse_future(since: datetime, now: datetime, *, said: str) -> None:
    """Raises `UsageError` for a time that has not come yet."""
    if since > now:
        raise UsageError(f"--since {said} has not come yet: {_HOW}.")
