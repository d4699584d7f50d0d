"""An attempt whose end is not known: look it up, adopt what the exchange says, never guess.

One mechanism for a lost answer, a crash, a takeover and an order that is still working. "Not found" is written
down and proves nothing: while the signal is fresh the identical body goes again, bounded; then the attempt is
`unknown`, is looked up on and on, shown to the operator, and given up as `lost` only by the rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import structlog

from worker.execution.send import Sender, Withheld
from worker.execution.submit import Lane
from worker.orders.lifecycle import AttemptState, FillState, allowed
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
# Taken in and not on the book: the exchange forgets such an order when nothing comes of it.
_IN_HOLD = frozenset({AttemptState.DELAYED, AttemptState.UNMATCHED})
# The exchange drops a GTD order a minute before its time, and the answer takes a while.
_EXPIRY_MARGIN = timedelta(seconds=90)
DUST_SHARES = Decimal("0.01")  # amounts in answers are cut off, those of trades are not

# How the exchange names the states of an order it knows.
_STATES = {
    "LIVE": AttemptState.LIVE,
    "DELAYED": AttemptState.DELAYED,
    "UNMATCHED": AttemptState.UNMATCHED,
    "MATCHED": AttemptState.MATCHED,
    "CANCELED": AttemptState.CANCELLED,
    "CANCELED_MARKET_RESOLVED": AttemptState.CANCELLED,
    "INVALID": AttemptState.REJECTED,
}


@dataclass(frozen=True, slots=True)
class Resolution:
    state: AttemptState
    settled: bool  # nothing more can be learned: closed, and every fill final or reversed


@dataclass(frozen=True, slots=True)
class _Booked:
    """What the trades of an attempt amount to; closed once they are all that the answer had stated."""

    filled_shares: Decimal
    final_shares: Decimal
    closed: bool

    @classmethod
    def of(cls, fills: Sequence[Fill], stated_shares: Decimal | None) -> "_Booked":
        seen = sum((fill.shares for fill in fills), Decimal(0))
        filled = sum((fill.shares for fill in fills if fill.state is not FillState.REVERSED), Decimal(0))
        final = sum((fill.shares for fill in fills if fill.state is FillState.FINAL), Decimal(0))
        return cls(filled, final, closed=stated_shares is not None and stated_shares - seen <= DUST_SHARES)


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

    async def settle(
        self, wallet: WalletAddress, attempts: Sequence[Attempt]
    ) -> Mapping[OrderId, Resolution]:
        """Book the trades of matched attempts, all of a wallet's in one reading; what is new is recorded.

        Raises `ExchangeUnreachable`.
        """
        fills = await self._exchange.fills(
            wallet,
            [attempt.envelope.order_id for attempt in attempts],
            since=min(attempt.created_at for attempt in attempts),
        )
        resolutions = {}
        for attempt in attempts:
            order_id = attempt.envelope.order_id
            booked = _Booked.of(fills.get(order_id, ()), attempt.stated_shares)
            if booked != _Booked(attempt.filled_shares, attempt.final_shares, closed=attempt.closed):
                await self._ledger.record(
                    AttemptRecord(
                        order_id=order_id,
                        state=attempt.state,
                        note="trades read",
                        fills=tuple(fills.get(order_id, ())),
                        closed=booked.closed,
                        lookup=LookupFinding.FOUND,
                        answered_at=self._clock.now(),
                    )
                )
            settled = booked.closed and booked.filled_shares == booked.final_shares
            resolutions[order_id] = Resolution(attempt.state, settled)
        return resolutions

    async def resolve(self, attempt: Attempt) -> Resolution:
        """One look-up, recorded, and what follows from it.

        Raises `ExchangeUnreachable`: a failed look-up is not a "not found".
        """
        view = await self._exchange.lookup(
            attempt.envelope.wallet, attempt.envelope.order_id, since=attempt.created_at
        )
        if view.found or view.fills:
            return await self._adopt(attempt, view)
        if attempt.state not in IN_DOUBT or not self._may_resend(attempt):
            return await self._note_absence(attempt)
        return await self._sender.in_flight.shielded(self._resend(attempt), name=attempt.envelope.order_id)

    async def _adopt(self, attempt: Attempt, view: OrderView) -> Resolution:
        """The exchange knows it: what it says is what is."""
        state = _state_of(attempt, view)
        closed = _is_complete(state, view)
        seen_shares = sum((fill.shares for fill in view.fills), Decimal(0))
        if attempt.closed and seen_shares > attempt.filled_shares:
            log.error("order.late_fill", order_id=attempt.envelope.order_id, was=attempt.state)
        recorded = await self._ledger.record(
            AttemptRecord(
                order_id=attempt.envelope.order_id,
                state=state,
                note=f"looked up: {view.status.lower() or 'by its trades'}",
                fills=view.fills,
                closed=closed,
                lookup=LookupFinding.FOUND,
                answered_at=self._clock.now(),
            )
        )
        provisional = any(fill.state is FillState.PROVISIONAL for fill in view.fills)
        return Resolution(recorded, settled=closed and not provisional)

    async def _note_absence(self, attempt: Attempt) -> Resolution:
        """Write down that the exchange said "not found". Only often enough, and for long enough, is it given up."""
        now = self._clock.now()
        state = AttemptState.UNKNOWN if attempt.state is AttemptState.SUBMITTING else attempt.state
        since = attempt.not_found_since or now
        if self._policy.lost.holds(attempt.not_found + 1, since=since, until=now):
            if state is AttemptState.UNKNOWN:
                state = AttemptState.LOST
            elif state in _IN_HOLD:
                state = AttemptState.UNKNOWN
        if state is not attempt.state:
            log.error(
                "order.lost" if state is AttemptState.LOST else "order.outcome_unknown",
                order_id=attempt.envelope.order_id,
                strategy_id=attempt.strategy_id,
                was=attempt.state,
                not_found=attempt.not_found + 1,
                fix=f"polycopy-worker resolve {attempt.envelope.order_id}, if you know better",
            )
        recorded = await self._ledger.record(
            AttemptRecord(
                order_id=attempt.envelope.order_id,
                state=state,
                note="looked up: not found",
                lookup=LookupFinding.NOT_FOUND,
                answered_at=now,
                # It had been answered: whatever became of it, its body has had its chance.
                barred=attempt.state in _IN_HOLD and state is AttemptState.UNKNOWN,
                lost_rule=self._policy.lost,
            )
        )
        return Resolution(recorded, settled=False)

    def _may_resend(self, attempt: Attempt) -> bool:
        """The identical body, while it is worth it and no answer has forbidden it."""
        now = self._clock.now()
        born = attempt.signal_created_at or attempt.created_at
        expires_at = attempt.envelope.expires_at
        return (
            not attempt.barred
            and attempt.sends < self._policy.sends_most
            and now - born < self._policy.resend_for
            and (expires_at is None or now < expires_at - _EXPIRY_MARGIN)
        )

    async def _resend(self, attempt: Attempt) -> Resolution:
        """Send the committed body once more. Its answer proves nothing about the send before: trades decide."""
        envelope = attempt.envelope
        await self._lane_of(envelope.wallet).take()
        allowed = self._sender.may_send(envelope.wallet)
        if isinstance(allowed, Withheld):
            log.warning("order.not_resent", order_id=envelope.order_id, why=allowed.why)
            return Resolution(attempt.state, settled=False)
        log.warning("order.resent", order_id=envelope.order_id, sends=attempt.sends + 1, was=attempt.state)
        sent = await self._sender.send(envelope, first_send=False)
        state = await self._sender.record(sent.record(envelope, timing={}))
        return Resolution(state, settled=False)


def _state_of(attempt: Attempt, view: OrderView) -> AttemptState:
    """What an attempt of which the exchange knows is now. Trades speak louder than the order's own status."""
    # Trades say that an order exists; of one that rests they do not say that nothing of it is left on the book.
    traded = AttemptState.LIVE if attempt.envelope.order_type.rests else AttemptState.MATCHED
    known = _STATES.get(view.status, AttemptState.UNKNOWN) if view.found else traded
    if view.fills and known in {AttemptState.REJECTED, AttemptState.UNKNOWN}:
        known = traded
    return known if allowed(attempt.state, known) else attempt.state


def _is_complete(state: AttemptState, view: OrderView) -> bool:
    """Whether every trade of a finished order is in the view: the sizes agree to the dust."""
    if state not in {AttemptState.MATCHED, AttemptState.CANCELLED}:
        return False
    if view.size_matched is None:
        return bool(view.fills)
    return abs(sum((fill.shares for fill in view.fills), Decimal(0)) - view.size_matched) <= DUST_SHARES
