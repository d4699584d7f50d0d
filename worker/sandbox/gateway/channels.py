"""One joined topic of one socket: its bindings, who it reads as, and which changes it hears."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worker.sandbox.gateway.bindings import Binding, Filter
from worker.sandbox.gateway.changes import RowChange
from worker.sandbox.gateway.effects import Deafen, Effect
from worker.sandbox.gateway.phoenix import ClientFrame
from worker.sandbox.gateway.rendering import Reader, RenderedChange
from worker.sandbox.gateway.strikes import Strike
from worker.sandbox.gateway.tokens import Token


@dataclass(frozen=True, slots=True)
class Subscription:
    """A binding that is live, its filter parsed."""

    binding: Binding
    condition: Filter | None

    def may_hear(self, change: RowChange) -> bool:
        """Whether it hears the change, the filter aside."""
        return self.binding.hears(change.operation, change.relation.schema, change.relation.table)

    def hears(self, rendered: RenderedChange) -> bool:
        passed = self.condition is None or self.condition in rendered.passed
        return passed and self.may_hear(rendered.change)


class Channel:
    """One joined topic of one socket; deaf until its subscriptions are live."""

    def __init__(self, frame: ClientFrame, token: Token, bindings: Iterable[Binding]) -> None:
        self.topic = frame.topic
        self.join_ref = frame.ref
        self.token = token
        self.bindings = tuple(bindings)
        self.subscriptions: tuple[Subscription, ...] = ()
        self.subscribing: asyncio.Task[None] | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.deafened_by: Strike[Effect] | None = None
        """The fault for which it hears nothing, though it is subscribed."""

    @property
    def is_dead(self) -> bool:
        """Whether the worker behind it has stopped: only a new join helps."""
        return self.deafened_by is not None and isinstance(self.deafened_by.effect, Deafen)

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(binding.table for binding in self.bindings if binding.table is not None)

    @property
    def reader(self) -> Reader:
        return Reader(self.token.role, self.token.claims)

    @property
    def conditions(self) -> Iterator[Filter]:
        return (each.condition for each in self.subscriptions if each.condition is not None)

    def may_hear(self, change: RowChange) -> bool:
        return any(each.may_hear(change) for each in self.subscriptions)

    def hearing(self, rendered: RenderedChange) -> list[int]:
        """Returns the ids of the bindings that hear the change."""
        return [each.binding.id for each in self.subscriptions if each.hears(rendered)]

    def hear_again(self, strike: Strike[Effect]) -> None:
        """Ends the deafness that `strike` caused, not that of one that came since."""
        if self.deafened_by is strike:
            self.deafened_by = None

    def end(self) -> None:
        self.subscriptions = ()
        if self.subscribing is not None:
            self.subscribing.cancel()
        if self.expiry is not None:
            self.expiry.cancel()
