"""What the long runs have in common: a command line that explains itself, and an orderly end when they are told to stop.

The first Ctrl-C or SIGTERM cancels a run, which takes down what it has started; what it had found so far is printed all
the same. A second one hurries that. Exit codes: 0, 1 (a promise did not hold), 2 (wrong options), 130 (interrupted).
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from worker.sandbox.errors import SandboxError
from worker.sandbox.interrupts import Interrupts

INTERRUPTED: Final = 130
_WIDTH: Final = 100
_EPILOG: Final = """\
how long it takes: {lasts}

examples:
{examples}

exit codes:
  0    {holds}
  1    not, or this machine cannot run it
  2    wrong options
  130  interrupted: what was done so far is printed

make turns every exit code but 0 into 2. Scripts that tell 1 from 2 run `.venv/bin/python -m {module}`.
"""

T = TypeVar("T")
SoFar = dict[str, Any]


# --- the command line ---------------------------------------------------------------------------------------------


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_WIDTH, max_help_position=26)


def parser(
    verb: str, about: str, *, module: str, lasts: str, holds: str, examples: Sequence[str], words: str = ""
) -> argparse.ArgumentParser:
    """For `make VERB`. `examples`: what stands in ARGS; `holds`: what exit code 0 means; `words`: what else to know."""
    lines = [f'  make {verb} ARGS="{one}"' if one else f"  make {verb}" for one in examples]
    epilog = _EPILOG.format(lasts=lasts, holds=holds, module=module, examples="\n".join(lines))
    return argparse.ArgumentParser(
        prog=f"make {verb}",
        usage=f'make {verb} ARGS="[option ...]"',
        description=about,
        epilog=f"{words.strip()}\n\n{epilog}" if words else epilog,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )


def add_json(options: argparse.ArgumentParser) -> None:
    options.add_argument(
        "--json", action="store_true", help="Print one JSON object on stdout instead of text (default: text)."
    )


def add_count(options: argparse.ArgumentParser, name: str, meaning: str, *, least: int, default: int) -> None:
    """An option that is a number of things."""
    meaning = f"{meaning} (default: %(default)s)."
    options.add_argument(name, type=whole(least=least), default=default, metavar="N", help=meaning)


def add_list(options: argparse.ArgumentParser, listed: Mapping[str, Collection[str]]) -> None:
    """`--list` prints names under their headings, and ends."""

    class List(argparse.Action):
        def __call__(self, *_: Any, **__: Any) -> None:
            for heading, names in listed.items():
                sys.stdout.write("\n".join([heading, *(f"  {name}" for name in names)]) + "\n")
            raise SystemExit(0)

    options.add_argument("--list", action=List, nargs=0, help=f"Print the names of {_and(listed)}, and end.")


def _and(names: Collection[str]) -> str:
    *others, last = [name.rstrip(":") for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def whole(*, least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument's type: a whole number within bounds."""
    allowed = f"{least} or more" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: it takes a whole number, {allowed}")
        return value

    return read


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def positive(unit: str) -> Callable[[str], float]:
    """An argument's type: a number of `unit` above 0."""

    def read(text: str) -> float:
        if not (value := _number(text)) > 0:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: it takes a number of {unit} above 0")
        return value

    return read


def not_negative(unit: str) -> Callable[[str], float]:
    """An argument's type: a number of `unit`, 0 or more."""

    def read(text: str) -> float:
        if not (value := _number(text)) >= 0:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not allowed: it takes a number of {unit}, 0 or more"
            )
        return value

    return read


def one_of(names: Collection[str]) -> Callable[[str], str]:
    """An argument's type: a name that `--list` prints."""

    def read(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed: it takes a name that --list prints")
        return text

    return read


def folder(text: str) -> Path:
    """An argument's type: a folder that can be written to, made if need be."""
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed: it takes a folder that can be written to, and {error.strerror}"
        ) from error
    return path


# --- the run ------------------------------------------------------------------------------------------------------


def conduct(run: Callable[[SoFar], Awaitable[T]], *, as_json: bool, **known: object) -> T:
    """What the run comes to. It writes into the mapping that it is given (`known` to begin with) what it has done.

    Interrupted, it is cancelled, what stands there is printed, and the program ends with 130; it ends with 1 and a
    sentence where this machine cannot do what the run needs.
    """
    so_far: SoFar = dict(known)

    async def heard() -> T:
        with Interrupts.listening() as interrupts:
            try:
                return await run(so_far)
            except Exception as error:
                if not interrupts.heard:
                    raise
                tell(f"while stopping: {error!r}")
                raise asyncio.CancelledError from error

    try:
        return asyncio.run(heard())
    except (asyncio.CancelledError, KeyboardInterrupt):
        tell("interrupted")
        said = {**so_far, "interrupted": True}
        lines = (f"{name}: {value}" for name, value in said.items())
        sys.stdout.write((json.dumps(said) if as_json else "\n".join(lines)) + "\n")
        sys.stdout.flush()
        raise SystemExit(INTERRUPTED) from None
    except SandboxError as error:
        tell(f"error: {error}")
        raise SystemExit(1) from error


def tell(line: str) -> None:
    """Progress goes to stderr: stdout is for the result."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
