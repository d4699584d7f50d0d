"""An attempt whose end is not known: look it up, adopt what the exchange says, never guess.

One mechanism for a lost answer, a crash, a takeover and an order that is still working. "Not found" is written
down and proves nothing: while the signal is fresh the identical body goes again, bounded; then the attempt is
`unknown`, is looked up on and on, shown to the operator, and given up as `lost` only by the rule.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from worker.errors import DatabaseRefused
from worker.execution.send import Sender, Withheld
from worker.execution.submit import GTD_LEAD, Lane
from worker.orders.findings import Booked, Finding, absent, found
from worker.orders.lifecycle import ALIVE, AttemptState, FillState
from worker.orders.outcomes import OutcomeKind
from worker.orders.ports import (
    Attempt,
    AttemptRecord,
    Clock,
    Exchange,
    Fill,
    Ledger,
    LookupFinding,
    LostRule,
    OrderView,
)
from worker.orders.terms import OrderId, WalletAddress

log = structlog.get_logger(__name__)

# Alive, and nobody knows whether it exists.
IN_DOUBT = frozenset({AttemptState.SUBMITTING, AttemptState.UNKNOWN})
# Over, and closed only once every trade of it is booked.
_TO_BE_BOOKED = frozenset({AttemptState.MATCHED, AttemptState.CANCELLED})
# What is said when an order is not found, by the state that comes of it.
_GIVEN_UP = {
    AttemptState.UNKNOWN: "order.outcome_unknown",
    AttemptState.LOST: "order.lost",
    AttemptState.CANCELLED: "order.remainder_lost",
}
# A resend waits for its place, its answer, and for a database that is away: the other look-ups do not wait with it.
_RESEND_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Resolution:
    state: AttemptState
    settled: bool  # nothing more can be learned: closed, and every fill final or reversed
    unbooked: bool = False  # it is over, and the trades that can be seen are not all that it came to

    @property
    def is_over(self) -> bool:
        """Nothing more of it can trade, and what did is booked."""
        return self.state not in ALIVE and not self.unbooked


@dataclass(frozen=True, slots=True)
class DoubtPolicy:
    """What may be done about an order that the exchange does not know (yet)."""

    resend_for: timedelta  # the identical body may go again while its signal is younger than this
    sends_most: int
    lost: LostRule


class Resolver:
    def __init__(
        self,
        *,
        exchange: Exchange,
        ledger: Ledger,
        sender: Sender,
        lane_of: Callable[[WalletAddress], Lane],
        clock: Clock,
        policy: DoubtPolicy,
    ) -> None:
        self._exchange = exchange
        self._ledger = ledger
        self._sender = sender
        self._lane_of = lane_of
        self._clock = clock
        self._policy = policy
        self._told_late: dict[OrderId, frozenset[Fill]] = {}

    async def settle(
        self, wallet: WalletAddress, attempts: Sequence[Attempt], *, on_step: Callable[[], None]
    ) -> Mapping[OrderId, Resolution]:
        """Book the trades of matched attempts, all of a wallet's in one reading; what is new is recorded.

        What the database refuses to book is left out of the answer. `on_step`: called after each attempt.
        Raises `ExchangeUnreachable` or `DatabaseUnreachable`.
        """
        fills = await self._exchange.fills(
            wallet,
            [attempt.envelope.order_id for attempt in attempts],
            since=min(attempt.created_at for attempt in attempts),
        )
        resolutions = {}
        for attempt in attempts:
            order_id = attempt.envelope.order_id
            try:
                resolutions[order_id] = await self._book(attempt, fills.get(order_id, ()))
            except DatabaseRefused as error:
                log.error("order.trades_refused", order_id=order_id, error=str(error))
            on_step()
        return resolutions

    async def _book(self, attempt: Attempt, fills: Sequence[Fill]) -> Resolution:
        booked = Booked.of(fills, attempt.stated_shares)
        if booked != Booked(attempt.filled_shares, attempt.final_shares, closed=attempt.closed):
            await self._ledger.record(
                AttemptRecord(
                    order_id=attempt.envelope.order_id,
                    state=attempt.state,
                    note="trades read",
                    fills=tuple(fills),
                    closed=booked.closed,
                    lookup=LookupFinding.FOUND,
                    answered_at=self._clock.now(),
                )
            )
        settled = booked.closed and booked.filled_shares == booked.final_shares
        return Resolution(attempt.state, settled, unbooked=not (booked.closed or attempt.closed))

    async def glance(
        self, wallet: WalletAddress, attempts: Sequence[Attempt]
    ) -> Mapping[OrderId, Resolution]:
        """Those that stand on the book, untouched since they were looked up: all of a wallet's in one reading.

        Whatever is not in the answer has to be looked up by itself. Raises `ExchangeUnreachable`.
        """
        standing = await self._exchange.open_orders(wallet)
        return {
            attempt.envelope.order_id: Resolution(attempt.state, settled=False)
            for attempt in attempts
            if standing.get(attempt.envelope.order_id) == attempt.filled_shares
        }

    async def resolve(self, attempt: Attempt) -> Resolution:
        """One look-up, recorded, and what follows from it.

        Raises `ExchangeUnreachable`: a failed look-up is not a "not found".
        """
        view = await self._exchange.lookup(
            attempt.envelope.wallet, attempt.envelope.order_id, since=attempt.created_at
        )
        if view.found:
            return await self._adopt(attempt, view)
        if not view.fills and attempt.state in IN_DOUBT and self._may_resend(attempt):
            resending = self._resend(attempt)
            try:
                async with asyncio.timeout(_RESEND_WITHIN_S):
                    state = await self._sender.in_flight.shielded(resending, name=attempt.envelope.order_id)
            except TimeoutError:
                # It goes on by itself, and nobody looks the order up until its answer is written down.
                return Resolution(attempt.state, settled=False)
            if state is not None:
                return Resolution(state, settled=False)
        return await self._note_absence(attempt, view)

    async def _adopt(self, attempt: Attempt, view: OrderView) -> Resolution:
        """The exchange knows it: what it says is what is."""
        finding = found(attempt, view)
        note = f"looked up: {view.status.lower()}"
        resolution = await self._record(attempt, view, finding, LookupFinding.FOUND, note)
        if finding.call_off:
            await self._call_off(attempt)
        return resolution

    async def _note_absence(self, attempt: Attempt, view: OrderView) -> Resolution:
        """Write down that the exchange said "not found". Only often enough, and for long enough, is it given up."""
        now = self._clock.now()
        by_rule = self._policy.lost.holds(
            attempt.not_found + 1, since=attempt.not_found_since or now, until=now
        )
        finding = absent(attempt, view, by_rule=by_rule)
        if finding.state is not attempt.state and finding.state in _GIVEN_UP:
            log.error(
                _GIVEN_UP[finding.state],
                order_id=attempt.envelope.order_id,
                strategy_id=attempt.strategy_id,
                was=attempt.state,
                state=finding.state,
                not_found=attempt.not_found + 1,
                fix=f"polycopy-worker resolve {attempt.envelope.order_id}, if you know better",
            )
        note = "looked up: by its trades" if view.fills else "looked up: not found"
        return await self._record(attempt, view, finding, LookupFinding.NOT_FOUND, note)

    async def _record(
        self, attempt: Attempt, view: OrderView, finding: Finding, lookup: LookupFinding, note: str
    ) -> Resolution:
        fills = frozenset(view.fills)
        state = await self._ledger.record(
            AttemptRecord(
                order_id=attempt.envelope.order_id,
                state=finding.state,
                note=note,
                # Each telling of a trade that came too late alarms.
                fills=() if self._told_late.get(attempt.envelope.order_id) == fills else view.fills,
                closed=finding.closed,
                lookup=lookup,
                answered_at=self._clock.now(),
                # It had been taken in: whatever became of it, its body has had its chance.
                barred=attempt.state not in IN_DOUBT and finding.state is AttemptState.UNKNOWN,
                lost_rule=self._policy.lost,
            )
        )
        if attempt.is_watched and fills:
            self._told_late[attempt.envelope.order_id] = fills
        provisional = any(fill.state is FillState.PROVISIONAL for fill in view.fills)
        unbooked = state in _TO_BE_BOOKED and not (finding.closed or attempt.closed)
        settled = finding.closed and not provisional and not attempt.is_watched
        return Resolution(state, settled=settled, unbooked=unbooked)

    async def _call_off(self, attempt: Attempt) -> None:
        """Cancel what stands on the book and must not; the next look-up tells what it came to."""
        order_id = attempt.envelope.order_id
        cancelled = await self._exchange.cancel(attempt.envelope.wallet, order_id)
        given_up = attempt.is_watched or attempt.state is AttemptState.LOST
        (log.critical if given_up else log.warning)(
            "order.called_off",
            order_id=order_id,
            strategy_id=attempt.strategy_id,
            was=attempt.state,
            why="it was given up, and is alive" if given_up else "it must not rest on the book, and does",
            cancelled=cancelled,
        )

    def _may_resend(self, attempt: Attempt) -> bool:
        """The identical body, while it is worth it and no answer has forbidden it."""
        now = self._clock.now()
        born = attempt.signal_created_at or attempt.created_at
        expires_at = attempt.envelope.expires_at
        return (
            not attempt.barred
            and attempt.sends < self._policy.sends_most
            and now - born < self._policy.resend_for
            and (expires_at is None or now < expires_at - GTD_LEAD)
        )

    async def _resend(self, attempt: Attempt) -> AttemptState | None:
        """Send the committed body once more; None if nothing went out, which uses up none of its sends.

        Its answer proves nothing about the send before: trades decide. It does not wait at a shut door: it is looked
        up again anyway.
        """
        with self._sender.doors.visit(attempt.envelope.wallet) as visit:
            if (closed := await visit.enter(within_s=0)) is not None:
                log.warning("order.not_resent", order_id=attempt.envelope.order_id, why=closed.words)
                return None
            return await self._resend_at_the_door(attempt)

    async def _resend_at_the_door(self, attempt: Attempt) -> AttemptState | None:
        envelope = attempt.envelope
        await self._lane_of(envelope.wallet).take()
        # A human may have ended it since it was read, and the wait may have outlasted its freshness or the lease.
        why = (await self._ledger.allow_resend(envelope.order_id)).why
        if not why and not self._may_resend(attempt):
            why = "it grew too old while it waited for a place"
        if not why and isinstance(allowed := self._sender.may_send(envelope.wallet), Withheld):
            why = allowed.why
        if why:
            log.warning("order.not_resent", order_id=envelope.order_id, why=why)
            return None
        log.warning("order.resent", order_id=envelope.order_id, sends=attempt.sends + 1, was=attempt.state)
        sent = await self._sender.send(envelope, first_send=False)
        if sent.outcome.kind is OutcomeKind.NOT_SENT:
            log.warning("order.not_resent", order_id=envelope.order_id, why=sent.note)
            return None
        return await self._sender.record(sent.record(envelope, timing={}))
