"""A way into a small world from another terminal: a script that is the command with that world's settings.

Every verb works through it as it does beside a service: also `check` and `resolve`, which need the wallets' keys and the
exchange, and `run --live`, which is a stand-by then. It lies in a private directory and vanishes with the world; the keys
in it open nothing else.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.sandbox.processes import LOOPBACK
from worker.sandbox.workspace import workspace


@contextmanager
def way_in(environment: Mapping[str, str]) -> Iterator[Path]:
    """The script's path, while the block lasts. `environment`: what the world's worker is started with."""
    with workspace() as folder:
        path = folder / "worker"
        settings = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())
        home = f"cd {shlex.quote(str(Path(__file__).parents[2]))} || exit"
        command = f'exec {shlex.quote(sys.executable)} -m worker "$@"'
        path.touch(mode=0o700)
        path.write_text(f"#!/bin/sh\n{settings}\n{home}\n{command}\n", "utf-8")
        yield path


def how_to_monitor(port: int) -> str:
    """Where the worker answers its monitor."""
    return f"the worker itself: curl http://{LOOPBACK}:{port}/readyz   whether it can trade; also /livez, /metrics"


def how_to_look(path: Path) -> tuple[str, ...]:
    """What a newcomer may type into a second terminal."""
    return (
        "while it runs (`--signals 0`: until Ctrl-C), look at it from a second terminal; it is gone with the demo:",
        f"  {path} feed --follow      what happens, as it happens",
        f"  {path} explain <signal>   why one was traded or not; the feed shows the first digits of its id",
        f"  {path} status             or: audit, orders --open, check, pause --strategy LT_VALUE_PATIENT --reason why",
    )
