"""A signal arrives, from whichever source: decide it for each strategy that follows its wallet, and execute.

Strategies are served side by side and apart: one that is slow or fails delays no other. Whatever happens to a
pair, it ends as an execution, a recorded skip, a recorded deferral, or as work that the sweep offers again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from worker.errors import ExchangeError, ExchangeUnreachable, MarketNotFound, WorkerError
from worker.execution.submit import Executed, NotSent, Submitter
from worker.execution.wallets import Wallets
from worker.handlers.decisions import DecisionWriter
from worker.handlers.intake import Intake, Item, insert_time
from worker.handlers.strategies import Strategies
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan, decide, defer, is_fresh, screen
from worker.orders.lifecycle import AttemptState
from worker.orders.policy import DecisionPolicy
from worker.orders.ports import Clock, Decision, Exchange, Ledger, Refused, Stages
from worker.orders.reasons import SkipReason, Stage
from worker.orders.signal import Malformed, Signal, parse_signal
from worker.orders.skips import Skip
from worker.orders.strategy import InvalidStrategy, Strategy
from worker.orders.terms import FtOrderId, FtWalletId, OrderId, StrategyId

log = structlog.get_logger(__name__)

# A pair that could not be brought to an end is offered again by the sweep, but not before this.
_HOLD_AFTER_FAILURE_S = 5.0
# A plan made on a look at the book is good for so long.
_BOOK_GOOD_FOR = timedelta(seconds=5)
# How long a sweep that was asked before a decision was committed may take to come back with its pair.
_SETTLED_FOR_S = 30.0

Pair = tuple[StrategyId, FtOrderId]


@dataclass(frozen=True, slots=True)
class Desk:
    """What every decision needs, gathered once by the daemon."""

    intake: Intake
    strategies: Strategies
    wallets: Wallets
    exchange: Exchange
    ledger: Ledger
    submitter: Submitter
    writer: DecisionWriter
    clock: Clock
    metrics: Metrics
    policy: DecisionPolicy
    skip_unknown_wallets: bool
    on_answered: Callable[[OrderId], None]


class SignalHandler:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # Pair -> when it was settled. Only for a moment: the database is the memory, and it may be restored.
        self._settled: OrderedDict[Pair, float] = OrderedDict()

    async def run(self) -> None:
        """Serve signals for ever; several of these run side by side."""
        while True:
            item = await self._desk.intake.take()
            ended = False
            try:
                ended = await self.handle(item)
            finally:
                if ended:
                    self._desk.intake.done(item)
                else:
                    loop = asyncio.get_running_loop()
                    loop.call_later(_HOLD_AFTER_FAILURE_S, self._desk.intake.done, item)

    async def handle(self, item: Item) -> bool:
        """True if every pair of the signal came to an end; False if one of them must be offered again."""
        try:
            signal = await self._read(item)
        except WorkerError as error:
            log.warning("signal.not_read", ft_order_id=item.ft_order_id, error=str(error))
            return False
        if signal is None:
            return True
        strategy_ids = self._strategies_of(item)
        ended = await asyncio.gather(*(self._serve(item, signal, one) for one in strategy_ids))
        return all(ended)

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

    def _strategies_of(self, item: Item) -> Sequence[StrategyId]:
        if item.strategy_ids is not None:
            if any(self._desk.strategies.get(one) is None for one in item.strategy_ids):
                self._desk.strategies.changed()
            return item.strategy_ids
        return self._desk.strategies.following(FtWalletId(str(item.row.get("wallet_id"))))

    async def _serve(self, item: Item, signal: Signal | Malformed, strategy_id: StrategyId) -> bool:
        """One pair, start to end. Nothing that goes wrong here reaches another strategy."""
        if self._is_settled((strategy_id, item.ft_order_id)):
            return True
        strategy = self._desk.strategies.get(strategy_id)
        if strategy is None:
            return False
        try:
            return await self._decide_and_execute(item, signal, strategy)
        except WorkerError as error:
            log.warning(
                "signal.not_decided",
                ft_order_id=item.ft_order_id,
                strategy_id=strategy_id,
                error=str(error),
                again_in_s=_HOLD_AFTER_FAILURE_S,
            )
        except Exception:
            log.exception("signal.failed", ft_order_id=item.ft_order_id, strategy_id=strategy_id)
        self._desk.metrics.task_failures.labels("signal").inc()
        return False

    async def _decide_and_execute(
        self, item: Item, signal: Signal | Malformed, strategy: Strategy | InvalidStrategy
    ) -> bool:
        desk = self._desk
        for _ in range(2):
            now = desk.clock.now()
            verdict = await self._verdict(signal, strategy, now)
            if verdict is None:
                return False
            if isinstance(verdict, Skip):
                return await self._skip(item, strategy.strategy_id, verdict, now)
            fresh = is_fresh(verdict.signal, desk.policy, now)
            fresh_until = verdict.signal.created_at + desk.policy.fresh_for if fresh else now + _BOOK_GOOD_FOR
            result = await desk.submitter.execute(
                verdict, item.received, decided_at=now, fresh_until=fresh_until
            )
            if isinstance(result, Refused) and not result.reason.final:
                # Not recorded by the claim: the door may open, and until then the pair is not lost from view.
                skip = defer(
                    result.reason, verdict.signal, desk.policy, now, value=result.value, limit=result.limit
                )
                return await self._skip(item, strategy.strategy_id, skip, now)
            if not (isinstance(result, NotSent) and result.stale):
                return self._concluded(item, verdict, result)
        return False

    async def _verdict(
        self, signal: Signal | Malformed, strategy: Strategy | InvalidStrategy, now: datetime
    ) -> Plan | Skip | None:
        """None: not ours to decide now. Whoever holds the wallet does, or the pair waits as work."""
        desk = self._desk
        skip = screen(signal, strategy, desk.policy, now)
        if skip is not None:
            return skip
        if isinstance(signal, Malformed) or isinstance(strategy, InvalidStrategy):
            raise AssertionError("the screen refuses whatever cannot be read")  # noqa: TRY004 - not a type error
        if not desk.wallets.watches(strategy.wallet_address) and desk.skip_unknown_wallets:
            return Skip(SkipReason.WALLET_NOT_CONFIGURED, value=strategy.wallet_address)
        if desk.wallets.lease(strategy.wallet_address) is None:
            return None
        return await self._judge(signal, strategy, now)

    async def _judge(self, signal: Signal, strategy: Strategy, now: datetime) -> Plan | Skip:
        """Gather what the decision needs and decide; a no for money is asked again with the numbers of now."""
        desk = self._desk
        try:
            market = await desk.exchange.market(signal.condition_id)
            token = market.token(signal.token_label)
            stale = token is not None and not is_fresh(signal, desk.policy, now)
            book = await desk.exchange.book(token.token_id) if token is not None and stale else None
        except MarketNotFound:
            return defer(SkipReason.MARKET_NOT_FOUND, signal, desk.policy, now, value=signal.condition_id)
        except ExchangeUnreachable as error:
            return defer(SkipReason.EXCHANGE_UNREACHABLE, signal, desk.policy, now, value=str(error)[:80])
        except ExchangeError as error:
            return defer(SkipReason.MARKET_NOT_READY, signal, desk.policy, now, value=str(error)[:80])
        capital = strategy.capital or await desk.ledger.capital(strategy.strategy_id)
        plan = decide(signal, strategy, market, book, capital, desk.policy, now)
        if isinstance(plan, Skip) and plan.reason.stage is Stage.LIMITS:
            latest = await desk.ledger.capital(strategy.strategy_id)
            plan = decide(signal, strategy, market, book, latest, desk.policy, now)
        return plan

    async def _skip(self, item: Item, strategy_id: StrategyId, skip: Skip, now: datetime) -> bool:
        stages = Stages(received_at=item.received.at, decided_at=now)
        await self._desk.writer.write(Decision(strategy_id, item.ft_order_id, skip, stages))
        outcome = "deferred" if skip.deferred else "skipped"
        self._say(item, strategy_id, outcome, skip.reason, value=skip.value, limit=skip.limit)
        if not skip.deferred:
            self._settle((strategy_id, item.ft_order_id))
        return True

    def _concluded(self, item: Item, plan: Plan, result: Executed | Refused | NotSent) -> bool:
        strategy_id = plan.strategy.strategy_id
        match result:
            case Executed():
                self._say(
                    item,
                    strategy_id,
                    _outcome_of(result),
                    None,
                    order_id=result.envelope.order_id,
                    answer=result.answer,
                    state=result.state,
                    limit_price=plan.limit_price,
                    bet_usd=plan.bet_usd,
                )
                self._settle((strategy_id, item.ft_order_id))
                self._desk.on_answered(result.envelope.order_id)
                return True
            case Refused():
                self._say(item, strategy_id, "skipped", result.reason, value=result.value, limit=result.limit)
                self._settle((strategy_id, item.ft_order_id))
                return True
            case NotSent():
                log.info(
                    "order.not_claimed", ft_order_id=item.ft_order_id, strategy_id=strategy_id, why=result.why
                )
                return False

    def _settle(self, pair: Pair) -> None:
        self._settled.pop(pair, None)
        self._settled[pair] = self._desk.clock.monotonic()

    def _is_settled(self, pair: Pair) -> bool:
        oldest_s = self._desk.clock.monotonic() - _SETTLED_FOR_S
        while self._settled and next(iter(self._settled.values())) < oldest_s:
            self._settled.popitem(last=False)
        return pair in self._settled

    def _say(
        self, item: Item, strategy_id: StrategyId, outcome: str, reason: SkipReason | None, **facts: object
    ) -> None:
        """The canonical line: one per decision, with everything that explains it."""
        word = reason.value if reason else ""
        self._desk.metrics.decisions.labels(strategy_id, outcome, word).inc()
        log.info(
            "order.decided",
            outcome=outcome,
            **({"reason": word} if word else {}),
            ft_order_id=item.ft_order_id,
            strategy_id=strategy_id,
            source=item.source,
            elapsed_ms=round((self._desk.clock.monotonic() - item.received.monotonic_s) * 1000, 3),
            **facts,
        )


def _outcome_of(result: Executed) -> str:
    """In a word, for the log: an order may be claimed and not sent, by this process or for good."""
    if result.state is AttemptState.ABANDONED:
        return "abandoned"
    return "left" if result.answer is None else "executed"
