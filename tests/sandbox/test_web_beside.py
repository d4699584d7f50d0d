"""A demo shows where its dashboard is, and does without one where there is none."""

from pathlib import Path

import pytest

from worker.sandbox import web_beside as beside
from worker.sandbox.web_beside import web_beside


async def test_without_the_extra_it_is_said_that_there_is_no_dashboard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(beside, "find_spec", lambda _: None)
    async with web_beside({}) as web:
        (line,) = await web.lines()
    assert "polycopy-worker[web] is not installed" in line


async def test_one_that_does_not_start_is_told_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text("mode = 'neither'", encoding="utf-8")
    async with web_beside({"POLYCOPY_CONFIG": str(tmp_path / "worker.toml")}) as web:
        (said,) = await web.lines()
    assert said.startswith("there is no dashboard: the worker's web ended with code 78")
    assert "`mode` = 'neither'" in said
