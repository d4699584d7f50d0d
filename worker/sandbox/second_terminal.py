"""A way into a small world from another terminal: a script that is the command with that world's addresses and keys.

It lies in a private directory and vanishes with the world; the keys in it open nothing else.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from worker.sandbox.workspace import workspace

# Whoever looks, or turns a switch, needs no wallet and no exchange.
_NEEDED = ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "POLYCOPY_MODE")


@contextmanager
def way_in(environment: Mapping[str, str]) -> Iterator[Path]:
    """The script's path, while the block lasts. `environment`: what the world's worker is started with."""
    with workspace() as folder:
        path = folder / "worker"
        settings = [f"{name}={shlex.quote(environment[name])}" for name in _NEEDED]
        command = [shlex.quote(sys.executable), "-m", "worker"]
        home = f"cd {shlex.quote(str(Path(__file__).parents[2]))}"
        path.write_text(
            f'#!/bin/sh\n{home} || exit\nexec env {" ".join([*settings, *command])} "$@"\n', "utf-8"
        )
        path.chmod(0o700)
        yield path


def how_to_look(path: Path) -> tuple[str, ...]:
    """What a newcomer may type into a second terminal."""
    return (
        "while it runs, look at it from a second terminal:",
        f"  {path} feed --follow      what happens, as it happens",
        f"  {path} explain <signal>   why one was traded or not; the feed shows the first digits of its id",
        f"  {path} status             or: audit, orders --open, pause --strategy LT_VALUE_PATIENT --reason why",
    )
