"""Negative controls: `python -m tests.chaos.controls`. Every planted bug must make a chaos run exit non-zero.

A chaos run that cannot fail proves nothing. Exit code 0: every bug was found, and the run without one found none.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from tests.chaos.plants import Plant
from tests.chaos.troop import tell

_COMMAND = [sys.executable, "-m", "tests.chaos.run", "--json", "--workers", "2"]
# What a short run needs to give each bug its chance: signals, kills, and seconds to mend what can be mended.
SHORT = ("--signals", "40", "--kills", "4", "--patience", "12")
SEED = "5"
CONTROLS = (
    Plant.RESIGN_ON_TIMEOUT,
    Plant.RECORD_BEFORE_CLAIM,
    Plant.DROP_A_SIGNAL,
    Plant.RELEASE_TWICE,
    Plant.NOT_FOUND_IS_DEAD,
)


def exit_code_with(plant: Plant | None, *arguments: str) -> tuple[int, str]:
    """A short run with a planted bug, or without: its exit code, and the JSON it printed."""
    planted = ("--plant", plant) if plant else ("--patience", "60")
    done = subprocess.run(
        [*_COMMAND, *SHORT, "--seed", SEED, *planted, *arguments],
        stdout=subprocess.PIPE,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    codes: dict[str, int] = {}
    for plant in (None, *CONTROLS):
        name = plant or "nothing"
        tell(f"--- {name} planted")
        codes[name], said = exit_code_with(plant, *arguments)
        tell(f"exit code {codes[name]}: {said}")
    sys.stdout.write(json.dumps({"exit_codes": codes}) + "\n")
    return 0 if codes.pop("nothing") == 0 and all(code == 1 for code in codes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
