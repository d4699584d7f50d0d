"""The long runs as commands: what they refuse, what they print of themselves, and how they end when told to stop."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import claim_cost, idle, sweep
from benchmarks.fill_rate import run as fill_rate
from tests.backlog import run as backlog
from tests.chaos import controls
from tests.chaos import run as chaos
from tests.database import capital_run
from tests.feed import run as feed_faults
from tests.feed import soak
from tests.mutation import run as mutants
from tests.resting import run as reprice
from tests.soak import run as mixed_soak
from tests.support.tool import SoFar, conduct

ROOT = Path(__file__).parents[2]
MAINS: dict[str, Callable[[Sequence[str]], int]] = {
    "chaos": chaos.main,
    "chaos-controls": controls.main,
    "feed-faults": feed_faults.main,
    "reprice": reprice.main,
    "soak": soak.main,
    "soak --mixed": mixed_soak.main,
    "mutants": mutants.main,
    "backlog": backlog.main,
    "idle": idle.main,
    "sweep": sweep.main,
    "claim-cost": claim_cost.main,
    "fill-rate": fill_rate.main,
    "capital": capital_run.main,
}
A_PROGRAM = """
import asyncio
from tests.support.tool import conduct, tell

async def run(so_far):
    try:
        so_far["signals"] = 7
        tell("running")
        await asyncio.Event().wait()
    finally:
        tell("taken down")

conduct(run, as_json=True, seed=3)
"""


def _ended(verb: str, *arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        MAINS[verb](arguments)
    return end.value.code


@pytest.mark.parametrize(
    ("verb", "option", "value", "allowed"),
    [
        ("chaos", "--signals", "-1", "1 or more"),
        ("chaos", "--signals", "0", "1 or more"),
        ("chaos", "--kills", "-3", "0 or more"),
        ("chaos", "--workers", "0", "1 or more"),
        ("chaos", "--seed", "-1", "0 or more"),
        ("chaos", "--reign", "-1", "seconds above 0"),
        ("chaos", "--patience", "-1", "seconds above 0"),
        ("chaos", "--patience", "inf", "seconds above 0"),
        ("chaos", "--faults", "wrong_id", "--list"),
        ("chaos", "--plant", "roses", "--list"),
        ("chaos", "--logs", "/proc/nope", "a folder that can be written to"),
        ("chaos-controls", "--kills", "-3", "0 or more"),
        ("feed-faults", "--rate", "0", "above 0"),
        ("feed-faults", "--rate", "-1", "above 0"),
        ("feed-faults", "--mixed", "0", "seconds above 0"),
        ("feed-faults", "--mixed", "-1", "seconds above 0"),
        ("feed-faults", "--slack", "-1", "seconds, 0 or more"),
        ("feed-faults", "--only", "sunshine", "--list"),
        ("feed-faults", "--control", "sunshine", "--list"),
        ("mutants", "--jobs", "0", "1 or more"),
        ("mutants", "--only", "holdings", "--list"),
        ("reprice", "--orders", "1", "2 or more"),
        ("soak", "--signals", "-1", "1 or more"),
        ("soak --mixed", "--minutes", "0", "minutes above 0"),
        ("soak --mixed", "--plant", "roses", "--list"),
        ("soak", "--strategies", "1", "2 or more"),
        ("backlog", "--rows", "-1", "1 or more"),
        ("backlog", "--poison", "5001", "no more than --rows, 5000"),
        ("backlog", "--fresh", "0", "1 or more"),
        ("idle", "--strategies", "0", "1 or more"),
        ("idle", "--seconds", "nan", "seconds above 0"),
        ("sweep", "--signals", "100", "5000 or more"),
        ("sweep", "--signals", "5000", "two different numbers"),
        ("claim-cost", "--orders", "1000", "two different numbers"),
        ("fill-rate", "--sizes", "0", "dollars above 0"),
        ("fill-rate", "--tolerances", "-1", "percent, 0 or more"),
        ("fill-rate", "--retakes", "11", "from 0 to 10"),
        ("fill-rate", "--delay-s", "0", "seconds above 0"),
        ("fill-rate", "--sample", "0", "1 or more"),
        ("capital", "--steps", "0", "1 or more"),
    ],
)
def test_what_is_not_allowed_is_refused_by_option_and_value(
    verb: str, option: str, value: str, allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _ended(verb, option, value) == 2
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert all(part in sentence for part in (option, f"'{value}'", allowed)), sentence


@pytest.mark.parametrize("verb", MAINS)
def test_the_help_speaks_of_make_and_of_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(verb, "--help") == 0
    text, target = capsys.readouterr().out, verb.split(maxsplit=1)[0]
    assert text.startswith(f"usage: make {target} ")
    assert all(part in text for part in ("how long it takes", f"  make {target}", "130  interrupted"))


@pytest.mark.parametrize("verb", ["chaos", "feed-faults"])
def test_names_to_choose_from_are_listed(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(verb, "--list") == 0
    names = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    assert len(names) > 20
    assert all(name.replace("_", "").replace("-", "").isalnum() for name in names)


def test_a_sweep_among_more_signals_may_cost_less_but_not_more() -> None:
    def cost(signals: int, buffers: int) -> sweep.Cost:
        names = [each.name for each in fields(sweep.Cost)]
        return sweep.Cost(**dict.fromkeys(names, buffers) | {"signals": signals})

    assert sweep.judged([cost(5_000, 100), cost(50_000, 20), cost(500_000, 120)]) == []
    wrong, *_ = sweep.judged([cost(5_000, 100), cost(500_000, 121)])
    assert all(number in wrong for number in ("121", "500000", "100", "5000", "120"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
async def test_an_interrupted_run_is_taken_down_and_tells_what_it_had_done(number: signal.Signals) -> None:
    code, said, talk = await _interrupted(["-c", A_PROGRAM], b"running", number)
    assert (code, said) == (130, {"seed": 3, "signals": 7, "interrupted": True})
    assert "taken down" in talk
    assert "Traceback" not in talk


def test_a_run_that_fails_by_itself_is_not_called_interrupted() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ConnectionError("nobody there")

    async def run(_: SoFar) -> None:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(fail())
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail())

    with pytest.raises(ExceptionGroup) as failure:
        conduct(run, as_json=True)
    assert failure.group_contains(ConnectionError)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for temporary files that everybody may enter, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tool-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.timeout(180)
async def test_an_interrupted_chaos_run_leaves_nothing_behind(short_folder: Path) -> None:
    code, said, talk = await _interrupted(
        ["-m", "tests.chaos.run", "--json", "--seed", "4", "--kills", "500"],
        b"/500 kills",
        signal.SIGTERM,
        TMPDIR=str(short_folder),
    )
    assert code == 130, talk
    assert said["interrupted"] is True
    assert said["seed"] == 4
    assert said.keys() >= {"signals", "kills", "kill_points"}
    assert "Traceback" not in talk
    assert await asyncio.to_thread(_left_in, short_folder) == []


def _left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("polycopy-*")]


async def _interrupted(
    arguments: Sequence[str], once_it_says: bytes, number: signal.Signals, **environment: str
) -> tuple[int | None, dict[str, object], str]:
    """Its exit code, what it printed, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    assert process.stderr is not None
    heard = []
    try:
        async with asyncio.timeout(150):
            async for line in process.stderr:
                heard.append(line)
                if once_it_says in line:
                    break
            process.send_signal(number)
            printed, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return process.returncode, json.loads(printed or b"{}"), b"".join([*heard, rest]).decode()
