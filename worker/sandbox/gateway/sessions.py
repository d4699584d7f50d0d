"""The sockets: heartbeats, joins, leaves, tokens, and when a channel starts to hear changes.

Follows what was recorded from supabase/realtime 2.129.8, its order of frames included. One writer per
socket keeps that order; everything delayed is a task of the socket and ends with it. Where a fault can strike,
`Strikes` is asked.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import WSMsgType

from worker.sandbox.gateway import phoenix
from worker.sandbox.gateway.bindings import Binding, Filter, FilterRefusedError
from worker.sandbox.gateway.catalog import Catalog, unpublished_table
from worker.sandbox.gateway.channels import Channel, Subscription
from worker.sandbox.gateway.effects import (
    DeafenAfterSubscribed,
    DelayJoins,
    DelaySubscribed,
    Effect,
    IgnoreJoins,
    MuteHeartbeats,
    RefuseJoins,
    Unpublish,
)
from worker.sandbox.gateway.phoenix import HEARTBEAT_TOPIC, TOPIC_PREFIX, ClientFrame
from worker.sandbox.gateway.replication import ReplicationStream
from worker.sandbox.gateway.strikes import Strike, Strikes
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.gateway.tokens import Flaw, Token, TokenRefusedError, crash_reason
from worker.sandbox.gateway.wire import Wire

NORMAL: Final = 1000

_REPLACED_KEYS: Final = "sb_"  # no token: the server goes on with the one it has
_HEARD_OF_LATE_START: Final = (
    0.05  # of the time before a late `system` ok: what the pending poll still brings
)
_JOIN_CODES: Final = {Flaw.MALFORMED: "MalformedJWT", Flaw.SIGNATURE: "JwtSignatureError"}


@dataclass(frozen=True, slots=True)
class Project:
    """What every session needs of the project it belongs to."""

    secret: str
    timing: GatewayTiming
    catalog: Catalog
    stream: ReplicationStream
    strikes: Strikes

    def verify(self, token: str | None) -> Token:
        """Raises TokenRefusedError."""
        return Token.verify(token, self.secret, datetime.now(UTC))


class Session:
    """One WebSocket: reads frames, answers them, and writes what it is told to send."""

    def __init__(self, project: Project, wire: Wire, token: Token) -> None:
        self.wire = wire
        self._project = project
        self._token = token
        self._channels: dict[str, Channel] = {}
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._late_join: asyncio.Task[None] | None = None
        self._frozen_by: Strike[Effect] | None = None

    @property
    def channels(self) -> Iterable[Channel]:
        return self._channels.values()

    def send(self, frame: str, *, row_of: str | None = None) -> None:
        self.wire.send(frame, row_of=row_of)

    async def run(self) -> None:
        """Serves the socket until one side closes it."""
        try:
            async with self._tasks:
                self._start(self.wire.write())
                await self._read()
                for task in self._running:
                    task.cancel()
        finally:
            for channel in self._channels.values():
                channel.end()
            self._channels.clear()
            if self._frozen_by is not None:
                self._frozen_by.lost.update(self.wire.unwritten)

    async def _read(self) -> None:
        while True:
            try:
                message = await self.wire.receive(within_s=self._project.timing.idle_s)
            except TimeoutError:
                await self.wire.flows()
                await self.wire.close(NORMAL)
                return
            match message.type:
                case WSMsgType.TEXT:
                    frame = phoenix.parse(message.data)
                    if frame is not None:
                        self._handle(frame)
                case WSMsgType.PING:
                    await self.wire.pong(message.data)
                case WSMsgType.CLOSE | WSMsgType.CLOSING | WSMsgType.CLOSED | WSMsgType.ERROR:
                    return
                case _:
                    pass

    def _handle(self, frame: ClientFrame) -> None:
        channel = self._channels.get(frame.topic)
        match frame.event:
            case "heartbeat" if frame.topic == HEARTBEAT_TOPIC:
                self._answer_heartbeat(frame)
            case "phx_join" if frame.topic.startswith(TOPIC_PREFIX):
                self._ask_to_join(frame)
            case "phx_leave" if channel is None:
                self.send(phoenix.reply_ok(frame))
            case "phx_leave" if channel is not None and frame.join_ref in {channel.join_ref, None}:
                self.send(phoenix.reply_ok(frame))
                self.part(channel)
            case "access_token" if channel is not None:
                self._renew(channel, frame)
            case _ if channel is None:
                self.send(phoenix.reply_error(frame, "unmatched topic"))
            case _:
                pass

    def _answer_heartbeat(self, frame: ClientFrame) -> None:
        muted = self._project.strikes.find(MuteHeartbeats)
        if muted is not None:
            muted.struck += 1
            return
        self.send(phoenix.reply_ok(frame))

    def _ask_to_join(self, frame: ClientFrame) -> None:
        strikes, tables = self._project.strikes, frame.tables
        refusing = strikes.find(RefuseJoins, tables)
        ignoring = strikes.find(IgnoreJoins, tables)
        delaying = strikes.find(DelayJoins, tables)
        if refusing is not None:
            refusing.struck += 1
            self._start(self._refuse(frame, refusing.effect.reason, refusing.effect.code))
        elif ignoring is not None:
            ignoring.struck += 1
        elif self._late_join is not None and not self._late_join.done():
            # The server takes the joins of a socket one after the other.
            self._late_join = self._start(self._join_after(self._late_join, frame))
        elif delaying is not None:
            delaying.struck += 1
            late = self._start(asyncio.sleep(delaying.delay_s))
            self._late_join = self._start(self._join_after(late, frame))
        else:
            self._join(frame)

    async def _join_after(self, earlier: asyncio.Task[None], frame: ClientFrame) -> None:
        await earlier
        self._join(frame)

    def _join(self, frame: ClientFrame) -> None:
        try:
            token = self._join_token(frame)
        except _JoinRefusedError as refusal:
            self._start(self._refuse(frame, str(refusal)))
            return
        channel = Channel(frame, token, map(Binding.parse, frame.bindings))
        replaced = self._channels.pop(frame.topic, None)
        self._channels[frame.topic] = channel
        response = {"postgres_changes": [binding.echoed for binding in channel.bindings]}
        self.send(phoenix.reply_ok(frame, response))
        if replaced is not None:
            # The server's order: the reply first, then the close of the channel it replaces.
            replaced.end()
            self.send(phoenix.close(replaced.join_ref, replaced.topic))
        self._watch_expiry(channel)
        channel.subscribing = self._start(self._subscribe(channel, self._project.timing.system_ok_s))

    def _join_token(self, frame: ClientFrame) -> Token:
        if frame.topic == TOPIC_PREFIX:
            raise _JoinRefusedError("TopicNameRequired: You must provide a topic name")
        raw = frame.payload.get("access_token")
        if not isinstance(raw, str) or raw.startswith(_REPLACED_KEYS) or raw == self._token.raw:
            return self._token
        crash = crash_reason(raw)
        if crash is not None:
            raise _JoinRefusedError(crash)
        try:
            return self._project.verify(raw)
        except TokenRefusedError as error:
            code = _JOIN_CODES.get(error.flaw, "InvalidJWTToken")
            raise _JoinRefusedError(f"{code}: {error.text}") from error

    async def _refuse(self, frame: ClientFrame, reason: str, code: int | None = None) -> None:
        await asyncio.sleep(self._project.timing.join_error_s)
        self.send(phoenix.reply_error(frame, reason))
        if code is not None:
            await self.wire.close(code)

    async def _subscribe(self, channel: Channel, after_s: float) -> None:
        """Makes the channel hear, and says so; one bad binding leaves all of them deaf."""
        if not channel.bindings:
            return
        await asyncio.sleep(after_s)
        await self._project.stream.attached.wait()
        subscriptions = []
        for binding in channel.bindings:
            objection = None
            condition = None
            try:
                condition = Filter.parse(binding.filter_text) if binding.filter_text else None
            except FilterRefusedError as error:
                objection = str(error)
            else:
                objection = await self._objection(channel, binding, condition)
            if objection is not None:
                self.say_error(channel, objection)
                return
            subscriptions.append(Subscription(binding, condition))
        channel.subscriptions = tuple(subscriptions)
        await self._go_live(channel)

    async def _go_live(self, channel: Channel) -> None:
        """Says that rows flow: in time, unless a fault makes it late or untrue."""
        await self._start_late(channel)
        untrue = None
        if not channel.is_dead:
            untrue = self._project.strikes.find(DeafenAfterSubscribed, channel.tables)
            channel.deafened_by = untrue
        self.say_subscribed(channel)
        if untrue is not None:
            untrue.struck += 1
            await asyncio.sleep(untrue.delay_s)
            channel.hear_again(untrue)

    async def _start_late(self, channel: Channel) -> None:
        late = self._project.strikes.find(DelaySubscribed, channel.tables)
        if late is not None and not channel.is_dead:
            late.struck += 1
            channel.deafened_by = late
            await asyncio.sleep(late.delay_s * (1 - _HEARD_OF_LATE_START))
            channel.hear_again(late)
            await asyncio.sleep(late.delay_s * _HEARD_OF_LATE_START)

    async def _objection(self, channel: Channel, binding: Binding, condition: Filter | None) -> str | None:
        unpublished = self._project.strikes.find(Unpublish, {binding.table or ""})
        if unpublished is not None:
            unpublished.struck += 1
            return unpublished_table(binding, condition)
        return await self._project.catalog.objection(binding, condition, channel.token.role)

    def _renew(self, channel: Channel, frame: ClientFrame) -> None:
        raw: Any = frame.payload.get("access_token")
        if not isinstance(raw, str) or raw.startswith(_REPLACED_KEYS) or raw == channel.token.raw:
            return
        try:
            channel.token = self._project.verify(raw)
        except TokenRefusedError as error:
            self.expel(channel, error.text)
            return
        self._watch_expiry(channel)
        if channel.subscribing is not None:
            channel.subscribing.cancel()
        channel.subscribing = self._start(self._subscribe(channel, self._project.timing.resubscribe_s))

    def _watch_expiry(self, channel: Channel) -> None:
        if channel.expiry is not None:
            channel.expiry.cancel()
        left_s = channel.token.expires_at - datetime.now(UTC).timestamp()
        loop = asyncio.get_running_loop()
        channel.expiry = loop.call_later(left_s, self.expel, channel, "Token has expired 0 seconds ago")

    def expel(self, channel: Channel, message: str) -> None:
        self._say(channel, status="error", extension="system", message=message)
        self.part(channel)

    def part(self, channel: Channel) -> None:
        self._forget(channel)
        self.send(phoenix.close(channel.join_ref, channel.topic))

    def crash(self, channel: Channel) -> None:
        self._forget(channel)
        self.send(phoenix.crash(channel.join_ref, channel.topic))

    def lapse(self, channel: Channel, strike: Strike[Effect], message: str) -> None:
        """Tells of an error and subscribes the channel again later; until then it is deaf."""
        self.say_error(channel, message)
        channel.deafened_by = strike
        if channel.subscribing is not None:
            channel.subscribing.cancel()
        channel.subscribing = self._start(self._subscribe(channel, strike.delay_s))

    def freeze(self, strike: Strike[Effect], *, both_ways: bool) -> None:
        """What then cannot be written any more is booked on `strike`."""
        self._frozen_by = strike
        self.wire.freeze(both_ways=both_ways)

    def thaw(self) -> None:
        self.wire.thaw()

    def say_subscribed(self, channel: Channel) -> None:
        self._say(channel, status="ok", extension="postgres_changes", message="Subscribed to PostgreSQL")

    def say_error(self, channel: Channel, message: str) -> None:
        self._say(channel, status="error", extension="postgres_changes", message=message)

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.topic]
        channel.end()

    def _say(self, channel: Channel, *, status: str, extension: str, message: str) -> None:
        self.send(phoenix.system(channel.topic, status=status, extension=extension, message=message))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task


class _JoinRefusedError(Exception):
    """The message is the reason the server replies."""
