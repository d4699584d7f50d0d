"""The verbs that work: run, check, resolve, demo. No logic: options in, one call, an exit code out."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from worker.cli.door import (
    ACT,
    BEGIN,
    INTERRUPTED,
    Config,
    Json,
    app,
    ask,
    need_somebody,
    show_json,
    show_lines,
    show_result,
    talk,
)
from worker.errors import ConfigError, ExitCode, UsageError, WorkerError
from worker.observe import log
from worker.orders.lifecycle import AttemptState
from worker.orders.terms import Mode, StrategyId
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.handlers.lookback import Lookback
    from worker.verbs.check import Finding


@app.command(rich_help_panel=BEGIN)
def run(
    *,
    config: Config = None,
    live: Annotated[
        bool, typer.Option("--live", help='Spend money. Needs `mode = "live"` in the settings as well.')
    ] = False,
    no_backfill: Annotated[
        bool, typer.Option("--no-backfill", help="Leave what was inserted before this start to a later one.")
    ] = False,
    backfill_only: Annotated[
        bool, typer.Option("--backfill-only", help="Decide what is left, once, report, and exit.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN|TIME",
            help="Take in older signals on purpose: `12h`, `7d`, or `2026-11-20T00:00:00Z`. They stay in scope.",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(metavar="ID", help="With --since or --backfill-only: for this strategy alone."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="With --backfill-only: judge and report, write nothing, send nothing."
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --backfill-only: print the report as one JSON object.")
    ] = False,
) -> None:
    """Serve signals until SIGTERM or Ctrl-C: the daemon that systemd runs.

    Paper by default: the same path against the live book, nothing sent. SUPABASE_URL and
    SUPABASE_SERVICE_ROLE_KEY come from the environment or from systemd credentials.

    It begins with the backlog: every signal in scope that has no decision, the newest first, behind those that are
    inserted meanwhile. A signal younger than `signal.fresh_for_s` executes; an older one only if the book offers a
    price inside its cap; one older than `signal.max_age_s` is recorded as `signal_too_old`. A strategy's scope begins
    a day before its activation, and --since widens it: `run --backfill-only --since 7d --dry-run` shows what that
    would come to, and the same without --dry-run does it. No pair is ever decided twice, whichever of these runs.

        polycopy-worker run

        polycopy-worker run --config /etc/polycopy-worker/worker.toml --live
    """
    from worker.handlers.lookback import Lookback, parse_since  # noqa: PLC0415 - as below

    _agree_on_backfill(no_backfill, backfill_only, since, strategy, dry_run, as_json)
    lookback = Lookback(
        parse_since(since) if since is not None else None,
        StrategyId(strategy) if strategy is not None else None,
        said=since or "",
    )
    settings = load_settings(config)
    _agree_on_live(settings, live=live or (dry_run and settings.mode is Mode.LIVE))
    if backfill_only:
        raise typer.Exit(_work_off(settings, lookback, dry_run=dry_run, as_json=as_json))
    log.configure(settings.log)
    from worker.daemon import serve  # noqa: PLC0415 - the exchange's SDK takes a second to import

    asyncio.run(serve(settings, lookback=lookback, backfill=not no_backfill))


@app.command(rich_help_panel=BEGIN)
def check(*, config: Config = None, as_json: Json = False) -> None:
    """Ask every part once whether the worker could run: settings, keys, schema, strategies, exchange.

    Changes nothing, and prints what to mend. Exit code 0: it could; otherwise the code that `run` would end with.
    """
    try:
        settings = load_settings(config)
    except WorkerError as error:
        if as_json:
            _print_findings([_settings_finding(error)])
        raise
    log.configure(settings.log, stream=io.StringIO())  # the findings say it all
    findings, code = asyncio.run(_findings(settings, talking=not as_json))
    if as_json:
        _print_findings(findings)
    raise typer.Exit(code)


@app.command(rich_help_panel=ACT)
def resolve(
    attempt: Annotated[str, typer.Argument(help="An order's id, or how it begins (six hex digits or more).")],
    *,
    decision: Annotated[
        AttemptState | None,
        typer.Option(
            "--as",
            metavar="STATE",
            help="What it is to become: `lost`, `killed`, `rejected`, `cancelled` or `matched`, of those that the look "
            "offers. Without it, only look.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: it is written down with your name.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Look at an order whose outcome is not known, and decide about it if you know better.

    Shows what the ledger holds and what the exchange says now. The worker resolves such orders by itself, so decide
    only with evidence of your own, such as the exchange's website: deciding that an order is lost frees its capital.

        polycopy-worker resolve 0x60f91d

        polycopy-worker resolve 0x60f91d --as lost --reason "not on the exchange's website"
    """
    settings = load_settings(config)
    log.configure(settings.log)
    from worker.verbs.resolve import decide_case, open_cases, picture  # noqa: PLC0415 - as in `run`

    if decision is None:
        cases = asyncio.run(open_cases(settings, attempt))
        if as_json:
            show_json({"attempts": [case.as_json() for case in cases]})
        for case in () if as_json else cases:
            show_result(picture(case))
        return
    if not reason:
        raise UsageError("A decision needs its --reason: it is written down beside it.")
    if not yes:
        need_somebody("resolve")
        ask(f"Decide that {attempt} is {decision}?")
    state = asyncio.run(decide_case(settings, attempt, decision, reason))
    if as_json:
        show_json({"attempt": attempt, "state": state})
    else:
        show_lines([Text(f"{attempt} is {state} now.")])


@app.command(rich_help_panel=BEGIN)
def demo(
    *,
    signals: Annotated[
        int, typer.Option(min=0, metavar="N", help="End after so many signals; 0: until Ctrl-C.")
    ] = 60,
    rate: Annotated[
        float, typer.Option(min=0.1, max=200, metavar="N", help="Signals per second, 0.1 to 200.")
    ] = 4.0,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed makes the same simulated markets and traders.")
    ] = 0,
    recording: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Replay the books and prints of an events.csv.gz (tokens.json must lie beside it) as market and "
            "signals, so fast that they come at --rate on average; in real time, so no two runs are quite alike.",
        ),
    ] = None,
    hosted: Annotated[
        bool, typer.Option("--hosted", help="Deliver signals as late as hosted Supabase Realtime does.")
    ] = False,
    no_dashboard: Annotated[
        bool,
        typer.Option(
            "--no-dashboard",
            help="Start no `web` beside the worker: no dashboard, and more of this machine for trading.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Watch copy trades happen on this machine: no account, no key, nothing leaves it.

    Starts a private Supabase project, a simulated exchange, three strategies and the production worker, and
    streams signals at it. It prints the address of its dashboard, where the worker answers a monitor, and a script that
    is this command for a second terminal. Ends with a summary that the database and the exchange's journal vouch for.
    Ctrl-C ends the stream and has it summed up, with exit code 130; a second one ends everything.

        polycopy-worker demo --signals 0 --rate 2
    """
    from worker.sandbox.demo import DemoPlan, run_demo  # noqa: PLC0415 - the sandbox is an extra
    from worker.sandbox.demo_table import summary_of  # noqa: PLC0415
    from worker.sandbox.errors import SandboxError  # noqa: PLC0415

    plan = DemoPlan(
        signals=signals,
        rate_per_s=rate,
        seed=seed,
        recording=recording,
        hosted=hosted,
        dashboard=not no_dashboard,
    )
    try:
        report = asyncio.run(run_demo(plan, talk))
    except SandboxError as error:
        talk.print(f"[red]error:[/] {escape(str(error))}")
        raise typer.Exit(ExitCode.CRASH) from None
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        show_json(report.as_json())
    else:
        show_result(summary_of(report))
    if report.broken:
        talk.print(
            f"[red]FAILED:[/] {report.missed} missed, {report.undecided} undecided, {report.duplicates} duplicates. "
            "A machine that is busy with something else falls behind: try a lower --rate."
        )
        raise typer.Exit(ExitCode.CRASH)
    raise typer.Exit(INTERRUPTED if report.interrupted else ExitCode.OK)


def _work_off(settings: Settings, lookback: "Lookback", *, dry_run: bool, as_json: bool) -> int:
    from worker.verbs.backfill import Errand, work_off  # noqa: PLC0415 - as in `run`
    from worker.verbs.backfill_report import Tally, shown  # noqa: PLC0415

    # One line for each decision would drown the progress: the report counts them, and the ledger has them all.
    log.configure(settings.log.model_copy(update={"level": "warning"}))
    tally = Tally()
    with shown(tally, talk):
        report = asyncio.run(work_off(settings, Errand(lookback, dry_run=dry_run), tally))
    if as_json:
        show_json(report.as_json())
    else:
        show_result(report.as_table())
        show_lines(Text(sentence) for sentence in report.sentences())
    if report.failure is not None:
        raise report.failure
    if report.interrupted:
        return INTERRUPTED
    return ExitCode.UPSTREAM_UNREACHABLE if report.undone else ExitCode.OK


async def _findings(settings: Settings, *, talking: bool) -> "tuple[list[Finding], ExitCode]":
    from worker.verbs.check import Grade, preflight  # noqa: PLC0415 - as in `run`

    marks = {Grade.OK: "[green]ok[/]  ", Grade.WARN: "[yellow]warn[/]", Grade.FAIL: "[red]FAIL[/]"}
    findings: list[Finding] = []
    code = ExitCode.OK
    async for finding in preflight(settings):
        findings.append(finding)
        code = code or finding.exit_code or ExitCode.OK
        if talking:
            mark = Text.from_markup(marks[finding.grade])
            show_lines([mark.append(f" {finding.thing}: {log.redact(finding.detail)}")])
    return findings, code


def _settings_finding(error: WorkerError) -> "Finding":
    from worker.verbs.check import Finding  # noqa: PLC0415 - as in `run`

    return Finding.failure("settings", str(error), error.exit_code)


def _print_findings(findings: Sequence["Finding"]) -> None:
    ready = all(finding.grade != "fail" for finding in findings)
    show_json({"ready": ready, "findings": [one.as_json() for one in findings]})


def _agree_on_backfill(
    no_backfill: bool,  # noqa: FBT001 - a flag as it was given
    backfill_only: bool,  # noqa: FBT001 - a flag as it was given
    since: str | None,
    strategy: str | None,
    dry_run: bool,  # noqa: FBT001 - a flag as it was given
    as_json: bool,  # noqa: FBT001 - a flag as it was given
) -> None:
    """Flags that contradict each other, or do nothing, are mistakes: each is told with the way out."""
    if no_backfill and (backfill_only or since is not None):
        other = "--backfill-only" if backfill_only else "--since"
        raise UsageError(f"--no-backfill contradicts {other}: leave one of them out.")
    if strategy is not None and since is None and not backfill_only:
        raise UsageError("--strategy narrows a backfill: add --since or --backfill-only.")
    for flag, given in (("--dry-run", dry_run), ("--json", as_json)):
        if given and not backfill_only:
            raise UsageError(f"{flag} is about a backfill that ends: add --backfill-only.")


def _agree_on_live(settings: Settings, *, live: bool) -> None:
    """Money needs two yeses."""
    if settings.mode is Mode.LIVE and not live:
        raise ConfigError('The settings say mode = "live": add --live to spend money, or set mode = "paper".')
    if live and settings.mode is not Mode.LIVE:
        raise ConfigError('--live needs mode = "live" in the settings as well (or POLYCOPY_MODE=live).')
