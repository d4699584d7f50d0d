"""A signal arrives, from whichever source: decide it for each strategy that follows its wallet, and execute.

Each pair is served by itself, in a place of its strategy's own: one that is slow or fails delays no other. Whatever
happens to it, it ends as an execution, a recorded skip, a recorded deferral, or as work that the sweep offers again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto
from typing import assert_never

import structlog

from worker.errors import WorkerError
from worker.execution.doors import Closed
from worker.execution.submit import Executed, Lane, NotSent, Submitter
from worker.execution.wallets import Wallets
from worker.handlers.decisions import DecisionWriter
from worker.handlers.deferrals import Deferrals
from worker.handlers.intake import Intake, Item, LaneName, Pair, PairKey, insert_time
from worker.handlers.judge import WORDS_MOST, Case, Judge
from worker.handlers.strategies import Strategies
from worker.handlers.ticks import is_off_tick, on_the_new_tick
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.ports import Clock, Decision, Ledger, Refused, Stages
from worker.orders.reasons import SkipReason
from worker.orders.signal import Malformed, Signal, parse_signal
from worker.orders.skips import Skip
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import Mode, OrderId, OrderType, Side, WalletAddress

log = structlog.get_logger(__name__)

# How long a sweep that was asked before a decision was committed may take to come back with its pair: a few calls' time.
_SETTLED_FOR_S = 15.0
# Puts every deferred pair behind all backlog, whatever their ages.
_LAST_S = 1e10


class Outcome(StrEnum):
    EXECUTED = "executed"
    ABANDONED = "abandoned"  # claimed; never sent, or not processed
    SKIPPED = "skipped"
    DEFERRED = "deferred"


class End(Enum):
    """How the serving of a pair ended."""

    DECIDED = auto()
    LEFT = auto()  # not ours to decide now; it stays work, for us or for another worker
    FAILED = auto()  # to be tried again, but not at once


@dataclass(frozen=True, slots=True)
class Decided:
    """What a pair came to, this time. `state` and `order_type`: of its first attempt."""

    pair: Pair
    outcome: Outcome
    reason: SkipReason | None = None
    mode: Mode | None = None  # None: only looked at
    state: AttemptState | None = None
    order_type: OrderType | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """What every decision needs, gathered once by the daemon."""

    intake: Intake
    strategies: Strategies
    wallets: Wallets
    ledger: Ledger
    judges: Mapping[Mode, Judge]  # one for each mode that this worker decides in
    submitter: Submitter
    writer: DecisionWriter
    lane_of: Callable[[WalletAddress], Lane]
    clock: Clock
    metrics: Metrics
    on_answered: Callable[[OrderId], None]
    on_decided: Callable[[Decided], None] = lambda _: None


class SignalHandler:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # Pair -> when it was settled. Only for a moment: the database is the memory, and it may be restored.
        self._settled: OrderedDict[tuple[PairKey, Mode], float] = OrderedDict()
        self._deferrals = Deferrals()

    async def run(self) -> None:
        """Serve pairs for ever, as many side by side as the intake has places."""
        async with asyncio.TaskGroup() as group:
            while True:
                pair = await self._desk.intake.take()
                group.create_task(self._serve_and_leave(pair), name=f"serve {' '.join(pair.key)}")

    async def _serve_and_leave(self, pair: Pair) -> None:
        end = End.FAILED
        try:
            end = await self.serve(pair)
        finally:
            self._desk.intake.done(pair, failed=end is End.FAILED)

    async def serve(self, pair: Pair) -> End:
        """One pair, start to end. Nothing that goes wrong here reaches another."""
        try:
            return await self._read_and_decide(pair)
        except WorkerError as error:
            log.warning(
                "signal.not_decided",
                ft_order_id=pair.item.ft_order_id,
                strategy_id=pair.strategy_id,
                error=str(error),
            )
        except Exception:
            log.exception("signal.failed", ft_order_id=pair.item.ft_order_id, strategy_id=pair.strategy_id)
        self._desk.metrics.task_failures.labels("signal").inc()
        return End.FAILED

    async def _read_and_decide(self, pair: Pair) -> End:
        strategy = self._desk.strategies.get(pair.strategy_id)
        if strategy is None:
            self._desk.strategies.changed()
            return End.LEFT
        mode = strategy.shadow_times.mode_at(insert_time(pair.item.row))
        if self._is_settled(pair.key, mode):
            return End.DECIDED
        signal = await self._read(pair.item)
        if signal is None:
            return End.LEFT
        return await self._decide_and_execute(pair, signal, strategy.traded_in(mode), self._desk.judges[mode])

    async def _read(self, item: Item) -> Signal | Malformed | None:
        """The signal of a row. A row that came over the lossy path is read again before it is written off."""
        signal = parse_signal(item.row)
        if isinstance(signal, Malformed) and item.strategy_ids is None:
            work = await self._desk.ledger.signal(item.ft_order_id)
            if work is None:
                return None
            signal = parse_signal(work.signal_row)
        if isinstance(signal, Malformed) and insert_time(item.row) is None:
            # Its insert time is unknown, so no scope covers it: the equation reports such rows.
            log.error("signal.out_of_scope", ft_order_id=item.ft_order_id, reason=signal.reason)
            return None
        return signal

    async def _decide_and_execute(
        self, pair: Pair, signal: Signal | Malformed, strategy: Strategy | InvalidStrategy, judge: Judge
    ) -> End:
        desk = self._desk
        case = judge.first_look(signal, strategy, pair.deferral, now := desk.clock.now())
        if isinstance(case, Skip):
            return await self._skip(pair, judge, case, now)
        if desk.wallets.lease(case.strategy.wallet_address) is None:
            return End.LEFT  # to whoever holds the wallet
        fresh_until = judge.fresh_until(case, now)
        if (closed := desk.submitter.closed(case.strategy.wallet_address, fresh_until)) is not None:
            return await self._put_off(pair, judge, case, closed)
        return await self._judge_and_execute(pair, judge, case)

    async def _judge_and_execute(self, pair: Pair, judge: Judge, case: Case) -> End:
        desk = self._desk
        patient = pair.lane is not LaneName.FRESH
        if patient:
            await desk.lane_of(case.strategy.wallet_address).give_way(_rank(pair))
        for may_redecide in (True, False):
            now = desk.clock.now()
            verdict = await judge.verdict(case, now)
            if isinstance(verdict, Skip):
                return await self._skip(pair, judge, verdict, now)
            result = await desk.submitter.execute(
                verdict,
                pair.item.received,
                decided_at=now,
                fresh_until=judge.fresh_until(case, now),
                patient=patient,
                may_redecide=may_redecide,
            )
            if isinstance(result, Refused) and result.again:
                case = replace(case, strategy=replace(case.strategy, capital=result.capital))
                continue
            # Not recorded by the claim: the door may open, and until then the pair is not lost from view.
            if isinstance(result, Closed):
                return await self._put_off(pair, judge, case, result)
            if isinstance(result, Refused) and not result.reason.final:
                return await self._put_off(pair, judge, case, result)
            if isinstance(result, Executed) and is_off_tick(result):
                verdict, result = await on_the_new_tick(
                    case,
                    verdict,
                    result,
                    pair.item.received,
                    judge=judge,
                    submitter=desk.submitter,
                    clock=desk.clock,
                )
            if not (isinstance(result, NotSent) and result.stale):
                return self._concluded(pair, judge.policy.mode, verdict, result)
        return End.FAILED

    async def _put_off(self, pair: Pair, judge: Judge, case: Case, no: Closed | Refused) -> End:
        now = self._desk.clock.now()
        match no:
            case Closed():
                skip = judge.no(no.reason, case, now, value=no.words[:WORDS_MOST], again_in_s=no.again_in_s)
            case Refused():
                skip = judge.no(no.reason, case, now, value=no.value[:WORDS_MOST], limit=no.limit)
                if no.reason is SkipReason.STRATEGY_CHANGED:
                    self._desk.strategies.changed()
            case _:
                assert_never(no)
        return await self._skip(pair, judge, skip, now)

    async def _skip(self, pair: Pair, judge: Judge, skip: Skip, now: datetime) -> End:
        mode = judge.policy.mode
        stages = Stages(received_at=pair.item.received.at, decided_at=now)
        await self._desk.writer.write(Decision(pair.strategy_id, pair.item.ft_order_id, skip, stages, mode))
        outcome = Outcome.DEFERRED if skip.deferred else Outcome.SKIPPED
        self._say(Decided(pair, outcome, skip.reason, mode), value=skip.value, limit=skip.limit)
        if not skip.deferred:
            self._settle(pair.key, mode)
        return End.DECIDED

    def _concluded(self, pair: Pair, mode: Mode, plan: Plan, result: Executed | Refused | NotSent) -> End:
        match result:
            case Executed():
                outcome = Outcome.ABANDONED if result.state is AttemptState.ABANDONED else Outcome.EXECUTED
                self._say(
                    Decided(pair, outcome, None, mode, result.state, plan.order_type),
                    order_id=result.envelope.order_id,
                    answer=result.answer,
                    state=result.state,
                    limit_price=plan.limit_price,
                    **(
                        {"bet_usd": plan.bet_usd}
                        if plan.side is Side.BUY
                        else {"shares": plan.amounts.shares}
                    ),
                )
                self._time(pair)
                self._settle(pair.key, mode)
                self._desk.on_answered(result.envelope.order_id)
                return End.DECIDED
            case Refused():
                self._say(
                    Decided(pair, Outcome.SKIPPED, result.reason, mode),
                    value=result.value,
                    limit=result.limit,
                )
                self._settle(pair.key, mode)
                return End.DECIDED
            case NotSent():
                log.info(
                    "order.not_claimed",
                    ft_order_id=pair.item.ft_order_id,
                    strategy_id=pair.strategy_id,
                    why=result.why,
                )
                return End.LEFT

    def _time(self, pair: Pair) -> None:
        inserted = insert_time(pair.item.row)
        if pair.lane is LaneName.FRESH and inserted is not None:
            took_s = (self._desk.clock.now() - inserted).total_seconds()
            self._desk.metrics.insert_to_answer_s.observe(max(took_s, 0))

    def _settle(self, pair: PairKey, mode: Mode) -> None:
        self._settled.pop((pair, mode), None)
        self._settled[pair, mode] = self._desk.clock.monotonic()

    def _is_settled(self, pair: PairKey, mode: Mode) -> bool:
        oldest_s = self._desk.clock.monotonic() - _SETTLED_FOR_S
        while self._settled and next(iter(self._settled.values())) < oldest_s:
            self._settled.popitem(last=False)
        return (pair, mode) in self._settled

    def _say(self, decided: Decided, **facts: object) -> None:
        """The canonical line: one per decision, with everything that explains it.

        A pair that is put off for the same reason as before is no news: its tries are kept in the ledger. Nor are those
        that a closed door puts off in crowds.
        """
        pair, word = decided.pair, decided.reason.value if decided.reason else ""
        before = pair.deferral
        is_news = True
        if decided.outcome is Outcome.DEFERRED and decided.reason is not None:
            again = before is not None and before.word == word
            is_news = not again and self._deferrals.is_news(decided.reason, pair.strategy_id)
        self._desk.metrics.decisions.labels(pair.strategy_id, decided.outcome, word).inc()
        elapsed_s = self._desk.clock.monotonic() - pair.item.received.monotonic_s
        (log.info if is_news else log.debug)(
            "order.decided",
            outcome=decided.outcome,
            **({"reason": word} if word else {}),
            mode=decided.mode,
            ft_order_id=pair.item.ft_order_id,
            strategy_id=pair.strategy_id,
            source=pair.item.source,
            elapsed_ms=round(elapsed_s * 1000, 3),
            **({"tries_before": before.tries} if before is not None else {}),
            **facts,
        )
        self._desk.on_decided(decided)


def _rank(pair: Pair) -> float:
    """Among pairs that can wait: backlog before deferred, the newest of each first."""
    inserted = insert_time(pair.item.row)
    age_rank = -inserted.timestamp() if inserted is not None else 0.0
    return age_rank if pair.lane is LaneName.BACKLOG else age_rank + _LAST_S
