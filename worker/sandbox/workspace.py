"""A private temporary directory that vanishes with its owner, even an owner that was killed.

The owner holds a lock on the directory; the kernel drops it with the process. Whoever starts next
removes every directory of ours whose lock is free, and no other.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.sandbox.processes import Account, unprivileged_account

_PREFIX = "polycopy-sandbox-"
# A unix socket's path has room for 107 bytes; PostgreSQL's own name in it takes 20.
_LONGEST_PARENT = 50
_SYSTEM_WIDE = Path("/tmp")  # noqa: S108 - only a fresh private directory is made in it


@contextmanager
def workspace(account: Account | None = None, *, parent: Path | None = None) -> Iterator[Path]:
    """Makes a directory only its owner (`account`, else the caller) and root may enter; removes it at exit.

    It is in `parent`; without one, where temporary files are.
    """
    parent = parent or _parent(account)
    _sweep(parent)
    path, lock = _locked_directory(parent)
    try:
        if account is not None:
            os.chown(path, account.uid, account.gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _parent(account: Account | None) -> Path:
    chosen = Path(tempfile.gettempdir())
    short = len(os.fsencode(chosen)) <= _LONGEST_PARENT
    return chosen if short and (account is None or account.may_run(chosen)) else _SYSTEM_WIDE


def _locked_directory(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # a sweeper took it before it was locked
        if _try_lock(lock) and path.exists():
            return path, lock
        os.close(lock)


def _sweep(parent: Path) -> None:
    account = unprivileged_account()
    owners = {os.geteuid()} | ({account.uid} if account else set())
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            if path.lstat().st_uid not in owners:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or not a directory of ours
        try:
            if _try_lock(lock):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
