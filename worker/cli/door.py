"""What every verb stands on: the command itself, the options that all share, how they talk, and how errors end.

stdout is data, stderr is talk, exit codes are a contract (docs/exit-codes.md).
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from worker.errors import ExitCode, UsageError, WorkerError, innermost
from worker.observe import log

if TYPE_CHECKING:
    from rich.console import RenderableType

    from worker.database.reports import Reports
    from worker.settings import Settings
    from worker.verbs.words import Part

_T = TypeVar("_T")

# The verbs as `--help` lists them: under each title in the order in which a newcomer needs them.
BEGIN, LOOK, ACT = "Begin", "See what happens, and why", "Step in"
_VERBS = (
    "demo", "check", "run",
    "status", "feed", "orders", "explain", "audit", "web",
    "pause", "resume", "kill", "arm", "resolve",
)  # fmt: skip


class _Verbs(TyperGroup):
    def list_commands(self, ctx: object) -> list[str]:  # noqa: ARG002 - the base class's signature
        return sorted(self.commands, key=_VERBS.index)


app = typer.Typer(
    name="polycopy-worker",
    cls=_Verbs,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Settings. Default: $POLYCOPY_CONFIG, else config/worker.toml."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

INTERRUPTED = 130  # the shells' number for a program that Ctrl-C ended
_NO_TERMINAL = 160  # columns

talk = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def front_door(
    context: typer.Context,
    *,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Executes copy-trade signals from Supabase on Polymarket's order book: once, at a bounded price, explained."""
    if show_version:
        sys.stdout.write(f"polycopy-worker {version('polycopy-worker')}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(context.get_help() + "\n")


def look(settings: "Settings", read: "Callable[[Reports], Awaitable[_T]]") -> _T:
    """What the database answers. Raises what `open_reports` does."""
    from worker.verbs.looking import open_reports  # noqa: PLC0415 - Supabase's client takes a second to import

    async def ask_it() -> _T:
        async with open_reports(settings) as reports:
            return await read(reports)

    return asyncio.run(ask_it())


def screen() -> Console:
    """Where data for people goes: stdout, in colour on a terminal that wants it."""
    return Console(highlight=False, markup=False, emoji=False)


def show_lines(parts: "Iterable[Part]") -> None:
    """Data for people, on stdout: laid out for the terminal, and as it is where there is none."""
    from worker.verbs.words import laid_out  # noqa: PLC0415 - `--help` needs no arithmetic

    out = screen()
    for line in laid_out(parts, out.width if out.is_terminal else None):
        out.print(line, soft_wrap=not out.is_terminal)


def show_result(result: "RenderableType") -> None:
    """A result for people that knows its own layout, on stdout; no narrower than it needs where there is no terminal."""
    out = screen()
    if not out.is_terminal:
        out.width = max(out.width, _NO_TERMINAL)
    out.print(result)


def show_json(answer: Mapping[str, Any]) -> None:
    """Data for machines: one object on one line. No secret passes."""
    sys.stdout.write(log.redact(json.dumps(answer, default=str)) + "\n")
    sys.stdout.flush()


def need_somebody(action: str) -> None:
    """Raises `UsageError` where there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UsageError(f"`{action}` asks before it acts: without a terminal add --yes.")


def ask(question: str, *, facts: "Iterable[Part]" = ()) -> None:
    """Show the facts, ask, and return if the answer is yes. Not inside a loop of asyncio, which keeps Ctrl-C for itself.

    A no changes nothing and ends with 0: it was asked for. Ctrl-C at the question ends as it does everywhere.
    """
    from worker.verbs.words import laid_out  # noqa: PLC0415 - as in `show_lines`

    for line in laid_out(facts, talk.width):
        talk.print(line)
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        talk.print()
        raise typer.Exit(INTERRUPTED) from None
    if not agreed:
        talk.print("Nothing was changed.")
        raise typer.Exit(ExitCode.OK)


def main() -> None:
    """Run a verb; a `WorkerError` becomes one sentence and its exit code, never a traceback."""
    try:
        app()
    except WorkerError as error:
        _end(error)
    except ExceptionGroup as group:
        if not isinstance(inner := innermost(group), WorkerError):
            raise
        _end(inner)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _end(error: WorkerError) -> None:
    talk.print(f"[red]error:[/] {escape(log.redact(str(error)))}")
    sys.exit(error.exit_code)
