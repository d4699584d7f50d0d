"""What a fault does at the moment it strikes and at the moment it ends.

The rest of each effect lies where it happens: `Delivery`, `Renderer`, `Session`, `Upgrades`.
"""

import asyncio
from collections.abc import Collection, Iterator
from types import UnionType
from typing import Any, Final

from worker.sandbox.gateway import phoenix
from worker.sandbox.gateway.channels import Channel
from worker.sandbox.gateway.effects import (
    SERVICE_RESTART,
    Babble,
    Batch,
    BlackHole,
    CloseChannels,
    CloseEarlierJoin,
    CrashChannels,
    Deafen,
    Effect,
    EndSockets,
    GoDown,
    JoinEffect,
    Lapse,
    LoseUplink,
    RefuseUpgrades,
    SaySubscribed,
    UpgradeEffect,
    Withhold,
)
from worker.sandbox.gateway.listener import Listener
from worker.sandbox.gateway.pacing import DeliveryMode, Pacer
from worker.sandbox.gateway.sessions import Session
from worker.sandbox.gateway.strikes import Strike, Strikes

_EARLIER_REF: Final = "0"  # clients count from 1


class Impact:
    """Acts on the sockets, the poller and the port."""

    def __init__(
        self, strikes: Strikes, sessions: Collection[Session], pacer: Pacer[Any], listener: Listener
    ) -> None:
        self._strikes = strikes
        self._sessions = sessions
        self._pacer = pacer
        self._usual_delivery = pacer.mode
        self._listener = listener

    async def land(self, strike: Strike[Effect]) -> None:
        """Does what happens at once. Most faults of rows and joins only wait for one."""
        match strike.effect:
            case Batch():
                self._pacer.mode = DeliveryMode.HOSTED
            case LoseUplink() | BlackHole() as effect:
                for session in self._sessions:
                    strike.struck += 1
                    session.freeze(strike, both_ways=isinstance(effect, BlackHole))
            case GoDown():
                strike.struck += len(self._sessions)
                await self._end_sockets(strike, EndSockets(None))
                await self._listener.shut()
            case EndSockets() as end:
                strike.struck += len(self._sessions)
                await self._end_sockets(strike, end)
            case RefuseUpgrades(server_gone=True):
                await self._end_sockets(strike, EndSockets(None))
            case effect if isinstance(effect, JoinEffect | UpgradeEffect):
                # They meet who connects: so everybody has to.
                await self._end_sockets(strike, EndSockets(SERVICE_RESTART))
            case _:
                self._touch_channels(strike)
                self._tell_channels(strike)

    async def lift(self, strike: Strike[Effect]) -> None:
        """Does what happens at the end. A state that another fault keeps up stays."""
        match strike.effect:
            case Withhold(then=EndSockets() as end):
                await self._end_sockets(strike, end)
            case Withhold(then=SaySubscribed()):
                for session, channel in self._reached(strike):
                    session.say_subscribed(channel)
            case Batch() if not self._kept_up(strike, Batch):
                self._pacer.mode = self._usual_delivery
            case LoseUplink() | BlackHole() if not self._kept_up(strike, LoseUplink | BlackHole):
                for session in self._sessions:
                    session.thaw()
            case GoDown() if not self._kept_up(strike, GoDown):
                await self._listener.open()
            case _:
                pass

    def _kept_up(self, ending: Strike[Effect], kind: type | UnionType) -> bool:
        return any(
            isinstance(strike.effect, kind) for strike in self._strikes.in_force if strike is not ending
        )

    def _touch_channels(self, strike: Strike[Effect]) -> None:
        for session, channel in list(self._reached(strike)):
            match strike.effect:
                case Deafen(says_subscribed):
                    channel.deafened_by = strike
                    if says_subscribed:
                        session.say_subscribed(channel)
                case Lapse(message):
                    session.lapse(channel, strike, message)
                case CloseChannels(None):
                    session.part(channel)
                case CloseChannels(str() as message):
                    session.expel(channel, message)
                case CrashChannels():
                    session.crash(channel)
                case _:
                    continue
            strike.struck += 1

    def _tell_channels(self, strike: Strike[Effect]) -> None:
        for session, channel in self._reached(strike):
            match strike.effect:
                case SaySubscribed():
                    session.say_subscribed(channel)
                case CloseEarlierJoin():
                    session.send(phoenix.close(_EARLIER_REF, channel.topic))
                case Babble():
                    for frame in phoenix.incomprehensible(channel.topic):
                        session.wire.send(frame)
                case _:
                    continue
            strike.struck += 1

    def _reached(self, strike: Strike[Effect]) -> Iterator[tuple[Session, Channel]]:
        """The live channels that listen to what the fault is about."""
        for session in self._sessions:
            for channel in session.channels:
                if channel.subscriptions and strike.reaches(channel.tables):
                    yield session, channel

    async def _end_sockets(self, strike: Strike[Effect], end: EndSockets) -> None:
        ending = list(self._sessions)
        if end.says_so:
            for session, channel in list(self._reached(strike)):
                session.send(phoenix.disconnect_requested(channel.topic))
        if end.code is None:
            for session in ending:
                session.wire.reset()
        else:
            await asyncio.gather(*(session.wire.close(end.code) for session in ending))
