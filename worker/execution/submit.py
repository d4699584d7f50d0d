"""The only money path: door → lane → prepare → claim → POST → record.

The signed order and its id are committed by the claim before the first byte goes out; what was claimed is posted
shielded from cancellation; every answer, and every lack of one, is recorded. Nothing here signs twice, nothing is
claimed before a closed door, and nothing is posted without a place in the lane.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from worker.errors import WorkerError
from worker.execution.doors import SHORT_WAIT_S, Closed, Visit
from worker.execution.send import Sender, Sent, Withheld, milliseconds
from worker.execution.wallets import Wallets
from worker.observe.metrics import Metrics
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState
from worker.orders.outcomes import AnswerReason, OutcomeKind
from worker.orders.ports import (
    AttemptRecord,
    Before,
    Clock,
    Envelope,
    Exchange,
    Granted,
    Lease,
    Ledger,
    Refused,
    Stages,
)
from worker.orders.terms import Fence, WalletAddress

log = structlog.get_logger(__name__)

# What was claimed longer ago goes out only by leave: it may have been stopped meanwhile, or ended by a human, who has
# to see nobody work on it for a minute first.
_LEAVE_AFTER_S = 1.0
# An order that the exchange did not process for a reason of its own, while it takes others, goes again after a while.
_AGAIN_FIRST_S = 0.25
_AGAIN_MOST_S = 4.0
# Until leave is asked again of a database that does not answer; and a leave that took longer to come is asked afresh.
_LEAVE_AGAIN_S = 0.25
_LEAVE_WITHIN_S = 1.0
# The exchange takes no GTD order that ends within three minutes, by its own clock: its body goes out no later.
GTD_LEAD = timedelta(seconds=185)


class Lane(Protocol):
    """A budget of requests, first come, first served."""

    async def take(self) -> None:
        """Return when one more call fits the budget."""
        ...

    async def give_way(self, rank: float) -> None:
        """Return when a call that can wait may be begun; the lowest rank first."""
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
    stages: Stages
    received: Received
    fresh_until: datetime
    prepare_s: float
    lane_s: float
    patient: bool
    after: Before | None
    may_redecide: bool


@dataclass(frozen=True, slots=True)
class _Stays:
    """Why a committed order does not go out now. `for_good`: it never will; else the look-ups go on with it.

    `stopped`: nor does another one in its place.
    """

    why: str
    for_good: bool
    stopped: bool = False


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
        sender: Sender,
        exchange: Exchange,
        ledger: Ledger,
        wallets: Wallets,
        lane_of: Callable[[WalletAddress], Lane],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._sender = sender
        self._exchange = exchange
        self._ledger = ledger
        self._wallets = wallets
        self._lane_of = lane_of
        self._clock = clock
        self._metrics = metrics

    async def execute(
        self,
        plan: Plan,
        received: Received,
        *,
        decided_at: datetime,
        fresh_until: datetime,
        patient: bool = False,
        after: Before | None = None,
        may_redecide: bool = False,
    ) -> Executed | Refused | NotSent | Closed:
        """Carry one plan out. `fresh_until`: after it, a plan that was made on a fresh signal is made anew.

        `patient`: it lets the claims of those in a hurry go first. `after`, `may_redecide`: as for `Ledger.claim`.
        `Closed`: as `NotSent`, because of the exchange.
        """
        wallet = plan.strategy.wallet_address
        lane_from_s = self._clock.monotonic()
        await self._lane_of(wallet).take()
        lane_s = self._clock.monotonic() - lane_from_s
        if (closed := self.closed(wallet, fresh_until)) is not None:
            return closed
        if isinstance(withheld := self._withheld(wallet, fresh_until), NotSent):
            return withheld
        prepare_from_s = self._clock.monotonic()
        envelope = await self._exchange.prepare(wallet, plan)
        if envelope.expires_at is not None:
            fresh_until = min(fresh_until, envelope.expires_at - GTD_LEAD)
        stages = Stages(received_at=received.at, decided_at=decided_at, prepared_at=self._clock.now())
        order = _Order(
            plan,
            envelope,
            stages,
            received,
            fresh_until,
            self._clock.monotonic() - prepare_from_s,
            lane_s,
            patient,
            after,
            may_redecide,
        )
        # From the claim on nothing may be cut off: what is committed is sent or proved unsent.
        return await self._sender.in_flight.shielded(self._claim_and_post(order), name=envelope.order_id)

    def closed(self, wallet: WalletAddress, fresh_until: datetime) -> Closed | None:
        """Why no order that is good until then would pass the exchange's door now, nor in a moment."""
        return self._sender.doors.closed(wallet, patience_s=self._left_s(fresh_until))

    def _left_s(self, fresh_until: datetime) -> float:
        return (fresh_until - self._clock.now()).total_seconds()

    def _withheld(self, wallet: WalletAddress, fresh_until: datetime) -> Lease | NotSent:
        """The lease to claim under, or why nothing is claimed."""
        if self._sender.is_closed:
            return NotSent("the worker is stopping")
        if self._clock.now() > fresh_until:
            return NotSent("the signal grew old while it waited for a place", stale=True)
        allowed = self._sender.may_send(wallet)
        return NotSent(allowed.why) if isinstance(allowed, Withheld) else allowed

    async def _claim_and_post(self, order: _Order) -> Executed | Refused | NotSent | Closed:
        patience_s = self._left_s(order.fresh_until)
        with self._sender.doors.visit(order.envelope.wallet, patience_s=patience_s) as visit:
            return await self._claim_and_post_at(visit, order)

    async def _claim_and_post_at(self, visit: Visit, order: _Order) -> Executed | Refused | NotSent | Closed:
        envelope, asked_s = order.envelope, self._clock.monotonic()
        async with self._wallets.claims(envelope.wallet, patient=order.patient):
            closed = self.closed(envelope.wallet, order.fresh_until) or await visit.enter(
                within_s=SHORT_WAIT_S
            )
            if closed is not None:
                return closed
            # The waits may have outlasted a lease or the signal's freshness: asked afresh.
            lease = self._withheld(envelope.wallet, order.fresh_until)
            if isinstance(lease, NotSent):
                return lease
            claim_from_s = self._clock.monotonic()
            claim = await self._ledger.claim(
                order.plan,
                envelope,
                lease,
                order.stages,
                after=order.after,
                may_redecide=order.may_redecide,
            )
        claim_s = self._clock.monotonic() - asked_s
        if isinstance(claim, Refused):
            return claim
        visit.claimed()
        timing = {
            "own_ms": milliseconds(
                self._clock.monotonic() - order.received.monotonic_s - order.lane_s - claim_s
            ),
            "lane_ms": milliseconds(order.lane_s),
            "prepare_ms": milliseconds(order.prepare_s),
            "claim_ms": milliseconds(claim_s),
        }
        self._metrics.stage_s.labels("prepare").observe(order.prepare_s)
        self._metrics.stage_s.labels("claim").observe(claim_s)
        answer, state = await self._post(visit, order, lease.fence, claim_from_s, timing)
        return Executed(order.envelope, claim, answer, state)

    async def _post(
        self, visit: Visit, order: _Order, fence: Fence, claimed_s: float, timing: Mapping[str, str]
    ) -> tuple[AnswerReason | None, AttemptState]:
        """Send the committed body; again, as long as its signal is fresh, while it is proved that nothing was done."""
        envelope = order.envelope
        sent: Sent | None = None
        posted: Sent | None = None
        again_in_s = _AGAIN_FIRST_S
        while True:
            stays = await self._stays(visit, order, fence, sent, claimed_s)
            if stays is not None:
                reason = sent.outcome.reason if sent else None
                if stays.for_good:
                    return reason, await self._abandon(envelope, stays, posted)
                log.warning("order.left", order_id=envelope.order_id, why=stays.why)
                return reason, AttemptState.SUBMITTING
            sent = await self._sender.send(envelope, first_send=True)
            if sent.outcome.kind is not OutcomeKind.NOT_SENT:
                return sent.outcome.reason, await self._sender.record(_told(sent, posted, envelope, timing))
            posted = sent if sent.has_left else posted
            log.warning("order.not_sent", order_id=envelope.order_id, why=sent.note)
            if sent.outcome.venue is None:
                pause_s = max(again_in_s, float(sent.outcome.retry_after_s or 0))
                if pause_s > self._left_s(order.fresh_until):
                    stays = _Stays(sent.note, for_good=True)
                    return sent.outcome.reason, await self._abandon(envelope, stays, posted)
                await visit.away(pause_s)
                again_in_s = min(again_in_s * 2, _AGAIN_MOST_S)

    async def _stays(
        self, visit: Visit, order: _Order, fence: Fence, sent: Sent | None, claimed_s: float
    ) -> _Stays | None:
        """What keeps it back, once the door and the lane have let it pass. `sent`: how it was turned away before."""
        envelope, has_place = order.envelope, sent is None and not visit.waited
        while True:
            kept_out = await self._kept_out(visit, order, has_place=has_place)
            if kept_out is not None:
                return _Stays(sent.note if sent else kept_out, for_good=True)
            asked_s = self._clock.monotonic()
            if sent is not None or asked_s - claimed_s >= _LEAVE_AFTER_S:
                stays = await self._refused_leave(order)
                if stays is not None:
                    return stays
            if self._clock.monotonic() - asked_s <= _LEAVE_WITHIN_S:
                break
            has_place = False  # of those that waited for the database not all go at once
        # The waits may have outlasted freshness and lease; from here to the send nothing is awaited.
        is_old = self._clock.now() > order.fresh_until
        allowed = self._sender.may_send(envelope.wallet, under=fence)
        if isinstance(allowed, Withheld):
            # Whoever holds the wallet now looks it up and sends this same body while the signal is fresh.
            return _Stays(allowed.why, for_good=is_old)
        return _Stays("the signal grew old on its way", for_good=True) if is_old else None

    async def _refused_leave(self, order: _Order) -> _Stays | None:
        """Whether it was stopped or ended since it was claimed. Without a word of it, the look-ups go on with it."""
        while True:
            try:
                leave = await self._ledger.allow_resend(order.envelope.order_id)
            except WorkerError as error:
                if self._left_s(order.fresh_until) <= _LEAVE_AGAIN_S:
                    return _Stays(str(error), for_good=False)
                log.warning("order.leave_unasked", order_id=order.envelope.order_id, error=str(error))
                await asyncio.sleep(_LEAVE_AGAIN_S)
                continue
            return _Stays(leave.why, for_good=not leave.is_over, stopped=True) if leave.why else None

    async def _kept_out(self, visit: Visit, order: _Order, *, has_place: bool) -> str | None:
        """Wait for the door, and for a place in the lane behind it; or why the order is not sent any more.

        `has_place`: it stands in the lane already, and has waited for nothing since.
        """
        while True:
            visit.waited = False
            if (closed := await visit.enter(within_s=self._left_s(order.fresh_until))) is not None:
                return closed.words
            if has_place and not visit.waited:
                return None
            await self._lane_of(order.envelope.wallet).take()
            if self._clock.now() > order.fresh_until:
                return "the signal grew old at the exchange's door"
            has_place = True

    async def _abandon(self, envelope: Envelope, stays: _Stays, posted: Sent | None) -> AttemptState:
        """Give up what the exchange has not processed; only the process that may have sent it can say so.

        `posted`: the last time that its body went out. Where it did, no other order is ever signed for what is left.
        """
        log.warning("order.abandoned", order_id=envelope.order_id, why=stays.why, posted=posted is not None)
        given_up = AttemptRecord(
            envelope.order_id, AttemptState.ABANDONED, stays.why, closed=True, barred=stays.stopped
        )
        if posted is not None:
            answer = posted.record(envelope, timing={}).answer
            given_up = replace(
                given_up, answer=answer, sent_at=posted.sent_at, answered_at=posted.answered_at
            )
        return await self._sender.record(given_up)


def _told(sent: Sent, posted: Sent | None, envelope: Envelope, timing: Mapping[str, str]) -> AttemptRecord:
    """The answer; of one that never left, with the time at which the body had gone out before."""
    told = sent.record(envelope, timing)
    return told if sent.has_left or posted is None else replace(told, sent_at=posted.sent_at)
