"""A fault by its name, and what is known of it: what happens, where it was seen, what a client notices."""

from dataclasses import dataclass
from enum import StrEnum

from worker.sandbox.gateway.effects import Effect


class Fault(StrEnum):
    # rows lost without a word
    SILENT_WINDOW = "silent_window"
    SKIPPED_ROWS = "skipped_rows"
    RATE_LIMITED_ROWS = "rate_limited_rows"
    DEAD_CHANNELS = "dead_channels"
    DEAD_AFTER_SUBSCRIBED = "dead_after_subscribed"
    LOSS_AFTER_SUBSCRIBED = "loss_after_subscribed"
    LATE_SUBSCRIBED = "late_subscribed"
    # rows lost before something is said
    LOSS_BEFORE_RESTART = "loss_before_restart"
    LOSS_BEFORE_RESET = "loss_before_reset"
    HOLE_BEFORE_SUBSCRIBED = "hole_before_subscribed"
    # rows in the wrong way
    POLLED_ROWS = "polled_rows"
    DUPLICATED_ROWS = "duplicated_rows"
    REORDERED_ROWS = "reordered_rows"
    UNAUTHORIZED_ROWS = "unauthorized_rows"
    KEYLESS_ROWS = "keyless_rows"
    TRUNCATED_ROWS = "truncated_rows"
    OVERSIZED_FRAME = "oversized_frame"
    MALFORMED_FRAMES = "malformed_frames"
    # channels
    SUBSCRIBED_AGAIN = "subscribed_again"
    CHANNEL_CLOSED = "channel_closed"
    EARLIER_JOIN_CLOSED = "earlier_join_closed"
    CHANNEL_CRASHED = "channel_crashed"
    SUBSCRIPTION_LAPSED = "subscription_lapsed"
    TOO_MANY_MESSAGES = "too_many_messages"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a fault, no secret
    TABLE_UNPUBLISHED = "table_unpublished"
    # joins
    JOIN_REFUSED = "join_refused"
    JOIN_UNANSWERED = "join_unanswered"
    JOIN_LATE = "join_late"
    TOO_MANY_CHANNELS = "too_many_channels"
    TOO_MANY_USERS = "too_many_users"
    TOO_MANY_JOINS = "too_many_joins"
    TOO_MANY_DATABASE_CONNECTIONS = "too_many_database_connections"
    # sockets
    CLOSED_NORMALLY = "closed_normally"
    CLOSED_GOING_AWAY = "closed_going_away"
    CLOSED_BY_ERROR = "closed_by_error"
    CLOSED_BY_RESTART = "closed_by_restart"
    CLOSED_BY_APPLICATION = "closed_by_application"
    DISCONNECT_REQUESTED = "disconnect_requested"
    RESET = "reset"
    HEARTBEATS_UNANSWERED = "heartbeats_unanswered"
    UPLINK_LOST = "uplink_lost"
    BLACK_HOLE = "black_hole"
    # before there is a socket
    UPGRADE_UNAUTHORIZED = "upgrade_unauthorized"
    UPGRADE_FORBIDDEN = "upgrade_forbidden"
    UPGRADE_RATE_LIMITED = "upgrade_rate_limited"
    UPGRADE_FAILED = "upgrade_failed"
    UPGRADE_UNAVAILABLE = "upgrade_unavailable"
    UPGRADE_HANGS = "upgrade_hangs"
    REALTIME_DOWN = "realtime_down"
    SERVER_DOWN = "server_down"


class Sight(StrEnum):
    """What a client can notice without looking into the database."""

    SILENT = "silent"  # nothing: no frame, no close, and heartbeats are answered
    ANNOUNCED = "announced"  # a frame, a close or a refusal
    MISSED = "missed"  # no more than that an answer does not come


@dataclass(frozen=True, slots=True)
class Entry:
    """One known fault, its durations as they were in reality."""

    what: str
    source: str
    effect: Effect
    sight: Sight
    lasts_s: float = 0.0
    """Until it ends by itself; 0 for what is over as soon as it has happened."""
    delay_s: float = 0.0
    """A duration within it: how late, or for how long after it."""
    loses: bool = True
    """Whether rows committed in the course of it can be lost to a client that is not at fault."""
