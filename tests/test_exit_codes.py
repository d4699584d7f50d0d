"""The exit codes are a contract: the document, the code and systemd's unit name the same ones."""

import re
from pathlib import Path

from worker.errors import ExitCode

EXIT_CODES = Path(__file__).parents[1] / "docs" / "exit-codes.md"


def documented() -> dict[int, bool]:
    """Exit code -> whether systemd restarts after it, from the table."""
    rows = re.findall(
        r"^\| (\d+) \|[^|]*\| (yes|no) \|", EXIT_CODES.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {int(code): restarts == "yes" for code, restarts in rows}


def test_the_documented_exit_codes_are_the_ones_there_are() -> None:
    assert set(documented()) == {int(code) for code in ExitCode}


def test_systemd_restarts_after_exactly_what_the_document_says() -> None:
    unit = (EXIT_CODES.parents[1] / "systemd" / "polycopy-worker.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, flags=re.MULTILINE)
    final = {code for code, restarts in documented().items() if not restarts and code != ExitCode.OK}
    assert {int(code) for code in line.split()} == final
