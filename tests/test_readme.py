"""What the README and CONTRIBUTING promise to run is there, and whatever shows a promise is in both tables."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EVERYDAY = {"help", "setup", "demo", "test", "unit", "check", "format", "clean"}
PAGES = ("README.md", "CONTRIBUTING.md")


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):.*##", makefile, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_run_that_shows_a_promise_is_in_the_table_with_the_time_that_it_takes(page: str) -> None:
    rows = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    timed = " ".join(row for row in rows if re.search(r"\| [^|]*\b(s|min)\b[^|]* \|", row))
    shown = set(re.findall(r"`make ([a-z-]+)", timed))
    assert shown == targets() - EVERYDAY


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_a_page_names_is_in_the_makefile(page: str) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8")))
    assert named <= targets()
