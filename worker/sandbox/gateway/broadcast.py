"""From committed transactions to frames: renders what somebody hears and sends it to all who do.

`publish` is the one place that every row passes, those that nobody hears included.
"""

import asyncio
from collections.abc import Iterable

import psycopg
import structlog

from worker.sandbox.gateway import phoenix
from worker.sandbox.gateway.changes import Transaction
from worker.sandbox.gateway.delivery import Delivery
from worker.sandbox.gateway.rendering import Renderer
from worker.sandbox.gateway.sessions import Session
from worker.sandbox.gateway.strikes import Strikes

_log = structlog.get_logger(__name__)


class Broadcast:
    """Publishes transactions one after the other, in the order they are put."""

    def __init__(self, renderer: Renderer, sessions: Iterable[Session], strikes: Strikes) -> None:
        self._renderer = renderer
        self._sessions = sessions
        self._strikes = strikes
        self._delivery = Delivery(strikes)
        self._transactions: asyncio.Queue[Transaction] = asyncio.Queue()

    def put(self, transaction: Transaction) -> None:
        self._transactions.put_nowait(transaction)

    async def run(self) -> None:
        while True:
            transaction = await self._transactions.get()
            await self.publish(transaction)
            self._strikes.published.update(change.relation.table for change in transaction.changes)

    async def publish(self, transaction: Transaction) -> None:
        """Sends every change of `transaction` to the channels that hear it."""
        listeners = [
            (session, channel, channel.reader)
            for session in self._sessions
            for channel in session.channels
            if any(map(channel.may_hear, transaction.changes))
        ]
        heard = []
        for change in transaction.changes:
            if any(channel.may_hear(change) for _, channel, _ in listeners):
                heard.append(change)
            else:
                self._strikes.nobody_heard(change.relation.table)
        if not heard:
            return
        try:
            rendered_changes = await self._renderer.render(
                Transaction(transaction.committed_at, tuple(heard)),
                readers={reader for _, _, reader in listeners},
                filters={condition for _, channel, _ in listeners for condition in channel.conditions},
            )
        except psycopg.Error as error:
            # As on the hosted server: what cannot be read is lost, and no client is told.
            _log.warning("transaction.lost", error=str(error))
            for change in heard:
                self._strikes.nobody_heard(change.relation.table)
            return
        self._delivery.weigh(transaction)
        for rendered in rendered_changes:
            for session, channel, reader in listeners:
                data = rendered.data.get(reader)
                ids = channel.hearing(rendered)
                if ids and data is not None:
                    frame = phoenix.postgres_changes(channel.topic, data, ids)
                    self._delivery.hand(session, channel, rendered.change.relation.table, frame)
