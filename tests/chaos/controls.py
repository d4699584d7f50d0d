"""Negative controls: `make chaos-controls`. Every planted bug must make a chaos run exit non-zero.

A chaos run that cannot fail proves nothing. Exit code 0: every bug was found, and the run without one found none.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.chaos.plan import read_plan
from tests.chaos.plants import Plant
from tests.support.tool import SoFar, conduct, parser, tell
from worker.sandbox.exchange.fault_catalogue import FaultName

_COMMAND = [sys.executable, "-m", "tests.chaos.run", "--json", "--workers", "2"]
# What a short run needs to give each bug its chance: signals, kills, and seconds to mend what can be mended.
SHORT = ("--signals", "40", "--kills", "4", "--patience", "25")
SEED = "5"
_ABOUT: Final = """\
A chaos run that cannot fail proves nothing: a short run without a bug has to hold, and one run with each planted bug
has to fail, by the count that gives this bug away. Prints one JSON object: the exit code of each run, and whether all
were found. Any option of `make chaos` is passed on to every run; `make chaos ARGS="--help"` explains them, and
`make chaos ARGS="--list"` names the bugs."""


@dataclass(frozen=True, slots=True)
class Control:
    """What gives a bug away, and the faults that give it its chance (none named: all of them)."""

    telltale: str
    faults: tuple[FaultName, ...] = ()


_SENT_AND_SILENT = (FaultName.DROP_AFTER, FaultName.HANG_AFTER, FaultName.ANSWER_LATE)
CONTROLS: Mapping[Plant, Control] = {
    Plant.RESIGN_ON_TIMEOUT: Control("duplicates", _SENT_AND_SILENT),
    Plant.RECORD_BEFORE_CLAIM: Control("duplicates"),
    Plant.DROP_A_SIGNAL: Control("missed"),
    Plant.SKIP_WRONGLY: Control("missed"),
    Plant.DEFER_WRONGLY: Control("missed"),
    Plant.RELEASE_TWICE: Control("capital_mismatch"),
    Plant.NOT_FOUND_IS_DEAD: Control("fill_mismatch", (FaultName.DROPPED_AND_SLOW,)),
}


async def short_run(plant: Plant | None, *arguments: str) -> tuple[int, Mapping[str, Any]]:
    """A short run with a planted bug, or without: its exit code, and what it printed."""
    planted = ["--plant", plant] if plant else ["--patience", "60"]
    if plant and CONTROLS[plant].faults:
        planted += ["--faults", *CONTROLS[plant].faults]
    run = await asyncio.create_subprocess_exec(
        *_COMMAND, *SHORT, "--seed", SEED, *planted, *arguments,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        process_group=0,  # told to stop by us alone
    )  # fmt: skip
    try:
        said, _ = await run.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            run.terminate()
        await run.communicate()
        raise
    assert run.returncode is not None
    return run.returncode, json.loads(said or "{}")


async def try_all(arguments: Sequence[str], so_far: SoFar) -> bool:
    """Whether the run without a bug held, and every other one failed as it has to."""
    codes: dict[str, int] = {}
    so_far["exit_codes"] = codes
    codes["nothing"], said = await short_run(None, *arguments)
    passed = codes["nothing"] == 0
    for plant, control in CONTROLS.items():
        tell(f"--- planted: {plant}")
        codes[plant], said = await short_run(plant, *arguments)
        found = codes[plant] == 1 and said.get(control.telltale, 0) > 0
        tell(
            f"exit code {codes[plant]}, {control.telltale} {said.get(control.telltale)}: "
            f"{'found' if found else 'NOT FOUND'}"
        )
        passed = passed and found
    sys.stdout.write(json.dumps({"exit_codes": codes, "all_found": passed}) + "\n")
    return passed


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "chaos-controls",
        _ABOUT,
        module="tests.chaos.controls",
        lasts="about half a minute for each planted bug (2 cores)",
        holds="every bug was found, and the run without one found none",
        examples=("", "--workers 3"),
    )
    _, passed_on = options.parse_known_args(given)
    read_plan(passed_on)  # wrong options end it here, not in every run
    return 0 if conduct(partial(try_all, passed_on), as_json=True) else 1


if __name__ == "__main__":
    sys.exit(main())
