"""Bugs that a copy bot might have, planted from outside: each must make a chaos run fail, or the run proves nothing.

They wrap the ports that the daemon is given, beneath its seam of steps, in the victim's own process.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID

from worker import daemon
from worker.adapters import Adapters, open_adapters
from worker.execution.wallets import Wallets
from worker.handlers.intake import Intake, Item
from worker.handlers.judge import Case, Judge
from worker.orders.decide import Plan
from worker.orders.lifecycle import AttemptState, FillState
from worker.orders.ports import (
    Answer,
    AttemptRecord,
    Before,
    Envelope,
    Granted,
    Lease,
    Leave,
    OrderView,
    Refused,
    Stages,
)
from worker.orders.reasons import SkipReason
from worker.orders.skips import Skip
from worker.orders.terms import OrderId, WalletAddress
from worker.settings import Settings

_DROPPED_ONE_IN = 4


class Plant(StrEnum):
    RESIGN_ON_TIMEOUT = "resign_on_timeout"  # no answer: sign a new order and send that
    RECORD_BEFORE_CLAIM = "record_before_claim"  # send first, and write it down when the answer is there
    DROP_A_SIGNAL = "drop_a_signal"  # one in four is forgotten, whoever brings it
    SKIP_WRONGLY = "skip_wrongly"  # half of all signals are skipped for a price that never moved
    DEFER_WRONGLY = "defer_wrongly"  # half of them are put off for a market that is ready
    RELEASE_TWICE = "release_twice"  # what a fill has released from the reservation is given back once more
    NOT_FOUND_IS_DEAD = "not_found_is_dead"  # one 404 and the attempt is closed
    LEASE_FOR_EVER = (
        "lease_for_ever"  # a lease once held is never doubted, and what was claimed is sent without leave
    )


def plant(bug: Plant) -> None:
    """Replace what has to be replaced in this process."""
    match bug:
        case Plant.DROP_A_SIGNAL:
            _drop_signals()
        case Plant.SKIP_WRONGLY:
            _refuse_half(lambda *_: Skip(SkipReason.PRICE_MOVED))
        case Plant.DEFER_WRONGLY:
            _refuse_half(lambda judge, case, now: judge.no(SkipReason.MARKET_NOT_READY, case, now))
        case Plant.LEASE_FOR_EVER:
            _never_doubt_a_lease()
        case Plant.RESIGN_ON_TIMEOUT:
            _wrap(exchange=_Resigning)
        case Plant.RECORD_BEFORE_CLAIM:
            _wrap(ledger=_ClaimingLate)
        case Plant.RELEASE_TWICE:
            _wrap(ledger=_ReleasingTwice)
        case Plant.NOT_FOUND_IS_DEAD:
            _wrap(exchange=_Burying)
        case _:
            assert_never(bug)


class _Wrapped:
    """A port as it is, but for what a subclass does otherwise."""

    def __init__(self, adapters: Adapters, port: Any) -> None:
        self.adapters = adapters
        self.port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


class _Resigning(_Wrapped):
    def __init__(self, adapters: Adapters, port: Any) -> None:
        super().__init__(adapters, port)
        self._plans: dict[OrderId, Plan] = {}

    async def prepare(self, wallet: WalletAddress, plan_: Plan) -> Envelope:
        envelope: Envelope = await self.port.prepare(wallet, plan_)
        self._plans[envelope.order_id] = plan_
        return envelope

    async def submit(self, envelope: Envelope) -> Answer:
        answer: Answer = await self.port.submit(envelope)
        plan_ = self._plans.get(envelope.order_id)
        if answer.http_status is not None or plan_ is None:
            return answer
        again: Answer = await self.port.submit(await self.port.prepare(envelope.wallet, plan_))
        return replace(again, order_id=envelope.order_id)


class _ClaimingLate(_Wrapped):
    async def claim(
        self,
        plan_: Plan,
        envelope: Envelope,
        lease: Lease,
        stages: Stages,
        *,
        after: Before | None = None,
        may_redecide: bool = False,
    ) -> Granted | Refused:
        await self.adapters.exchange.submit(envelope)
        answer: Granted | Refused = await self.port.claim(
            plan_, envelope, lease, stages, after=after, may_redecide=may_redecide
        )
        return answer


class _ReleasingTwice(_Wrapped):
    async def record(self, record: AttemptRecord) -> AttemptState:
        given_back = tuple(replace(fill, state=FillState.REVERSED) for fill in record.fills)
        state: AttemptState = await self.port.record(replace(record, fills=given_back))
        return state


class _NeverRefusing(_Wrapped):
    async def allow_resend(self, order_id: OrderId) -> Leave:
        await self.port.allow_resend(order_id)
        return Leave(why="", is_over=False)


class _Burying(_Wrapped):
    async def lookup(
        self, wallet: WalletAddress, order_id: OrderId, *, since: datetime | None = None
    ) -> OrderView:
        view: OrderView = await self.port.lookup(wallet, order_id, since=since)
        if not view.found and not view.fills:
            await self.adapters.ledger.record(
                AttemptRecord(
                    order_id=order_id,
                    state=AttemptState.KILLED,
                    note="the exchange does not know it",
                    closed=True,
                    answered_at=datetime.now(UTC),
                )
            )
        return view


def _wrap(*, exchange: type[_Wrapped] | None = None, ledger: type[_Wrapped] | None = None) -> None:
    @asynccontextmanager
    async def planted(settings: Settings) -> AsyncIterator[Adapters]:
        async with open_adapters(settings) as opened:
            ports: dict[str, Any] = {}
            if exchange is not None:
                ports["exchange"] = exchange(opened, opened.exchange)
            if ledger is not None:
                ports["ledger"] = ledger(opened, opened.ledger)
            yield replace(opened, **ports)

    vars(daemon)["open_adapters"] = planted


def _drop_signals() -> None:
    offer = Intake.offer

    def forgetful(self: Intake, item: Item, *, fresh: bool) -> Any:
        if UUID(item.ft_order_id).int % _DROPPED_ONE_IN == 0:
            return None
        return offer(self, item, fresh=fresh)

    Intake.offer = forgetful  # type: ignore[method-assign]  # a bug is planted


def _refuse_half(no: Callable[[Judge, Case, datetime], Skip]) -> None:
    verdict = Judge.verdict

    async def picky(self: Judge, case: Case, now: datetime, *, market_anew: bool = False) -> Plan | Skip:
        if UUID(case.signal.ft_order_id).int % 2 == 0:
            return no(self, case, now)
        return await verdict(self, case, now, market_anew=market_anew)

    Judge.verdict = picky  # type: ignore[method-assign]  # a bug is planted


def _never_doubt_a_lease() -> None:
    def trusting(self: Wallets, lease: Lease) -> bool:
        del self, lease
        return True

    Wallets.may_send = trusting  # type: ignore[method-assign]  # a bug is planted
    _wrap(ledger=_NeverRefusing)
