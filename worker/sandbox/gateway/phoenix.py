"""Phoenix's JSON serializer, version 1: what comes in and, to the byte, what the server sends. Pure.

Texts and key orders are those recorded from supabase/realtime 2.129.8.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

HEARTBEAT_TOPIC: Final = "phoenix"
TOPIC_PREFIX: Final = "realtime:"


@dataclass(frozen=True, slots=True)
class ClientFrame:
    topic: str
    event: str
    ref: str | None
    join_ref: str | None
    payload: Mapping[str, Any]

    @property
    def bindings(self) -> list[Mapping[str, Any]]:
        """What a join asks to hear."""
        config = self.payload.get("config")
        asked = config.get("postgres_changes") if isinstance(config, dict) else None
        return [binding for binding in asked if isinstance(binding, dict)] if isinstance(asked, list) else []

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(str(binding["table"]) for binding in self.bindings if "table" in binding)


def parse(text: str) -> ClientFrame | None:
    """Returns the frame, or None for what the server drops without a word."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    if not isinstance(frame, dict) or not frame.keys() >= {"topic", "event", "ref"}:
        return None
    topic, event, payload = frame["topic"], frame["event"], frame.get("payload")
    if not isinstance(topic, str) or not isinstance(event, str):
        return None
    return ClientFrame(
        topic, event, frame["ref"], frame.get("join_ref"), payload if isinstance(payload, dict) else {}
    )


def reply_ok(frame: ClientFrame, response: Mapping[str, Any] | None = None) -> str:
    return _encode(frame.ref, "phx_reply", frame.topic, {"status": "ok", "response": response or {}})


def reply_error(frame: ClientFrame, reason: str) -> str:
    return _encode(frame.ref, "phx_reply", frame.topic, {"status": "error", "response": {"reason": reason}})


def close(join_ref: str | None, topic: str) -> str:
    return _encode(join_ref, "phx_close", topic, {})


def crash(join_ref: str | None, topic: str) -> str:
    return _encode(join_ref, "phx_error", topic, {})


def system(topic: str, *, status: str, extension: str, message: str) -> str:
    channel = topic.removeprefix(TOPIC_PREFIX)
    payload = {"message": message, "status": status, "extension": extension, "channel": channel}
    return _encode(None, "system", topic, payload)


def disconnect_requested(topic: str) -> str:
    """The one `system` message that does not name its channel."""
    payload = {"message": "Server requested disconnect", "status": "ok", "extension": "system"}
    return _encode(None, "system", topic, payload)


def incomprehensible(topic: str) -> list[str | bytes]:
    """Frames that no client of version 1 understands: no JSON, version 2, binary, and two that lack fields."""
    bare = {"data": {"table": "ft_orders", "type": "INSERT", "schema": "public"}, "ids": []}
    return [
        "no JSON",
        to_json([None, None, topic, "system", {}]),
        b"\x04" + topic.encode(),
        disconnect_requested(topic),
        _encode(None, "postgres_changes", topic, bare),
    ]


def postgres_changes(topic: str, data: str, ids: Iterable[int]) -> str:
    """`data` is JSON already: PostgreSQL wrote most of it, and numerics must keep their digits."""
    return (
        f'{{"ref":null,"event":"postgres_changes","topic":{to_json(topic)},'
        f'"payload":{{"data":{data},"ids":{to_json(list(ids))}}}}}'
    )


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encode(ref: str | None, event: str, topic: str, payload: Mapping[str, Any]) -> str:
    return to_json({"ref": ref, "event": event, "topic": topic, "payload": payload})
