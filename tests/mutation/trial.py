"""One suite against many mutants: a server that is asked on stdin, and answers on stdout, a line of JSON each.

pytest and hypothesis are imported once; every mutant then lives in a fork of its own, where the import of its module
finds the changed text. Nothing is written to the tree. Nothing of the product may be imported here, or the forks
would inherit it unchanged. Asked with `{"module", "path", "source", "rounds", "limit_s"}`, it answers with
`{"verdict", "by"}`: the verdict and the first test that failed. A later round of tests is run if no earlier one noticed.
"""

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis.strategies  # noqa: F401 - imported once, for every fork
import pytest

_POLL_S = 0.02
_NICENESS = 15  # a long run gives way to everything else
_OPTIONS = (
    "-x", "-q", "-p", "no:cacheprovider", "--confcutdir=tests/orders", "--hypothesis-profile=steady", "--timeout=30",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # hypothesis is here before pytest asks for it
)  # fmt: skip


class Verdict(StrEnum):
    SURVIVED = "survived"
    FAILED = "failed"  # a test noticed
    TIMED_OUT = "timed_out"  # which is noticed too
    BROKEN = "broken"  # pytest itself could not run: says nothing


_OF_EXIT_CODE: Mapping[int, Verdict] = {
    pytest.ExitCode.OK: Verdict.SURVIVED,
    pytest.ExitCode.TESTS_FAILED: Verdict.FAILED,
    pytest.ExitCode.INTERRUPTED: Verdict.FAILED,  # the module, or a test that imports it, broke at import
}


class Planted(MetaPathFinder, Loader):
    """The import of one module finds this text."""

    def __init__(self, module: str, path: Path, source: str) -> None:
        self._module = module
        self._path = path
        self._source = source

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def create_module(self, _spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._path, "exec"), module.__dict__)  # noqa: S102 - a mutant has to run


class FirstFailure:
    """A pytest plugin that notes which test noticed."""

    def __init__(self) -> None:
        self.name = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.name:
            self.name = f"the import of {report.nodeid}"


def serve() -> None:
    """Answers until stdin ends."""
    os.nice(_NICENESS)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    os.dup2(silence, sys.stderr.fileno())
    for line in sys.stdin:
        asked = json.loads(line)
        verdict, by = _tried(asked)
        answers.write(json.dumps({"verdict": verdict, "by": by}) + "\n")
        answers.flush()


def _tried(asked: Mapping[str, Any]) -> tuple[Verdict, str]:
    for tests in asked["rounds"]:
        verdict, by = _round(asked, tests)
        if verdict is not Verdict.SURVIVED:
            return verdict, by
    return Verdict.SURVIVED, ""


def _round(asked: Mapping[str, Any], tests: Sequence[str]) -> tuple[Verdict, str]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = int(pytest.ExitCode.INTERNAL_ERROR)
        try:
            os.close(reader)
            code = _run(asked, tests, writer)
        except BaseException as error:  # noqa: BLE001 - a fork must end here, and its parent has to know why
            os.write(writer, repr(error).encode())
        finally:
            os._exit(code)
    os.close(writer)
    status = _ended(child, float(asked["limit_s"]))
    with os.fdopen(reader, encoding="utf-8") as told:
        by = told.read()
    if status is None:
        return Verdict.TIMED_OUT, by
    return _OF_EXIT_CODE.get(os.waitstatus_to_exitcode(status), Verdict.BROKEN), by


def _run(asked: Mapping[str, Any], tests: Sequence[str], writer: int) -> int:
    """In the fork: the suite against the mutant; its first failure goes to the pipe."""
    sys.meta_path.insert(0, Planted(asked["module"], Path(asked["path"]), asked["source"]))
    noted = FirstFailure()
    code = pytest.main([*_OPTIONS, *tests], plugins=[noted])
    os.write(writer, noted.name.encode())
    return int(code)


def _ended(child: int, limit_s: float) -> int | None:
    """The exit status of the fork; None: it was still running, and has been killed."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(_POLL_S)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    serve()
