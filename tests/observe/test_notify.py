"""What systemd hears, by the protocol of sd_notify(3), and that nobody has to listen."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from worker.observe.notify import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """As systemd writes it: @ stands for the abstract namespace."""
    return "@polycopy-" + secrets.token_hex(8) if request.param == "abstract" else str(tmp_path / "notify")


@pytest.fixture
def systemd(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> str:
    return listener.recv(4096).decode()


def test_each_notice_is_one_datagram_of_assignments(systemd: socket.socket, address: str) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address})
    service.ready("trading")
    service.status("trading, degraded (feed: not live)")
    service.alive()
    service.stopping("draining")
    assert [heard(systemd) for _ in range(4)] == [
        "READY=1\nSTATUS=trading",
        "STATUS=trading, degraded (feed: not live)",
        "WATCHDOG=1",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_a_status_is_one_line_whatever_an_error_said(systemd: socket.socket, address: str) -> None:
    ServiceManager({"NOTIFY_SOCKET": address}).status("sweep: HTTP 500\nREADY=1\n")
    assert heard(systemd) == "STATUS=sweep: HTTP 500 READY=1"


def test_a_listener_that_does_not_read_never_holds_the_worker_and_is_told_again(
    systemd: socket.socket, address: str
) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address})
    for _ in range(2000):  # more than any queue of datagrams takes; a call that waited would wait for ever
        service.alive()
    assert not service.status("trading")
    with suppress(BlockingIOError):
        while True:
            assert heard(systemd) == "WATCHDOG=1"
    assert service.status("trading")
    assert heard(systemd) == "STATUS=trading"


def test_a_listener_that_is_gone_is_no_trouble(systemd: socket.socket, address: str, tmp_path: Path) -> None:
    service = ServiceManager({"NOTIFY_SOCKET": address})
    systemd.close()
    (tmp_path / "notify").unlink(missing_ok=True)
    service.alive()
    service.ready("trading")


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}])
def test_without_systemd_nothing_is_said(environ: dict[str, str]) -> None:
    ServiceManager(environ).ready("trading")
