"""The gateway's faults against what was recorded from the real server, and against the page that tells of them."""

import json
import re
from math import isinf
from pathlib import Path

import pytest

from tests.support.raw_realtime import FaultyGateway, lasting
from tests.support.recorded_realtime import recorded
from worker.sandbox.gateway.fault import Fault
from worker.sandbox.gateway.fault_catalogue import CATALOGUE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("fault", "scenario", "marker"),
    [
        (Fault.TOKEN_EXPIRED, "S08", "Token has expired 0 seconds ago"),
        (Fault.CHANNEL_CLOSED, "S08", "phx_close"),
        (Fault.SUBSCRIBED_AGAIN, "S08", "Subscribed to PostgreSQL"),
        (Fault.DEAD_AFTER_SUBSCRIBED, "S22", "Subscribed to PostgreSQL"),
        (Fault.UNAUTHORIZED_ROWS, "S04", "Error 401"),
    ],
)
async def test_says_it_in_the_very_words_that_were_recorded(
    fault: Fault, scenario: str, marker: str, gateway: FaultyGateway
) -> None:
    expected = next(step.raw for step in recorded(scenario) if step.direction == "in" and marker in step.raw)
    async with gateway.live_client() as client:
        await gateway.faults.inflict(fault, for_s=lasting(fault))
        await gateway.insert("A")
        await client.sees()
        assert _normalised(client.raw) == _normalised(expected)


async def test_truncates_rows_as_was_recorded(gateway: FaultyGateway) -> None:
    expected = next(step.raw for step in recorded("S18") if "Error 413" in step.raw)
    async with gateway.live_client() as client:
        await gateway.faults.inflict(Fault.TRUNCATED_ROWS)
        await gateway.insert("A", note="x" * 100)
        await client.sees()
        seen, known = (json.loads(raw)["payload"]["data"] for raw in (client.raw, expected))
    assert list(seen) == list(known)
    assert seen["errors"] == known["errors"]
    assert "note" not in seen["record"]


async def test_a_restart_closes_as_was_recorded(gateway: FaultyGateway) -> None:
    expected = next(json.loads(step.raw) for step in recorded("S11") if step.direction == "in-close")
    async with gateway.live_client() as client:
        await gateway.faults.inflict(Fault.LOSS_BEFORE_RESTART)
        assert await client.sees() == "closed 1012"
        assert (client.socket.close_code, client.socket.close_reason) == (
            expected["code"],
            expected["reason"],
        )


async def test_the_page_about_faults_is_the_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs/realtime-faults.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{fault}` | {entry.what} | {entry.sight} | {_seconds(entry.lasts_s)} | {entry.source} |"
        for fault, entry in CATALOGUE.items()
    ]


def _seconds(duration_s: float) -> str:
    if isinf(duration_s):
        return "until cleared"
    return f"{duration_s:g} s" if duration_s else "a moment"


def _normalised(frame: str) -> str:
    return re.sub(r'"(topic|channel|table)":"[^"]*"|"ids":\[\d+\]', "NAMED", frame)
