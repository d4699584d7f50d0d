"""What a fault may do to the gateway: a closed set, each with the numbers it needs. Pure.

Which of them are a known fault, and how long they last, stands in `fault_catalogue`.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from worker.sandbox.gateway.rendering import Guise

SERVICE_RESTART: Final = 1012


@dataclass(frozen=True, slots=True)
class EndSockets:
    """Every socket is closed with `code`; without one its TCP connection is reset. `says_so`: a word comes before."""

    code: int | None
    says_so: bool = False


@dataclass(frozen=True, slots=True)
class SaySubscribed:
    """Every live channel is told "Subscribed to PostgreSQL" again."""


# Rows on their way.


@dataclass(frozen=True, slots=True)
class Withhold:
    """Rows reach nobody; when that is over, `then` happens."""

    then: EndSockets | SaySubscribed | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """The next `rows` rows of a channel's hearing are lost."""

    rows: int


@dataclass(frozen=True, slots=True)
class LimitRate:
    """Once more than `rows` rows have been delivered in the fault's delay, those that follow are lost."""

    rows: int


@dataclass(frozen=True, slots=True)
class Deafen:
    """Every channel that is joined hears nothing any more; a new join does."""

    says_subscribed: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """Every row is sent twice."""


@dataclass(frozen=True, slots=True)
class Reorder:
    """Rows are collected for the fault's delay and sent last first."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows are delivered as the hosted poller does."""


@dataclass(frozen=True, slots=True)
class Disguise:
    """Rows are sent as to a reader who may not, or cannot, be shown them."""

    guise: Guise


@dataclass(frozen=True, slots=True)
class Inflate:
    """The next row's frame is larger than the client takes."""


# Channels.


@dataclass(frozen=True, slots=True)
class CloseChannels:
    """Every channel is closed with `phx_close`, after a `system` error if there is something to say."""

    message: str | None = None


@dataclass(frozen=True, slots=True)
class CrashChannels:
    """Every channel is gone with `phx_error`."""


@dataclass(frozen=True, slots=True)
class CloseEarlierJoin:
    """Every channel gets the `phx_close` of an earlier join, and lives on."""


@dataclass(frozen=True, slots=True)
class Lapse:
    """Every channel gets a `system` error and is deaf until it is subscribed again, after the fault's delay."""

    message: str


@dataclass(frozen=True, slots=True)
class Babble:
    """Every socket gets frames that no client understands."""


# Joins.


@dataclass(frozen=True, slots=True)
class RefuseJoins:
    """Joins are answered with an error; then the socket is closed with `code`, if there is one."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class IgnoreJoins:
    """Joins are never answered."""


@dataclass(frozen=True, slots=True)
class DelayJoins:
    """Joins are answered after the fault's delay."""


@dataclass(frozen=True, slots=True)
class DelaySubscribed:
    """The words "Subscribed to PostgreSQL" come the fault's delay after the join's reply; rows before it are lost."""


@dataclass(frozen=True, slots=True)
class DeafenAfterSubscribed:
    """The rows of the fault's delay after "Subscribed to PostgreSQL" are lost."""


@dataclass(frozen=True, slots=True)
class Unpublish:
    """Channels are told that their table is not in the publication, and hear nothing."""


# Sockets and what stands before them.


@dataclass(frozen=True, slots=True)
class MuteHeartbeats:
    """Heartbeats are not answered; pings are."""


@dataclass(frozen=True, slots=True)
class LoseUplink:
    """Sockets stay open, and nothing that the client sends is read."""


@dataclass(frozen=True, slots=True)
class BlackHole:
    """Sockets stay open, and nothing is read or written; new connections hang."""


@dataclass(frozen=True, slots=True)
class RefuseUpgrades:
    status: int
    body: str
    content_type: str = "application/json"
    server_gone: bool = False
    """It is what stands before the server that answers: at once, and no socket got a word before."""


@dataclass(frozen=True, slots=True)
class HangUpgrades:
    """Upgrades are answered after the fault's delay, with an error."""


@dataclass(frozen=True, slots=True)
class GoDown:
    """Every connection is reset and the port is closed: PostgREST is gone with it."""


RowEffect: TypeAlias = Withhold | Skip | LimitRate | Deafen | Repeat | Reorder | Batch | Disguise | Inflate
ChannelEffect: TypeAlias = SaySubscribed | CloseChannels | CrashChannels | CloseEarlierJoin | Lapse | Babble
JoinEffect: TypeAlias = (
    RefuseJoins | IgnoreJoins | DelayJoins | DelaySubscribed | DeafenAfterSubscribed | Unpublish
)
SocketEffect: TypeAlias = EndSockets | MuteHeartbeats | LoseUplink | BlackHole | GoDown
UpgradeEffect: TypeAlias = RefuseUpgrades | HangUpgrades
Effect: TypeAlias = RowEffect | ChannelEffect | JoinEffect | SocketEffect | UpgradeEffect
KeepsAway: TypeAlias = JoinEffect | UpgradeEffect | BlackHole | GoDown
"""With these nobody may be there to hear a row."""
