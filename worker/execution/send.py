"""One POST of a committed body and the record of its answer: what a first send and a resend have in common.

Nothing is sent without a lease that still has time, and nothing of a wallet that was halted. Every answer, and
every lack of one, is written down, however long the database is away: the attempt is committed, nothing is lost.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from worker.errors import DatabaseRefused, OrderIdMismatch, WorkerError
from worker.execution.doors import Doors
from worker.execution.inflight import InFlight
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.findings import told
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import Outcome, OutcomeKind, classify
from worker.orders.ports import Answer, AttemptRecord, Clock, Envelope, Exchange, Lease, Ledger
from worker.orders.terms import Fence, WalletAddress

log = structlog.get_logger(__name__)

NOTE_MOST = 300
_RECORD_BACKOFF_FIRST_S = 0.1
_RECORD_BACKOFF_MOST_S = 5.0


@dataclass(frozen=True, slots=True)
class Withheld:
    """Nothing may be sent now, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Sent:
    """One POST: what came back, what it means, and when."""

    answer: Answer
    outcome: Outcome
    sent_at: datetime
    answered_at: datetime
    answer_s: float

    @property
    def has_left(self) -> bool:
        """Whether a byte of it may have reached the exchange."""
        return self.answer.http_status is not None or self.answer.connected

    @property
    def note(self) -> str:
        """One line for the ledger: the answer's name, and its words."""
        words = f"{self.outcome.reason}: {self.answer.error}" if self.answer.error else self.outcome.reason
        return words[:NOTE_MOST]

    def record(self, envelope: Envelope, timing: Mapping[str, str]) -> AttemptRecord:
        state, fills = told(self.outcome, envelope.order_type), self.answer.fills
        return AttemptRecord(
            order_id=envelope.order_id,
            state=state,
            fills=fills,
            closed=bool(fills) and state is AttemptState.MATCHED,
            note=self.note,
            answer={
                **_facts(self.answer),
                "timing": {**timing, "answer_ms": milliseconds(self.answer_s)},
            },
            sent_at=self.sent_at if self.has_left else None,
            answered_at=self.answered_at if self.has_left else None,
            barred=self.outcome.kind in {OutcomeKind.KILLED, OutcomeKind.REFUSED},
        )


class Sender:
    """Shared by whoever sends; knows which wallets must not send any more and what is still under way."""

    def __init__(
        self, *, exchange: Exchange, ledger: Ledger, wallets: Wallets, clock: Clock, metrics: Metrics
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._wallets = wallets
        self._clock = clock
        self._metrics = metrics
        self.doors = Doors(clock)
        self.in_flight = InFlight()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """From now on nothing is claimed; what was claimed before is brought to its end."""
        self._closed = True

    @property
    def halted(self) -> Mapping[WalletAddress, str]:
        """Wallets that this process sends nothing for any more, and why. Only a restart by a human clears it."""
        return self.doors.halted

    def may_send(self, wallet: WalletAddress, *, under: Fence | None = None) -> Lease | Withheld:
        """The lease that allows to send for the wallet now; `under`: only if it has not changed hands since."""
        if (problem := self.halted.get(wallet)) is not None:
            return Withheld(problem)
        lease = self._wallets.lease(wallet)
        if lease is None:
            return Withheld("this worker holds no lease on the wallet")
        if under is not None and lease.fence != under:
            return Withheld("the lease on the wallet changed hands meanwhile")
        return lease

    async def send(self, envelope: Envelope, *, first_send: bool) -> Sent:
        """POST the body once. The caller has asked `may_send` just before, without an await in between."""
        sent_at, sent_s = self._clock.now(), self._clock.monotonic()
        answer = await self._exchange.submit(envelope)
        answer_s = self._clock.monotonic() - sent_s
        outcome = classify(answer, first_send=first_send)
        self._metrics.answers.labels(outcome.kind).inc()
        self._metrics.stage_s.labels("answer").observe(answer_s)
        sent = Sent(answer, outcome, sent_at, self._clock.now(), answer_s)
        self.doors.heard(envelope.wallet, outcome, order_id=envelope.order_id, sent_s=sent_s, words=sent.note)
        self._check(envelope, sent)
        return sent

    async def record(self, record: AttemptRecord) -> AttemptState:
        """Write it down, and try until it is written. Returns the state that the ledger holds then."""
        wait_s = _RECORD_BACKOFF_FIRST_S
        while True:
            try:
                return await self._ledger.record(record)
            except DatabaseRefused as error:
                # The attempt stays as it was; the look-ups will find what became of it.
                self._metrics.task_failures.labels("record").inc()
                log.error(
                    "order.answer_refused", order_id=record.order_id, state=record.state, error=str(error)
                )
                return AttemptState.SUBMITTING
            except WorkerError as error:
                self._metrics.task_failures.labels("record").inc()
                log.error(
                    "order.answer_not_recorded", order_id=record.order_id, error=str(error), again_in_s=wait_s
                )
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RECORD_BACKOFF_MOST_S)

    def _check(self, envelope: Envelope, sent: Sent) -> None:
        """Stop a wallet whose orders come back under another id, or that only a human can help."""
        theirs = sent.answer.order_id
        if theirs is not None and theirs != envelope.order_id:
            problem = str(
                OrderIdMismatch(f"The exchange calls order {envelope.order_id} by another id, {theirs}.")
            )
        elif sent.outcome.halts:
            problem = f"The exchange refuses every order of the wallet: {sent.note}."
        else:
            return
        self.doors.halt(envelope.wallet, sent.outcome.venue, problem)
        log.critical("trading.halted", wallet=envelope.wallet, order_id=envelope.order_id, problem=problem)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"


def _facts(answer: Answer) -> dict[str, Any]:
    """What the ledger keeps of an answer, numerics as text."""
    return {
        "http_status": answer.http_status,
        "status": answer.status,
        "error": answer.error[:NOTE_MOST],
        "making_amount": None if answer.making_amount is None else format(answer.making_amount, "f"),
        "taking_amount": None if answer.taking_amount is None else format(answer.taking_amount, "f"),
        "trade_ids": list(answer.trade_ids),
    }
