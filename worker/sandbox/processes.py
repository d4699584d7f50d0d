"""Child processes of the sandbox: none outlives the process that started it.

Each child leads its own session, so Ctrl-C reaches it only through us; the kernel ends it when its
starter dies in any way, SIGKILL included; started by root it runs as `nobody` where asked to. What it
prints goes to a nameless file whose end is quoted in errors.

The kernel ties a child to the *thread* that started it: start children from a thread that lives as long
as they shall.
"""

import asyncio
import ctypes
import os
import pwd
import random
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO

from worker.sandbox.errors import ProcessError, SandboxError

LOOPBACK = "127.0.0.1"

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.005
_KILLED_WITHIN_S = 5.0
_PORTS = range(20_000, 32_768)  # below those that Linux gives to outgoing connections
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that a child runs as."""

    name: str
    uid: int
    gid: int

    def may_run(self, path: Path) -> bool:
        """Whether the permission bits let it run the program, or enter the directory, `path`."""
        return all(self._may_enter(step.stat()) for step in (path, *path.parents, *path.resolve().parents))

    def _may_enter(self, status: os.stat_result) -> bool:
        if status.st_uid == self.uid:
            wanted = stat.S_IXUSR
        elif status.st_gid == self.gid:
            wanted = stat.S_IXGRP
        else:
            wanted = stat.S_IXOTH
        return bool(status.st_mode & wanted)


def unprivileged_account() -> Account | None:
    """Returns whom children run as when we are root (PostgreSQL refuses root); None for ordinary users."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_name, nobody.pw_uid, nobody.pw_gid)


def free_port() -> int:
    """Returns a loopback TCP port that was free a moment ago, and that no outgoing connection will take."""
    for port in random.SystemRandom().sample(_PORTS, k=100):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.bind((LOOPBACK, port))
            return port
    raise SandboxError(f"Found no free TCP port between {_PORTS.start} and {_PORTS.stop}.")


class ChildProcess:
    """One running child. Not bound to an event loop: start it in one, stop it in another."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self.name = name
        self._popen = popen
        self._output = output
        self._last_output = b""

    @classmethod
    def start(
        cls,
        command: Iterable[str | Path],
        *,
        name: str,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
        end_signal: signal.Signals = signal.SIGKILL,
    ) -> "ChildProcess":
        """Starts `command`; the kernel sends it `end_signal` when the calling thread is gone.

        `environment` is added to ours, from which PostgreSQL's own variables are taken away.
        """
        output = tempfile.TemporaryFile(prefix="polycopy-")  # noqa: SIM115 - lives as long as the child
        parent = os.getpid()

        def bind_to_parent() -> None:
            # A shell's background job inherits that these are ignored: nobody would stop on them.
            for number in (signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            # Runs after the change of user, which would have cleared the setting.
            _libc.prctl(_PR_SET_PDEATHSIG, int(end_signal))
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        popen = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=inherited | dict(environment or {}),
            start_new_session=True,
            preexec_fn=bind_to_parent,  # noqa: PLW1509 - prctl has no other place between setuid and exec
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        return cls(name, popen, output)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.poll()

    def output(self) -> str:
        """Returns everything it has printed."""
        return self.printed().decode(errors="replace")

    def printed(self, *, after: int = 0) -> bytes:
        """Returns what it has printed beyond the first `after` bytes."""
        if self._output.closed:
            return self._last_output[after:]
        size = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), size - after, after)

    def error(self, what: str) -> ProcessError:
        """Builds the error that says `what` went wrong and quotes the child's last lines."""
        tail = "\n".join(self.output().splitlines()[-15:])
        return ProcessError(f"{self.name} {what}" + (f"; it said last:\n{tail}" if tail else ""))

    def raise_if_ended(self) -> None:
        """Raises ProcessError when the child is no longer there."""
        if self.exit_code is not None:
            raise self.error(f"ended with code {self.exit_code}")

    async def finished(self, *, within_s: float) -> None:
        """Waits for a successful end; raises ProcessError for any other, or when time is up."""
        try:
            ended = await self._ended(within_s)
        finally:
            self.kill()
        if not ended:
            raise self.error(f"did not finish within {within_s:g} s")
        if self.exit_code != 0:
            raise self.error(f"failed with code {self.exit_code}")

    async def stop(self, *, first: signal.Signals = signal.SIGTERM, patience_s: float = 5.0) -> None:
        """Sends `first`, and after `patience_s` SIGKILL to the child's whole session."""
        try:
            if self.exit_code is None:
                self._popen.send_signal(first)
                await self._ended(patience_s)
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends the child and all that it started, at once."""
        if self._output.closed:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # one that the kernel cannot end must not hold us up
            self._popen.wait(_KILLED_WITHIN_S)
        self._last_output = self.printed()
        self._output.close()

    async def _ended(self, within_s: float) -> bool:
        deadline = monotonic() + within_s
        while self.exit_code is None:
            if monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True
