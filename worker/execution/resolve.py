"""An attempt whose end is not known: look it up, adopt what the exchange says, never guess.

One mechanism for a lost answer, a crash, a takeover and an order that is still working. "Not found" is written
down and proves nothing: the attempt becomes `unknown`, is looked up again, and is shown to the operator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog

from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import Attempt, AttemptRecord, Exchange, Fill, Ledger, OrderView
from worker.orders.terms import OrderId, WalletAddress

log = structlog.get_logger(__name__)

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


class Resolver:
    def __init__(self, exchange: Exchange, ledger: Ledger) -> None:
        self._exchange = exchange
        self._ledger = ledger

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
                    )
                )
            settled = booked.closed and booked.filled_shares == booked.final_shares
            resolutions[order_id] = Resolution(attempt.state, settled)
        return resolutions

    async def resolve(self, attempt: Attempt) -> Resolution:
        """One look-up, recorded. Raises `ExchangeUnreachable`: a failed look-up is not a "not found"."""
        view = await self._exchange.lookup(
            attempt.envelope.wallet, attempt.envelope.order_id, since=attempt.created_at
        )
        state = _state_of(attempt, view)
        closed = _is_complete(state, view)
        if state is AttemptState.UNKNOWN and attempt.state is not AttemptState.UNKNOWN:
            log.error(
                "order.outcome_unknown",
                order_id=attempt.envelope.order_id,
                strategy_id=attempt.strategy_id,
                was=attempt.state,
                fix="it is looked up again by itself; see the order on the exchange if this stays",
            )
        recorded = await self._ledger.record(
            AttemptRecord(
                order_id=attempt.envelope.order_id,
                state=state,
                note=f"looked up: {view.status.lower() or 'not found'}",
                fills=view.fills,
                closed=closed,
            )
        )
        provisional = any(fill.state is FillState.PROVISIONAL for fill in view.fills)
        return Resolution(recorded, settled=closed and not provisional)


def _state_of(attempt: Attempt, view: OrderView) -> AttemptState:
    """What the attempt is now. Trades speak louder than the order's own status, and silence changes little."""
    if view.found:
        known = _STATES.get(view.status, AttemptState.UNKNOWN)
        return AttemptState.MATCHED if view.fills and known is AttemptState.REJECTED else known
    if view.fills:
        return AttemptState.MATCHED
    return AttemptState.UNKNOWN if attempt.state is AttemptState.SUBMITTING else attempt.state


def _is_complete(state: AttemptState, view: OrderView) -> bool:
    """Whether every trade of a finished order is in the view: the sizes agree to the dust."""
    if state not in {AttemptState.MATCHED, AttemptState.CANCELLED}:
        return False
    if view.size_matched is None:
        return bool(view.fills)
    return abs(sum((fill.shares for fill in view.fills), Decimal(0)) - view.size_matched) <= DUST_SHARES
