"""The faults that Supabase Realtime and the way to it are known to have, with the durations they had in reality.

Sources: supabase.md (§), and realtime-observed.md (O §, its scenarios S). `Faults` inflicts them and compresses
the time.
"""

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Final

from worker.sandbox.gateway.effects import (
    SERVICE_RESTART,
    Babble,
    Batch,
    BlackHole,
    CloseChannels,
    CloseEarlierJoin,
    CrashChannels,
    Deafen,
    DeafenAfterSubscribed,
    DelayJoins,
    DelaySubscribed,
    Disguise,
    EndSockets,
    GoDown,
    HangUpgrades,
    IgnoreJoins,
    Inflate,
    Lapse,
    LimitRate,
    LoseUplink,
    MuteHeartbeats,
    RefuseJoins,
    RefuseUpgrades,
    Reorder,
    Repeat,
    SaySubscribed,
    Skip,
    Unpublish,
    Withhold,
)
from worker.sandbox.gateway.fault import Entry, Fault, Sight
from worker.sandbox.gateway.rendering import Guise

UNTIL_CLEARED: Final = inf

_silent = partial(Entry, sight=Sight.SILENT)
_missed = partial(Entry, sight=Sight.MISSED)
_announced = partial(Entry, sight=Sight.ANNOUNCED)

CATALOGUE: Final[Mapping[Fault, Entry]] = {
    Fault.SILENT_WINDOW: _silent(
        "The poller is gone for a while: what is committed meanwhile reaches nobody, new joins included.",
        "O §6, S13-S16, S23",
        Withhold(),
        lasts_s=12.0,
    ),
    Fault.SKIPPED_ROWS: _silent(
        "The next rows are skipped, the one after them arrives.", "§8.8", Skip(10), lasts_s=UNTIL_CLEARED
    ),
    Fault.RATE_LIMITED_ROWS: _silent(
        "After a burst, which is delivered, rows are skipped for as long as the average of the last minute is "
        "over the limit.",
        "O §6, S17; §2.5",
        LimitRate(6_000),
        lasts_s=UNTIL_CLEARED,
        delay_s=60.0,
    ),
    Fault.DEAD_CHANNELS: _silent(
        "The worker behind the channels has stopped: they stay joined and hear nothing for ever; a new join does.",
        "O §6, S22; §0.6",
        Deafen(says_subscribed=False),
        lasts_s=UNTIL_CLEARED,
    ),
    Fault.DEAD_AFTER_SUBSCRIBED: _silent(
        "As dead channels, but a fresh `system` ok comes just before.",
        "O §1.2, S22",
        Deafen(says_subscribed=True),
        lasts_s=UNTIL_CLEARED,
    ),
    Fault.LOSS_AFTER_SUBSCRIBED: _announced(
        "After a restart `system` ok comes on time, but an open write transaction holds up the slot: what is "
        "committed until that ends is lost.",
        "O §6, S21",
        DeafenAfterSubscribed(),
        lasts_s=30.0,
        delay_s=16.0,
    ),
    Fault.LATE_SUBSCRIBED: _announced(
        "After a restart `system` ok comes 1-3 s after the join's reply, and almost all rows before it are lost.",
        "O §4.1, §6, S10; §0.3",
        DelaySubscribed(),
        lasts_s=10.0,
        delay_s=3.0,
    ),
    Fault.LOSS_BEFORE_RESTART: _announced(
        "The server restarts: sockets are closed with 1012, and what was committed just before is lost too.",
        "O §4.3, §6, S11",
        Withhold(then=EndSockets(SERVICE_RESTART)),
        lasts_s=0.3,
    ),
    Fault.LOSS_BEFORE_RESET: _announced(
        "The server is killed: connections are reset, and what was committed just before is lost too.",
        "O §4.3, §6, S12",
        Withhold(then=EndSockets(None)),
        lasts_s=0.3,
    ),
    Fault.HOLE_BEFORE_SUBSCRIBED: _announced(
        "The server subscribes its channels again: rows are lost until a second `system` ok comes.",
        "§0.3, §2.5; O §6",
        Withhold(then=SaySubscribed()),
        lasts_s=0.65,
    ),
    Fault.POLLED_ROWS: _silent(
        "Rows come in batches, 8 to 508 ms late.", "O §3, §6; §0.5", Batch(), lasts_s=30.0, loses=False
    ),
    Fault.DUPLICATED_ROWS: _silent("Every row comes twice.", "§8.8", Repeat(), lasts_s=10.0, loses=False),
    Fault.REORDERED_ROWS: _silent(
        "Rows come in bunches, the last one first.",
        "§8.8",
        Reorder(),
        lasts_s=10.0,
        delay_s=0.5,
        loses=False,
    ),
    Fault.UNAUTHORIZED_ROWS: _silent(
        "The role has no grant: in place of a row comes error 401, which the client library drops.",
        "§0.7, §2.4; O §2, S04",
        Disguise(Guise.UNAUTHORIZED),
        lasts_s=10.0,
    ),
    Fault.KEYLESS_ROWS: _silent(
        "The table has no primary key: in place of a row comes error 400, which the client library drops.",
        "§2.4, §8.8",
        Disguise(Guise.KEYLESS),
        lasts_s=10.0,
    ),
    Fault.TRUNCATED_ROWS: _silent(
        "The row is too large: error 413, its long values and its nulls are left out.",
        "§2.4; O §2, S03, S18",
        Disguise(Guise.TRUNCATED),
        lasts_s=10.0,
        loses=False,
    ),
    Fault.OVERSIZED_FRAME: _announced(
        "The next row comes in a frame over 1 MiB: the client closes with 1009, and the row is lost.",
        "§1.2, B12",
        Inflate(),
        lasts_s=UNTIL_CLEARED,
    ),
    Fault.MALFORMED_FRAMES: _announced(
        "Frames come that are no JSON, of the other protocol version, binary, or that lack what they need.",
        "§1.1, §8.8",
        Babble(),
        loses=False,
    ),
    Fault.SUBSCRIBED_AGAIN: _announced(
        "A second `system` ok on a live channel, with no hole.",
        "O §1.9, §6, S19, S20",
        SaySubscribed(),
        loses=False,
    ),
    Fault.CHANNEL_CLOSED: _announced(
        "`phx_close` on every channel; the socket stays.", "§1.2, B3", CloseChannels()
    ),
    Fault.EARLIER_JOIN_CLOSED: _announced(
        "`phx_close` with the reference of an earlier join, on a channel that the server keeps serving.",
        "§1.3 B4; O §6, S07",
        CloseEarlierJoin(),
        loses=False,
    ),
    Fault.CHANNEL_CRASHED: _announced(
        "`phx_error` on every channel; the socket stays.", "§1.2", CrashChannels()
    ),
    Fault.SUBSCRIPTION_LAPSED: _announced(
        "`system` error on a channel that stays open; the server subscribes it again 5-10 s later.",
        "§1.2, §2.3",
        Lapse('{:error, "Too many database timeouts"}'),
        delay_s=7.5,
    ),
    Fault.TOO_MANY_MESSAGES: _announced(
        "`system` error for too many messages, then `phx_close`.",
        "§1.2, §2.3",
        CloseChannels("Too many messages per second"),
    ),
    Fault.TOKEN_EXPIRED: _announced(
        "`system` error for an expired token, then `phx_close`.",
        "§1.2, §2.3; O §2, S08",
        CloseChannels("Token has expired 0 seconds ago"),
    ),
    Fault.TABLE_UNPUBLISHED: _announced(
        "Joins are answered ok, then by a `system` error: their table is not in the publication.",
        "§2.3; O §1.8, S05",
        Unpublish(),
        lasts_s=30.0,
    ),
    Fault.JOIN_REFUSED: _announced(
        "Joins are answered with an error, 5 s late: the database cannot be reached.",
        "§1.2, §2.2",
        RefuseJoins("UnableToConnectToProject: Realtime was unable to connect to the project database"),
        lasts_s=30.0,
    ),
    Fault.JOIN_UNANSWERED: _missed("Joins are never answered.", "§1.2", IgnoreJoins(), lasts_s=30.0),
    Fault.JOIN_LATE: _missed(
        "Joins are answered after 12 s, when the client has given up.",
        "§1.2, B4",
        DelayJoins(),
        lasts_s=30.0,
        delay_s=12.0,
    ),
    Fault.TOO_MANY_CHANNELS: _announced(
        "Joins are refused: the socket has too many channels.",
        "§1.2, §2.2",
        RefuseJoins("ChannelRateLimitReached: Too many channels"),
        lasts_s=30.0,
    ),
    Fault.TOO_MANY_USERS: _announced(
        "Joins are refused: the project has too many users.",
        "§1.2, §2.2",
        RefuseJoins("ConnectionRateLimitReached: Too many connected users"),
        lasts_s=30.0,
    ),
    Fault.TOO_MANY_JOINS: _announced(
        "Joins are refused: the project has too many of them; the socket is closed with 1001 as well.",
        "§1.2, §2.2",
        RefuseJoins("ClientJoinRateLimitReached: Too many joins per second", code=1001),
        lasts_s=30.0,
    ),
    Fault.TOO_MANY_DATABASE_CONNECTIONS: _announced(
        "Joins are refused: the server has connected to the database too often.",
        "§1.2, §2.2",
        RefuseJoins("DatabaseConnectionRateLimitReached: Too many database connections attempts per second"),
        lasts_s=30.0,
    ),
    Fault.CLOSED_NORMALLY: _announced("Sockets are closed with 1000.", "§1.2", EndSockets(1000)),
    Fault.CLOSED_GOING_AWAY: _announced("Sockets are closed with 1001.", "§1.2", EndSockets(1001)),
    Fault.CLOSED_BY_ERROR: _announced("Sockets are closed with 1011.", "§1.2", EndSockets(1011)),
    Fault.CLOSED_BY_RESTART: _announced(
        "Sockets are closed with 1012.", "§1.2; O §1.10", EndSockets(SERVICE_RESTART)
    ),
    Fault.CLOSED_BY_APPLICATION: _announced("Sockets are closed with 4000.", "§1.2", EndSockets(4000)),
    Fault.DISCONNECT_REQUESTED: _announced(
        "A `system` message without the channel's name asks to disconnect, then sockets are closed with 1012.",
        "§2.3",
        EndSockets(SERVICE_RESTART, says_so=True),
    ),
    Fault.RESET: _announced("TCP connections are reset.", "§1.2; O §1.10, S12", EndSockets(None)),
    Fault.HEARTBEATS_UNANSWERED: _missed(
        "Heartbeats are not answered; pings are, and rows flow.",
        "§1.2, B5",
        MuteHeartbeats(),
        lasts_s=90.0,
        loses=False,
    ),
    Fault.UPLINK_LOST: _missed(
        "What the client sends is lost on the way, pings included; the server closes with 1000 after 66 s of silence.",
        "§2.1; O §2, §6",
        LoseUplink(),
        lasts_s=90.0,
    ),
    Fault.BLACK_HOLE: _missed(
        "Nothing passes either way, and nobody is told: pings are unanswered, new connections hang.",
        "§1.2, B6",
        BlackHole(),
        lasts_s=60.0,
    ),
    Fault.UPGRADE_UNAUTHORIZED: _announced(
        "Upgrades are refused with 401.",
        "§1.2, §2.2; O §2, S09",
        RefuseUpgrades(401, '{"error":"Failed to validate JWT signature"}'),
        lasts_s=30.0,
    ),
    Fault.UPGRADE_FORBIDDEN: _announced(
        "Upgrades are refused with 403: Realtime is disabled for the project.",
        "§1.2, §2.2",
        RefuseUpgrades(403, '{"error":"Realtime disabled for this tenant"}'),
        lasts_s=30.0,
    ),
    Fault.UPGRADE_RATE_LIMITED: _announced(
        "Upgrades are refused with 429: the project has too many users.",
        "§1.2, §2.2",
        RefuseUpgrades(429, '{"error":"Too many connected users"}'),
        lasts_s=30.0,
    ),
    Fault.UPGRADE_FAILED: _announced(
        "Upgrades are answered with 500 and HTML: the server's own database is shutting down.",
        "§1.2; O §2, S13",
        RefuseUpgrades(500, "Internal Server Error", content_type="text/html"),
        lasts_s=30.0,
    ),
    Fault.UPGRADE_UNAVAILABLE: _announced(
        "Upgrades are refused with 503.", "§1.2, §8.8", RefuseUpgrades(503, ""), lasts_s=30.0
    ),
    Fault.UPGRADE_HANGS: _missed(
        "Upgrades hang for 10 s, then fail with 500 and HTML.",
        "O §2, §6, S13",
        HangUpgrades(),
        lasts_s=30.0,
        delay_s=10.0,
    ),
    Fault.REALTIME_DOWN: _announced(
        "Realtime alone is gone: connections are reset, and what stands before it answers upgrades with 502.",
        "O §4.2, S11, S12",
        RefuseUpgrades(502, "", server_gone=True),
        lasts_s=20.0,
    ),
    Fault.SERVER_DOWN: _announced(
        "The whole server is gone: connections are reset and refused, those to PostgREST too.",
        "§1.2, §8.8",
        GoDown(),
        lasts_s=20.0,
    ),
}
