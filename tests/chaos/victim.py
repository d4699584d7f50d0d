"""The production worker that dies, or falls asleep, where it is appointed to.

`CHAOS_PLANT` in its environment names a planted bug. Neither touches anything in `worker/`: an appointment is the
production seam's observer, a planted bug wraps parts in this process only.
"""

import asyncio
import ctypes
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.appointments import Appointments
from tests.chaos.plants import Plant, plant
from worker.daemon import serve
from worker.errors import WorkerError
from worker.execution.steps import Observer
from worker.observe import log
from worker.settings import load_settings

PLANT = "CHAOS_PLANT"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

# Everything here is spoken in the clear on the loopback: reading the world's certificates for every client of every
# life would be most of a start.
_context = ssl.create_default_context()
ssl.create_default_context = lambda *_, **__: _context


def _run(observer: Observer) -> None:
    """One life, as `polycopy-worker run --live` lives it."""
    settings = load_settings(None)
    log.configure(settings.log)
    if named := os.environ.get(PLANT):
        plant(Plant(named))
    try:
        asyncio.run(serve(settings, observer=observer))
    except WorkerError as error:
        sys.stderr.write(f"error: {log.redact(str(error))}\n")
        sys.exit(error.exit_code)


def live(environment: Mapping[str, str], log_file: Path, appointments: Appointments) -> None:
    """The same in a fork of a process that has imported everything already; it dies with that process."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    with log_file.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(environment)
    _run(appointments.observe)
