"""The only money path: lane → prepare → claim → POST → record.

The signed order and its id are committed by the claim before the first byte goes out; what was claimed is posted
shielded from cancellation; every answer, and every lack of one, is recorded. Nothing here signs twice.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from worker.errors import DatabaseError, DatabaseUnreachable, OrderIdMismatch
from worker.execution.inflight import InFlight
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import AnswerReason, Outcome, OutcomeKind, classify
from worker.orders.ports import (
    Answer,
    AttemptRecord,
    Clock,
    Envelope,
    Exchange,
    Granted,
    Lease,
    Ledger,
    Refused,
    Stages,
)
from worker.orders.terms import WalletAddress

log = structlog.get_logger(__name__)

_RECORD_BACKOFF_MOST_S = 5.0
_RESEND_BACKOFF_S = (0.05, 0.2, 0.5, 1.0, 2.0)
_NOTE_MOST = 300


class Lane(Protocol):
    """A budget of requests, first come, first served."""

    async def take(self) -> None:
        """Return when one more call fits the budget."""
        ...


@dataclass(frozen=True, slots=True)
class Received:
    """When a signal reached this process. `monotonic_s` starts its own time."""

    at: datetime
    monotonic_s: float

    @classmethod
    def now(cls, clock: Clock) -> "Received":
        return cls(at=clock.now(), monotonic_s=clock.monotonic())


@dataclass(frozen=True, slots=True)
class _Order:
    """One plan on its way, from its signature to its answer."""

    plan: Plan
    envelope: Envelope
    lease: Lease
    stages: Stages
    received: Received
    fresh_until: datetime
    prepare_s: float
    lane_s: float


@dataclass(frozen=True, slots=True)
class Executed:
    envelope: Envelope
    granted: Granted
    answer: AnswerReason | None  # None: nothing was sent
    state: AttemptState


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing was claimed and nothing was sent; the pair stays work."""

    why: str
    stale: bool = False  # the wait for a place outlasted the signal's freshness: decide again


class Submitter:
    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        wallets: Wallets,
        lane_of: Callable[[WalletAddress], Lane],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._wallets = wallets
        self._lane_of = lane_of
        self._clock = clock
        self._metrics = metrics
        self._halted: dict[WalletAddress, str] = {}
        self.in_flight = InFlight()

    @property
    def halted(self) -> Mapping[WalletAddress, str]:
        """Wallets that this process sends nothing for any more, and why. Only a restart by a human clears it."""
        return self._halted

    async def execute(
        self, plan: Plan, received: Received, *, decided_at: datetime, fresh_until: datetime
    ) -> Executed | Refused | NotSent:
        """Carry one plan out. `fresh_until`: after it, a plan that was made on a fresh signal is made anew."""
        wallet = plan.strategy.wallet_address
        lane_from_s = self._clock.monotonic()
        await self._lane_of(wallet).take()
        lane_s = self._clock.monotonic() - lane_from_s
        if self._clock.now() > fresh_until:
            return NotSent("the signal grew old while it waited for a place", stale=True)
        lease = self._wallets.lease(wallet)
        if wallet in self._halted:
            return NotSent(self._halted[wallet])
        if lease is None:
            return NotSent("this worker holds no lease on the wallet")
        prepare_from_s = self._clock.monotonic()
        envelope = await self._exchange.prepare(wallet, plan)
        stages = Stages(received_at=received.at, decided_at=decided_at, prepared_at=self._clock.now())
        order = _Order(
            plan,
            envelope,
            lease,
            stages,
            received,
            fresh_until,
            self._clock.monotonic() - prepare_from_s,
            lane_s,
        )
        # From the claim on nothing may be cut off: what is committed is sent or proved unsent.
        return await self.in_flight.shielded(self._claim_and_post(order), name=f"submit {envelope.order_id}")

    async def _claim_and_post(self, order: _Order) -> Executed | Refused:
        asked_s = self._clock.monotonic()
        async with self._wallets.claims(order.envelope.wallet):
            claim = await self._ledger.claim(order.plan, order.envelope, order.lease, order.stages)
        claim_s = self._clock.monotonic() - asked_s
        if isinstance(claim, Refused):
            return claim
        timing = {
            "own_ms": _ms(self._clock.monotonic() - order.received.monotonic_s - order.lane_s - claim_s),
            "lane_ms": _ms(order.lane_s),
            "prepare_ms": _ms(order.prepare_s),
            "claim_ms": _ms(claim_s),
        }
        self._metrics.stage_s.labels("prepare").observe(order.prepare_s)
        self._metrics.stage_s.labels("claim").observe(claim_s)
        answer, state = await self._post(order, timing)
        return Executed(order.envelope, claim, answer, state)

    async def _post(
        self, order: _Order, timing: Mapping[str, Any]
    ) -> tuple[AnswerReason | None, AttemptState]:
        """Send the committed body; again only while it is proved that no byte of it was processed."""
        envelope = order.envelope
        backoff_s = iter(_RESEND_BACKOFF_S)
        while True:
            if not self._wallets.may_send(order.lease):
                return None, await self._abandon(envelope, "the lease ended before the order was sent")
            sent_at, sent_s = self._clock.now(), self._clock.monotonic()
            answer = await self._exchange.submit(envelope)
            answer_s = self._clock.monotonic() - sent_s
            outcome = classify(answer, first_send=True)
            self._metrics.answers.labels(outcome.kind).inc()
            self._metrics.stage_s.labels("answer").observe(answer_s)
            self._check(envelope, answer, outcome)
            if outcome.kind is not OutcomeKind.NOT_SENT:
                break
            wait_s = next(backoff_s, None)
            if wait_s is None or outcome.halts or self._clock.now() > order.fresh_until:
                return outcome.reason, await self._abandon(envelope, _note(outcome, answer))
            wait_s = max(wait_s, float(outcome.retry_after_s or 0))
            log.warning("order.not_sent", order_id=envelope.order_id, why=outcome.reason, again_in_s=wait_s)
            await asyncio.sleep(wait_s)
        record = AttemptRecord(
            order_id=envelope.order_id,
            state=outcome.next_state,
            note=_note(outcome, answer),
            answer={**_facts(answer), "timing": {**timing, "answer_ms": _ms(answer_s)}},
            sent_at=sent_at,
            answered_at=self._clock.now(),
        )
        return outcome.reason, await self._record(record)

    async def _abandon(self, envelope: Envelope, why: str) -> AttemptState:
        """Only the process that did not send may say so."""
        log.warning("order.abandoned", order_id=envelope.order_id, why=why)
        return await self._record(
            AttemptRecord(order_id=envelope.order_id, state=AttemptState.ABANDONED, note=why, closed=True)
        )

    async def _record(self, record: AttemptRecord) -> AttemptState:
        """Write the answer down, however long the database is away: the attempt is committed, nothing is lost."""
        wait_s = 0.1
        while True:
            try:
                return await self._ledger.record(record)
            except DatabaseUnreachable as error:
                log.error(
                    "order.answer_not_recorded", order_id=record.order_id, error=str(error), again_in_s=wait_s
                )
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RECORD_BACKOFF_MOST_S)
            except DatabaseError as error:
                # The attempt stays as it was claimed; the look-ups will find what became of it.
                log.error(
                    "order.answer_refused", order_id=record.order_id, state=record.state, error=str(error)
                )
                return AttemptState.SUBMITTING

    def _check(self, envelope: Envelope, answer: Answer, outcome: Outcome) -> None:
        """Stop a wallet whose orders come back under another id, or that only a human can help."""
        if answer.order_id is not None and answer.order_id != envelope.order_id:
            problem = str(
                OrderIdMismatch(
                    f"The exchange calls order {envelope.order_id} by another id, {answer.order_id}."
                )
            )
        elif outcome.halts:
            problem = f"The exchange refuses every order of the wallet: {_note(outcome, answer)}."
        else:
            return
        self._halted[envelope.wallet] = problem
        log.critical("trading.halted", wallet=envelope.wallet, order_id=envelope.order_id, problem=problem)


def _note(outcome: Outcome, answer: Answer) -> str:
    return f"{outcome.reason}: {answer.error}"[:_NOTE_MOST] if answer.error else str(outcome.reason)


def _facts(answer: Answer) -> dict[str, Any]:
    """What the ledger keeps of an answer, numerics as text."""
    return {
        "http_status": answer.http_status,
        "status": answer.status,
        "error": answer.error[:_NOTE_MOST],
        "making_amount": None if answer.making_amount is None else format(answer.making_amount, "f"),
        "taking_amount": None if answer.taking_amount is None else format(answer.taking_amount, "f"),
        "trade_ids": list(answer.trade_ids),
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
