"""Would the tests notice? `make mutants`: the pure rules of money, changed one expression at a time.

Every mutant of the modules below meets the tests of `tests/orders`. Nearly all must be noticed; each one that is not
stands in `survivors.toml` with the reason why it may live. Exit code 0: so it is; 1: not.
"""

import asyncio
import json
import os
import signal
import sys
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from tests.mutation.mutations import Mutant, mutants
from tests.mutation.trial import Verdict
from tests.support.tool import SoFar, add_json, add_list, conduct, one_of, parser, tell, whole

ROOT: Final = Path(__file__).parents[2]
SURVIVORS: Final = Path(__file__).with_name("survivors.toml")
TARGETS: Final = ("pricing", "amounts", "sizing", "guards", "outcomes")
NOTICED_LEAST: Final = 0.90

_ABOUT: Final = f"""\
Changes the modules {", ".join(TARGETS)} of worker/orders one expression at a time - a comparison, a rounding, a number, a
row of a table - and runs tests/orders against each change. At least {NOTICED_LEAST:.0%} have to be noticed, and every
one that is not has to stand in tests/mutation/survivors.toml with a reason."""
_TESTS: Final = "tests/orders"
_TOLD_EVERY: Final = 50
_LIMIT_LEAST_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Trial:
    mutant: Mutant
    verdict: Verdict
    by: str  # the test that noticed

    @property
    def noticed(self) -> bool:
        return self.verdict in {Verdict.FAILED, Verdict.TIMED_OUT}


@dataclass(frozen=True, slots=True)
class Outcome:
    trials: Sequence[Trial]
    excused: Mapping[str, str]
    seconds: float

    @property
    def survivors(self) -> Sequence[Trial]:
        return [trial for trial in self.trials if trial.verdict is Verdict.SURVIVED]

    @property
    def share(self) -> float:
        return sum(trial.noticed for trial in self.trials) / len(self.trials)

    def problems(self) -> Sequence[str]:
        """One sentence for each thing that is not as it has to be."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        for trial in self.trials:
            if trial.verdict is Verdict.BROKEN:
                yield f"the tests could not be run: {trial.mutant.name}"
        for trial in self.survivors:
            if trial.mutant.name not in self.excused:
                yield f"nothing noticed line {trial.mutant.line}: {trial.mutant.name}"
        alive = {trial.mutant.name for trial in self.survivors}
        tried = {trial.mutant.module for trial in self.trials}
        for name in self.excused:
            if name.split()[0] in tried and name not in alive:
                yield f"no survivor any more, take it off the list: {name}"
        if self.share < NOTICED_LEAST:
            yield f"{self.share:.1%} were noticed, less than {NOTICED_LEAST:.0%}"

    def figures(self) -> Mapping[str, Any]:
        modules = Counter(trial.mutant.module for trial in self.trials)
        noticed = Counter(trial.mutant.module for trial in self.trials if trial.noticed)
        return {
            "mutants": len(self.trials),
            "noticed": sum(noticed.values()),
            "share": round(self.share, 4),
            "modules": {
                name: {"mutants": count, "noticed": noticed[name]} for name, count in modules.items()
            },
            "survivors": [
                {"mutant": trial.mutant.name, "why": self.excused.get(trial.mutant.name)}
                for trial in self.survivors
            ],
            "seconds": round(self.seconds, 1),
            "problems": self.problems(),
        }


# --- the run -----------------------------------------------------------------------------------------------------


class Server:
    """A process that tries one mutant after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator["Server"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.mutation.trial",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # so that it ends with every fork
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()

    async def tried(self, mutant: Mutant, limit_s: float) -> Trial:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "module": f"worker.orders.{mutant.module}",
            "path": str(_path(mutant.module)),
            "source": mutant.source,
            "rounds": _rounds(mutant.module),
            "limit_s": limit_s,
        }
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        await self._process.stdin.drain()
        answer = await self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The server of trials died of {mutant.name}.")
        told = json.loads(answer)
        return Trial(mutant, Verdict(told["verdict"]), told["by"])


async def run(so_far: SoFar, *, modules: Collection[str], jobs: int) -> Outcome:
    began_s = monotonic()
    waiting = [mutant for name in modules for mutant in mutants(name, _path(name).read_text("utf-8"))]
    so_far["mutants"] = len(waiting)
    tell(f"{len(waiting)} mutants of {', '.join(modules)}")
    limit_s = await _untouched(modules)
    trials: list[Trial] = []
    left = iter(waiting)

    async def serve() -> None:
        async with Server.started() as server:
            for mutant in left:
                trial = await server.tried(mutant, limit_s)
                trials.append(trial)
                so_far["tried"] = len(trials)
                if not trial.noticed:
                    tell(f"{trial.verdict}: line {mutant.line}: {mutant.name}")
                if len(trials) % _TOLD_EVERY == 0:
                    tell(f"{len(trials)} of {len(waiting)} after {monotonic() - began_s:.0f} s")

    async with asyncio.TaskGroup() as group:
        for _ in range(jobs):
            group.create_task(serve())
    return Outcome(trials, excused(), monotonic() - began_s)


async def _untouched(modules: Collection[str]) -> float:
    """How long a mutant may take. Raises SystemExit where the tests fail without any."""
    began_s = monotonic()
    name = next(iter(modules))
    same = Mutant(name, "", 0, "nothing", "nothing", _path(name).read_text("utf-8"))
    async with Server.started() as server:
        trial = await server.tried(same, 600.0)
    if trial.verdict is not Verdict.SURVIVED:
        tell(f"error: without any mutant the tests of {_TESTS} are not green: {trial.by or trial.verdict}")
        raise SystemExit(1)
    return max(_LIMIT_LEAST_S, 5 * (monotonic() - began_s))


def excused() -> Mapping[str, str]:
    """Mutant -> why it may live."""
    kept = tomllib.loads(SURVIVORS.read_text("utf-8"))
    return {each["mutant"]: each["why"] for each in kept.get("survivor", [])}


def _path(module: str) -> Path:
    return ROOT / "worker" / "orders" / f"{module}.py"


def _rounds(module: str) -> Sequence[Sequence[str]]:
    """The module's own tests first: few mutants get any further."""
    files = sorted(f"{_TESTS}/{path.name}" for path in (ROOT / _TESTS).glob("test_*.py"))
    own = [name for name in files if name.endswith(f"/test_{module}.py")]
    return [own, [name for name in files if name not in own]]


# --- the command -------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(
        "mutants", _ABOUT, module="tests.mutation.run", lasts="about 10 minutes on 2 cores",
        holds="all are noticed but those that are listed, with a reason",
        examples=("", "--only pricing sizing", "--json"),
    )  # fmt: skip
    options.add_argument(
        "--only", nargs="+", metavar="MODULE", type=one_of(TARGETS), default=list(TARGETS),
        help="These modules alone (default: all that --list prints).",
    )  # fmt: skip
    options.add_argument(
        "--jobs",
        type=whole(least=1),
        default=2,
        metavar="N",
        help="Mutants that are tried at once (default: 2).",
    )
    add_list(options, {"modules:": TARGETS})
    add_json(options)
    chosen = options.parse_args(arguments)
    outcome = conduct(partial(run, modules=chosen.only, jobs=chosen.jobs), as_json=chosen.json)
    sys.stdout.write((json.dumps(outcome.figures()) if chosen.json else report(outcome)) + "\n")
    return 1 if outcome.problems() else 0


def report(outcome: Outcome) -> str:
    figures = outcome.figures()
    lines = [
        f"{name:<10} {each['noticed']:>4} of {each['mutants']:>4} noticed"
        for name, each in figures["modules"].items()
    ]
    lines.append(
        f"{'all':<10} {figures['noticed']:>4} of {figures['mutants']:>4} noticed: {outcome.share:.1%}, in {outcome.seconds:.0f} s"
    )
    lines.append(
        f"{len(outcome.survivors)} survived, {len(outcome.survivors) - _unlisted(outcome)} of them listed with a reason"
    )
    lines += outcome.problems() or ["every promise held"]
    return "\n".join(lines)


def _unlisted(outcome: Outcome) -> int:
    return sum(trial.mutant.name not in outcome.excused for trial in outcome.survivors)


if __name__ == "__main__":
    raise SystemExit(main())
