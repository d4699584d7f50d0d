"""The production worker that dies, or falls asleep, where its environment says: `python -m tests.chaos.victim`.

`CHAOS_AT` is a `Misfortune` as text, `CHAOS_PLANT` the name of a planted bug. Neither touches anything in `worker/`:
the one is the production seam's observer, the other wraps parts in this process only.
"""

import asyncio
import ctypes
import os
import signal
import ssl
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.plants import Plant, plant
from tests.chaos.schedule import Blow, Misfortune, Point
from worker.daemon import serve
from worker.errors import WorkerError
from worker.execution.steps import Moment, Observer
from worker.observe import log
from worker.settings import load_settings

AT, PLANT = "CHAOS_AT", "CHAOS_PLANT"
_SIGNALS = {Blow.KILL: signal.SIGKILL, Blow.PAUSE: signal.SIGSTOP}
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

# Everything here is spoken in the clear on the loopback: reading the world's certificates for every client of every
# life would be most of a start.
_context = ssl.create_default_context()
ssl.create_default_context = lambda *_, **__: _context


def observer(misfortune: Misfortune) -> Observer:
    """Strikes this process once, when it comes by the point for the nth time."""
    passed: Counter[Point] = Counter()

    def observe(step: str, moment: Moment) -> None:
        point = Point(step, moment)
        passed[point] += 1
        if point == misfortune.point and passed[point] == misfortune.nth:
            os.kill(os.getpid(), _SIGNALS[misfortune.blow])

    return observe


def main() -> None:
    """One life, as `polycopy-worker run --live` lives it."""
    settings = load_settings(None)
    log.configure(settings.log)
    if named := os.environ.get(PLANT):
        plant(Plant(named))
    at = os.environ.get(AT)
    try:
        asyncio.run(serve(settings, observer=observer(Misfortune.from_text(at)) if at else None))
    except WorkerError as error:
        sys.stderr.write(f"error: {log.redact(str(error))}\n")
        sys.exit(error.exit_code)


def live(environment: Mapping[str, str], log_file: Path) -> None:
    """The same in a fork of a process that has imported everything already; it dies with that process."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with log_file.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(environment)
    main()


if __name__ == "__main__":
    main()
