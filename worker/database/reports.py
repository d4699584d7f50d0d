"""What the database tells whoever looks: the story of a signal, the funnel, how trading stands, orders, the feed.

Reads only, each one SQL function (`supabase/migrations/*_explain.sql`, `_funnel`, `_metrics`, `_status`, `_feed`), whose
comment is the contract of its answer; numerics are text. Whoever shows these numbers asks here, so that no two differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.database.client import SupabaseDatabase
from worker.database.controls import ControlAction, ControlScope
from worker.database.values import Row, flag_of, moment_of, moment_text, row_of, rows_of, texts_of
from worker.orders.terms import Mode, StrategyId


class OrderChoice(StrEnum):
    ALL = "all"
    OPEN = "open"  # an attempt may still trade
    FAILED = "failed"  # rejected, cancelled without a trade, or lost


@dataclass(frozen=True, slots=True)
class FeedPage:
    """`cursor` is for the next call, and means nothing to anybody else. `page`: `after_event` makes cursors of it."""

    events: tuple[Row, ...]
    cursor: Row
    more: bool
    page: Row

    def after_event(self, event: Row) -> Row:
        """The cursor of whoever heard this event of the page, and none after it."""
        return {**self.page, "after": {"at": event.get("at"), "key": event.get("key")}}


@dataclass(frozen=True, slots=True)
class Switched:
    """`stands`: the pause or kill that was set before, whose reason stays: {reason, actor, created_at}."""

    changed: bool
    now: datetime
    stands: Row | None


@dataclass(frozen=True, slots=True)
class Reports:
    """Cheap to make. Every call raises what `SupabaseDatabase.rpc` raises, or `SchemaError`."""

    database: SupabaseDatabase
    mode: Mode

    async def explain(self, asked: str) -> Row:
        """The answer of `lt_explain`. `asked`: an id of the signal, of its order or of the exchange's, or its beginning."""
        return await self._ask("lt_explain", ft_order_id=asked)

    async def funnel(self, since: timedelta | datetime, strategy_id: StrategyId | None = None) -> Row:
        """The answer of `lt_funnel`."""
        return await self._ask("lt_funnel", strategy_id=strategy_id, **begins(since))

    async def metrics(
        self, since: timedelta | datetime, strategy_id: StrategyId | None = None, *, buckets: int = 48
    ) -> Row:
        """The answer of `lt_metrics`: the funnel, and beside it the same figures over time."""
        return await self._ask("lt_metrics", strategy_id=strategy_id, buckets=buckets, **begins(since))

    async def status(self) -> Row:
        """The answer of `lt_status`."""
        return await self._ask("lt_status")

    async def strategy_names(self) -> tuple[StrategyId, ...]:
        """Every strategy that there is, or was."""
        answer = await self._ask("lt_strategy_names")
        return tuple(StrategyId(one) for one in texts_of(answer, "strategies"))

    async def switchboard(self, scope: ControlScope) -> tuple[Row, ...]:
        """The strategies that a switch of this scope is about, with whatever switches hold for each.

        In every mode in which it is traded now, and in this one where nobody trades it: a switch holds in both.
        """
        answer = await self._ask("lt_switchboard", scope=scope.text, every_mode=True)
        return tuple(rows_of(answer, "strategies"))

    async def orders(
        self,
        which: OrderChoice,
        since: timedelta | datetime,
        *,
        strategy_id: StrategyId | None = None,
        limit: int = 50,
    ) -> Row:
        """The answer of `lt_order_list`."""
        return await self._ask(
            "lt_order_list", which=which, strategy_id=strategy_id, limit=limit, **begins(since)
        )

    async def feed(
        self,
        cursor: Row | None = None,
        *,
        back: timedelta = timedelta(0),
        strategy_id: StrategyId | None = None,
        limit: int = 200,
    ) -> FeedPage:
        """What happened since the look that gave the cursor, each event once; without one, since `back` ago."""
        answer = await self._ask(
            "lt_feed", cursor=cursor, back_s=_seconds(back), strategy_id=strategy_id, limit=limit
        )
        return FeedPage(
            tuple(rows_of(answer, "events")),
            row_of(answer, "cursor"),
            flag_of(answer, "more"),
            row_of(answer, "page"),
        )

    # --- the switches

    async def switch(
        self, action: ControlAction, scope: ControlScope, *, reason: str, actor: str
    ) -> Switched:
        """Set or clear a switch, in both modes alike."""
        answer = await self._ask("lt_control", action=action, scope=scope.text, reason=reason, actor=actor)
        stands = None if answer.get("stands") is None else row_of(answer, "stands")
        return Switched(flag_of(answer, "changed"), moment_of(answer, "now"), stands)

    async def arm(self, strategy_id: StrategyId, mode: Mode, *, actor: str) -> bool:
        """Arm a strategy's breaker and count drawdown and losses in a row anew; returns whether it had tripped."""
        answer = await self._ask("lt_arm", strategy_id=strategy_id, mode=mode, actor=actor)
        return flag_of(answer, "had_tripped")

    async def _ask(self, function: str, **params: Any) -> dict[str, Any]:
        return await self.database.rpc(function, {"p": {"mode": self.mode, **params}})


def begins(since: timedelta | datetime) -> Mapping[str, str | None]:
    if isinstance(since, datetime):
        return {"since": moment_text(since)}
    return {"window_s": _seconds(since)}


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.3f}"
