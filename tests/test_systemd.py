"""The units that are shipped, and the notify protocol that it relies on, spoken by the production worker."""

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.gateway.timing import GatewayTiming
from worker.sandbox.postgres import Postgres
from worker.sandbox.processes import free_port
from worker.sandbox.supabase import SupabaseSandbox
from worker.sandbox.worker_process import WorkerProcess

pytestmark = pytest.mark.timeout(180)  # processes come and go: on a busy machine each takes its time

SHIPPED = Path(__file__).parents[1] / "systemd"
BUILT = Path(sys.executable).with_name("polycopy-worker")

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture(params=sorted(path.name for path in SHIPPED.glob("*.service")))
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as it is installed, its command replaced by the one that was built here."""
    shipped = SHIPPED / str(request.param)
    text, replaced = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={BUILT}", shipped.read_text(encoding="utf-8"))
    assert replaced == 1
    # The check wants to find what the unit's documentation names.
    text = re.sub(r"(?m)^Documentation=.*$", f"Documentation=file://{SHIPPED.parent / 'README.md'}", text)
    rewritten = tmp_path / shipped.name
    rewritten.write_text(text, encoding="utf-8")
    return rewritten


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], check=False, capture_output=True, text=True, timeout=30
    )


@needs_systemd_analyze
def test_systemd_accepts_the_unit(unit: Path) -> None:
    verdict = analyze("verify", "--man=no", str(unit))
    about_ours = [line for line in verdict.stderr.splitlines() if unit.name in line or str(unit) in line]
    assert about_ours == []
    assert verdict.returncode == 0, verdict.stderr


@needs_systemd_analyze
def test_the_unit_is_hardened(unit: Path) -> None:
    verdict = analyze("security", "--offline=true", str(unit))
    if "unrecognized option" in verdict.stderr:
        pytest.skip("this systemd-analyze judges no unit offline")
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", verdict.stdout)
    assert found, verdict.stdout + verdict.stderr
    assert float(found[1]) < 2


# --- what the worker tells systemd ---------------------------------------------------------------------------------


class Service:
    """A paper worker on a project whose feed takes its time, beside an exchange that is there."""

    def __init__(self, cluster: Postgres, template: str) -> None:
        self._cluster = cluster
        self._template = template

    @asynccontextmanager
    async def started(
        self, *, feed_live_after_s: float, degraded_after_s: float, **changes: str
    ) -> AsyncIterator[WorkerProcess]:
        timing = GatewayTiming(system_ok_s=feed_live_after_s)
        async with (
            SupabaseSandbox.start(postgres=self._cluster, template=self._template, timing=timing) as supabase,
            SimulatedExchange.start() as exchange,
        ):
            environment = {
                "SUPABASE_URL": supabase.url,
                "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
                "POLYCOPY_EXCHANGE__CLOB_URL": exchange.http_url,
                "POLYCOPY_EXCHANGE__GAMMA_URL": exchange.http_url,
                "POLYCOPY_EXCHANGE__DATA_URL": exchange.http_url,
                "POLYCOPY_FEED__DEGRADED_AFTER_S": str(degraded_after_s),
                **changes,
            }
            async with WorkerProcess.start(environment, ready=False) as worker:
                yield worker


@pytest.fixture
def service(cluster: Postgres, migrated_template: str) -> Service:
    return Service(cluster, migrated_template)


def told(worker: WorkerProcess, assignment: str) -> list[str]:
    """The notices that carry this assignment on a line of its own."""
    return [notice for notice in worker.notices if assignment in notice.splitlines()]


async def test_it_is_ready_once_its_feed_is_live_and_not_before(service: Service) -> None:
    async with service.started(feed_live_after_s=2.5, degraded_after_s=60) as worker:
        await worker.wait_ready()
        (notice,) = told(worker, "READY=1")
        assert "STATUS=trading" in notice.splitlines()
        # The loop turned and said so, long before the feed was live.
        assert "WATCHDOG=1" in list(worker.notices)[: worker.notices.index(notice)]


async def test_it_is_ready_without_a_feed_once_it_has_said_so(service: Service) -> None:
    async with service.started(feed_live_after_s=3600, degraded_after_s=0.5) as worker:
        await worker.wait_ready()
        (notice,) = told(worker, "READY=1")
        assert "STATUS=trading, degraded (feed: not live: signals are found by the sweep)" in notice


async def test_an_exchange_that_is_silent_keeps_the_service_up_and_is_said_out_loud(service: Service) -> None:
    nowhere = {"POLYCOPY_EXCHANGE__CLOB_URL": f"http://127.0.0.1:{free_port()}"}
    async with service.started(feed_live_after_s=0, degraded_after_s=60, **nowhere) as worker:
        await worker.wait_ready()
        (notice,) = told(worker, "READY=1")
        assert "STATUS=NOT trading (exchange: " in notice


async def test_it_gives_signs_of_life_and_says_that_it_stops(service: Service) -> None:
    async with service.started(feed_live_after_s=0, degraded_after_s=60) as worker:
        await worker.wait_ready()
        so_far = len(told(worker, "WATCHDOG=1"))
        await eventually(lambda: len(told(worker, "WATCHDOG=1")) >= so_far + 2)
        assert told(worker, "STOPPING=1") == []
        assert await worker.stop() == 0
        assert len(await eventually(lambda: told(worker, "STOPPING=1"))) == 1
