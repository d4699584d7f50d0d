"""What systemd is told: ready, still alive, a status line, stopping. Silent where there is no systemd.

The protocol of sd_notify(3): one datagram of `KEY=value` lines to the socket named by NOTIFY_SOCKET. A listener
that does not listen costs a notice, never a moment of trading.
"""

import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class ServiceManager:
    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        variables = os.environ if environ is None else environ
        address = variables.get("NOTIFY_SOCKET", "")
        # A leading @ means the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._heard = True

    def ready(self, status: str) -> bool:
        """Returns False when the listener's queue is full: to be told again."""
        return self._send(f"READY=1\n{_status(status)}")

    def status(self, status: str) -> bool:
        """As `ready`."""
        return self._send(_status(status))

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\n{_status(status)}")

    def _send(self, message: str) -> bool:
        if not self._address:
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            # A full queue would otherwise hold the event loop until somebody reads it.
            channel.setblocking(False)
            try:
                channel.connect(self._address)
                channel.sendall(message.encode())
            except OSError as error:
                if self._heard:
                    log.warning("service_manager.deaf", error=str(error))
                self._heard = False
                return not isinstance(error, BlockingIOError)
        self._heard = True
        return True


def _status(sentence: str) -> str:
    """One line: what followed a line break would be read as another assignment."""
    return "STATUS=" + " ".join(sentence.split())
