"""The production worker as a child process, pointed at a sandbox by its environment: `polycopy-worker run --live`, or `web`.

It says that it is ready as it says it to systemd, and it is killed with whoever started it.
"""

import asyncio
import contextlib
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from worker.sandbox.processes import ChildProcess
from worker.sandbox.workspace import workspace

_READY_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.1
_NOTICE_MOST = 4096
_NOTICES_KEPT = 1000


class WorkerProcess:
    """One life of the worker. `kill` and a new `start` are what a crash looks like from outside."""

    def __init__(self, child: ChildProcess, notices: socket.socket) -> None:
        self._child = child
        self._notices = notices
        self._read = 0
        self._ready = asyncio.Event()
        self.status = ""
        self.notices: deque[str] = deque(maxlen=_NOTICES_KEPT)

    @classmethod
    @asynccontextmanager
    async def start(
        cls, environment: Mapping[str, str], *arguments: str, verb: str = "run", ready: bool = True
    ) -> AsyncIterator["WorkerProcess"]:
        """Starts the verb with these arguments; with `ready`, waits until it serves. Stops it at exit."""
        with workspace() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            address = folder / "notify"
            notices.bind(str(address))
            notices.setblocking(False)
            worker = cls(_spawn(environment, address, verb, arguments), notices)
            loop = asyncio.get_running_loop()
            loop.add_reader(notices, worker._listen)
            try:
                if ready:
                    await worker.wait_ready()
                yield worker
            finally:
                await worker.stop()
                loop.remove_reader(notices)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    async def wait_ready(self) -> None:
        """Raises ProcessError with the end of its log if it ends first, or says nothing for too long."""
        try:
            async with asyncio.timeout(_READY_WITHIN_S):
                while not self._ready.is_set():
                    self._child.raise_if_ended()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_EVERY_S):
                            await self._ready.wait()
        except TimeoutError:
            raise self._child.error(f"was not ready within {_READY_WITHIN_S:g} s") from None

    def _listen(self) -> None:
        """As systemd does: read every notice, so that the worker's queue never fills."""
        notice = self._notices.recv(_NOTICE_MOST).decode()
        self.notices.append(notice)
        self.status = notice.rpartition("STATUS=")[2] if "STATUS=" in notice else self.status
        if "READY=1" in notice:
            self._ready.set()

    def new_lines(self) -> list[str]:
        """What it has logged since the last call, whole lines only."""
        printed = self._child.printed(after=self._read)
        whole = printed[: printed.rfind(b"\n") + 1]
        self._read += len(whole)
        return whole.decode(errors="replace").splitlines()

    def log(self) -> str:
        return self._child.output()

    def kill(self) -> None:
        """SIGKILL: no drain, no last word."""
        self._child.kill()

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL after half a minute. Returns the exit code."""
        await self._child.stop(first=signal.SIGTERM, patience_s=30.0)
        return self._child.exit_code


def _spawn(
    environment: Mapping[str, str], address: Path, verb: str, arguments: tuple[str, ...]
) -> ChildProcess:
    return ChildProcess.start(
        [sys.executable, "-m", "worker", verb, *arguments],
        name="the worker" if verb == "run" else f"the worker's {verb}",
        # Should we die, the kernel kills it: a drain would wait for a database that has died with us.
        environment={**environment, "NOTIFY_SOCKET": str(address), "PYTHONUNBUFFERED": "1"},
    )
