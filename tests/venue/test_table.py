"""`docs/exchange-behaviours.md` against the tests: what it names is there, and what is there is named."""

import re
from pathlib import Path

from tests.venue.scenes import SCENES

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "exchange-behaviours.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in row.split("|")[1:-1]] for row in TABLE.splitlines() if re.match(r"\| \d", row)
]


def test_every_known_behaviour_has_a_row() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 25))
    assert {len(row) for row in ROWS} == {5}


def test_every_scene_is_named_and_every_name_is_a_scene() -> None:
    named = {name for row in ROWS for name in re.findall(r"`(\w+)`", row[3])}
    assert named == {scene.__name__ for scene in SCENES}


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)
    assert len(named) > 24
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(
            rf"^\s*(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    assert missing == []
