"""Negative controls: `python -m tests.chaos.controls`. Every planted bug must make a chaos run exit non-zero.

A chaos run that cannot fail proves nothing. Exit code 0: every bug was found, and the run without one found none.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.plants import Plant
from tests.chaos.troop import tell

_COMMAND = [sys.executable, "-m", "tests.chaos.run", "--json", "--workers", "2"]
# What a short run needs to give each bug its chance: signals, kills, and seconds to mend what can be mended.
SHORT = ("--signals", "40", "--kills", "4", "--patience", "25")
SEED = "5"
# Each bug, and the count that has to give it away; `orders_short` is expected less accepted orders.
CONTROLS: Mapping[Plant, str] = {
    Plant.RESIGN_ON_TIMEOUT: "duplicates",
    Plant.RECORD_BEFORE_CLAIM: "duplicates",
    Plant.DROP_A_SIGNAL: "missed",
    Plant.RELEASE_TWICE: "capital_mismatch",
    Plant.NOT_FOUND_IS_DEAD: "orders_short",
}


def short_run(plant: Plant | None, *arguments: str) -> tuple[int, Mapping[str, Any]]:
    """A short run with a planted bug, or without: its exit code, and what it printed."""
    planted = ("--plant", plant) if plant else ("--patience", "60")
    done = subprocess.run(
        [*_COMMAND, *SHORT, "--seed", SEED, *planted, *arguments],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        check=False,
        text=True,
    )
    said = json.loads(done.stdout or "{}")
    return done.returncode, said | {
        "orders_short": said.get("expected_orders", 0) - said.get("accepted_orders", 0)
    }


def main(arguments: Sequence[str]) -> int:
    code, said = short_run(None, *arguments)
    codes: dict[str, int] = {"nothing": code}
    passed = code == 0
    for plant, telltale in CONTROLS.items():
        tell(f"--- planted: {plant}")
        codes[plant], said = short_run(plant, *arguments)
        found = codes[plant] == 1 and said.get(telltale, 0) > 0
        tell(
            f"exit code {codes[plant]}, {telltale} {said.get(telltale)}: {'found' if found else 'NOT FOUND'}"
        )
        passed = passed and found
    sys.stdout.write(json.dumps({"exit_codes": codes, "all_found": passed}) + "\n")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
