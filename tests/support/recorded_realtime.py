"""The frames recorded from the real Realtime server, to be replayed against the gateway."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_FRAMES = Path(__file__).parents[3] / "shared/data/fixtures/supabase_realtime/real_frames.jsonl"


@dataclass(frozen=True, slots=True)
class Step:
    """`direction` as in the recording: `out` and `in` are text frames, `note` tells what was done."""

    direction: str
    raw: str

    @property
    def change(self) -> dict[str, Any] | None:
        """The row change in an incoming frame; numerics as they were written."""
        if self.direction != "in":
            return None
        frame = json.loads(self.raw, parse_float=str)
        if frame["event"] != "postgres_changes":
            return None
        data: dict[str, Any] = frame["payload"]["data"]
        return data


def recorded(scenario: str) -> list[Step]:
    """Returns the steps of the scenario with this number; skips the test where the recording is absent."""
    if not _FRAMES.exists():
        pytest.skip("the recording of the real server is not on this machine")
    return list(_steps(scenario))


def _steps(scenario: str) -> Iterator[Step]:
    with _FRAMES.open(encoding="utf-8") as lines:
        for line in lines:
            step = json.loads(line)
            if step["scn"].split("-")[0] == scenario:
                raw = step["raw"]
                yield Step(step["dir"], raw if isinstance(raw, str) else json.dumps(raw))
