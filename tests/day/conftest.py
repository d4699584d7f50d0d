"""The day is staged once for all tests, and for all processes of the run: the first that asks stages it for the others."""

import asyncio
import fcntl
import json
from dataclasses import asdict

import pytest

from tests.day.stage import Day, Seen, play_everything


@pytest.fixture(scope="session")
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Day:
    parallel = hasattr(request.config, "workerinput")
    base = tmp_path_factory.getbasetemp()
    told = (base.parent if parallel else base) / "day.json"
    with told.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            cluster = request.getfixturevalue("cluster")
            template = request.getfixturevalue("migrated_template")
            played = asyncio.run(play_everything(cluster, template))
            told.write_text(json.dumps(asdict(played)))
    kept = json.loads(told.read_text())
    return Day([Seen(**one) for one in kept["seen"]], kept["told"])
