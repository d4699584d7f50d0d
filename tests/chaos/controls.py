"""Negative controls: `python -m tests.chaos.controls`. Every planted bug must make a chaos run exit non-zero.

A chaos run that cannot fail proves nothing. Exit code 0: every bug was found, and the run without one found none.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.plants import Plant
from tests.chaos.troop import tell
from worker.sandbox.exchange.fault_catalogue import FaultName

_COMMAND = [sys.executable, "-m", "tests.chaos.run", "--json", "--workers", "2"]
# What a short run needs to give each bug its chance: signals, kills, and seconds to mend what can be mended.
SHORT = ("--signals", "40", "--kills", "4", "--patience", "25")
SEED = "5"


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
    Plant.RELEASE_TWICE: Control("capital_mismatch"),
    Plant.NOT_FOUND_IS_DEAD: Control("fill_mismatch", (FaultName.DROPPED_AND_SLOW,)),
}


def short_run(plant: Plant | None, *arguments: str) -> tuple[int, Mapping[str, Any]]:
    """A short run with a planted bug, or without: its exit code, and what it printed."""
    planted = ["--plant", plant] if plant else ["--patience", "60"]
    if plant and CONTROLS[plant].faults:
        planted += ["--faults", *CONTROLS[plant].faults]
    done = subprocess.run(
        [*_COMMAND, *SHORT, "--seed", SEED, *planted, *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        check=False,
        text=True,
    )
    return done.returncode, json.loads(done.stdout or "{}")


def main(arguments: Sequence[str]) -> int:
    code, said = short_run(None, *arguments)
    codes: dict[str, int] = {"nothing": code}
    passed = code == 0
    for plant, control in CONTROLS.items():
        tell(f"--- planted: {plant}")
        codes[plant], said = short_run(plant, *arguments)
        found = codes[plant] == 1 and said.get(control.telltale, 0) > 0
        tell(
            f"exit code {codes[plant]}, {control.telltale} {said.get(control.telltale)}: {'found' if found else 'NOT FOUND'}"
        )
        passed = passed and found
    sys.stdout.write(json.dumps({"exit_codes": codes, "all_found": passed}) + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
