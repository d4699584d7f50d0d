"""The demo as a command: interrupted in good order, it reports; asked twice, it ends; nothing of it outlives it."""

import asyncio
import gzip
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.contract import undocumented
from tests.support.eventually import eventually
from worker.errors import UsageError
from worker.sandbox.demo import DemoPlan, _replay, run_demo
from worker.sandbox.demo_table import Line, Progress, picture_of

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

ENDLESS = ("--signals", "0", "--rate", "5")
ALONE = "--no-dashboard"


@asynccontextmanager
async def demo(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Leads a process group of its own, as a command in a terminal does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "worker", "demo", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def streaming(process: asyncio.subprocess.Process) -> list[int]:
    """Waits until the worker says what it did with a signal; returns the processes that the demo has started."""
    assert process.stderr is not None
    async with asyncio.timeout(90):
        async for line in process.stderr:
            if b"ft_order" in line:
                break
    children = descendants(process.pid)
    assert len(children) >= 4
    return children


async def waiting_for_fills(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    async with asyncio.timeout(90):
        async for line in process.stderr:
            if b"waiting for fills" in line:
                return


def descendants(parent: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, new = [], [parent]
    while new:
        new = [child for each in new for child in children.get(each, [])]
        found += new
    return found


def gone(pids: list[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_an_interrupt_ends_the_stream_and_the_summary_of_what_came_of_it_is_what_stdout_holds() -> None:
    async with demo(*ENDLESS, ALONE) as process:
        children = await streaming(process)
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(90):
            stdout, stderr = await process.communicate()
    assert b"Traceback" not in stderr, stderr.decode()
    assert process.returncode == 130, stderr.decode()
    summary = stdout.decode()
    assert summary.startswith("The run, as far as it came, as the database and the exchange saw it\n")
    assert re.search(r"^missed / duplicates +0 / 0 *$", summary, flags=re.MULTILINE)
    assert re.search(r"^signals +[1-9]", summary, flags=re.MULTILINE)
    assert gone(children)


async def test_an_interrupt_of_the_wait_for_fills_ends_the_wait_and_the_report_follows() -> None:
    async with demo("--signals", "20", "--rate", "10", "--json", ALONE) as process:
        await waiting_for_fills(process)
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(90):
            stdout, stderr = await process.communicate()
    assert b"Traceback" not in stderr, stderr.decode()
    assert process.returncode == 130, stderr.decode()
    report = json.loads(stdout, parse_float=pytest.fail)  # amounts, shares and times are texts
    assert (report["interrupted"], report["signals"]) == (True, 20)
    assert report["duplicates"] == 0
    assert undocumented(report, "demo") == set()


async def test_a_sigterm_ends_the_stream_too_and_a_second_interrupt_everything_without_a_report() -> None:
    async with demo(*ENDLESS, ALONE) as process:
        children = await streaming(process)
        os.killpg(process.pid, signal.SIGTERM)
        await waiting_for_fills(process)
        async with asyncio.timeout(90):
            os.killpg(process.pid, signal.SIGINT)
            stdout, stderr = await process.communicate()
    assert (process.returncode, stdout) == (130, b"")
    assert b"Traceback" not in stderr, stderr.decode()
    assert gone(children)


async def test_nothing_runs_on_after_the_demo_was_killed() -> None:
    async with demo(*ENDLESS) as process:
        children = await streaming(process)
        process.kill()
        await eventually(lambda: gone(children))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("nowhere.csv", "There is no .*nowhere.csv"),
        ("README.md", "README.md is not a recording"),
        (".", "there is no .*events.csv.gz: put"),
        ("tape", "there is no .*tokens.json: put"),
        ("broken", "that can be read"),
    ],
)
async def test_what_is_not_a_recording_is_named(given: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# not a recording\n")
    for name in ("tape", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.csv.gz").write_bytes(b"not gzip")
    (tmp_path / "broken" / "tokens.json").write_text("{}")
    with pytest.raises(UsageError, match=sentence):
        await run_demo(DemoPlan(recording=tmp_path / given), Console(quiet=True))


async def test_a_demo_of_what_is_not_a_recording_ends_as_a_wrong_command_line_does() -> None:
    async with demo("--recording", "/nope") as process:
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()
    assert (process.returncode, stdout) == (2, b"")
    assert b"give --recording" in stderr
    assert b"Traceback" not in stderr


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_picture_fits_the_terminal_and_keeps_its_columns(width: int) -> None:
    progress = Progress(12, 60, 75.4, 10, 2, 9, "waiting for fills to settle ...")
    full = Line(
        "momentum_whole",
        "SELL Yanke… 0.5416",
        "Will it rain in Oslo before " * 4,
        "sell_no_position",
        "$1000.00@0.5416",
        "1234",
    )
    bare = Line("value_patient", "BUY Yes 0.5", "Oslo", "resting", "", "")
    headings = set()
    for lines in ([], [bare], [full, bare]):
        console = Console(width=width, record=True, file=StringIO())
        console.print(picture_of(progress, lines, width=width))
        shown = console.export_text().splitlines()
        assert shown[0].startswith("12 of 60 signals  1:15  10 executed, 2 skipped, 9 filled")
        assert max(map(len, shown)) <= width
        headings.add(shown[1].rstrip())
        if full in lines:
            assert all(part in shown[3] for part in ("momentum_whole", "sell_no_position", "1234", "…"))
    assert len(headings) == 1


def test_a_recording_is_found_wherever_the_exchange_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tape").mkdir()
    (tmp_path / "tape" / "tokens.json").write_text(
        '{"tokens": [{"i": 0, "asset_id": "1", "complement": 1, "tick": 0.01},'
        ' {"i": 1, "asset_id": "2", "complement": 0, "tick": 0.01}]}'
    )
    rows = ["ms,token,side,price,size,best_bid,best_ask,type", "1,0,B,0.5,1,0,0,T", "1001,0,B,0.5,1,0,0,T"]
    with gzip.open(tmp_path / "tape" / "events.csv.gz", "wt") as tape:
        tape.write("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    folder, _ = _replay(DemoPlan(recording=Path("tape/events.csv.gz")))
    assert folder == tmp_path / "tape"
