"""What every verb stands on: the command itself, the options that all share, how they talk, and how errors end.

stdout is data, stderr is talk, exit codes are a contract (docs/exit-codes.md).
"""

import json
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from worker.errors import WorkerError
from worker.observe import log

app = typer.Typer(
    name="polycopy-worker",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file. Default: $POLYCOPY_CONFIG, else config/worker.toml."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

INTERRUPTED = 130  # the shells' number for a program that Ctrl-C ended

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


def show_lines(lines: Iterable[Text]) -> None:
    """Data for people, on stdout: as it is, however narrow the terminal."""
    out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for line in lines:
        out.print(line)


def show_json(answer: Mapping[str, Any]) -> None:
    """Data for machines: one object on one line. No secret passes."""
    sys.stdout.write(log.redact(json.dumps(answer, default=str)) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run a verb; a `WorkerError` becomes one sentence and its exit code, never a traceback."""
    try:
        app()
    except WorkerError as error:
        _end(error)
    except ExceptionGroup as group:
        expected, unexpected = group.split(WorkerError)
        if unexpected is not None or expected is None:
            raise
        _end(_first(expected))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _first(group: ExceptionGroup[WorkerError]) -> WorkerError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _end(error: WorkerError) -> None:
    talk.print(f"[red]error:[/] {escape(log.redact(str(error)))}")
    sys.exit(error.exit_code)
