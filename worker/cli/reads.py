"""The verbs that look: explain, audit, status, orders, feed. They change nothing, and need no wallet key.

What --json prints is a contract: docs/cli-json.md.
"""

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from worker.cli.door import LOOK, Config, Json, app, look, screen, show_json, show_lines
from worker.errors import DatabaseUnreachable, ExitCode, UsageError
from worker.observe import log
from worker.orders.terms import StrategyId
from worker.settings import Settings, load_settings

if TYPE_CHECKING:
    from worker.verbs.words import Part

Since = Annotated[
    str,
    typer.Option(metavar="SPAN|TIME", help="How far back: `90m`, `24h`, `7d`, or `2026-11-20T00:00:00Z`."),
]
Strategy = Annotated[str | None, typer.Option(metavar="ID", help="For this strategy alone.")]


class Shown(Protocol):
    """A value that was read, and can be told in both ways."""

    def as_json(self) -> dict[str, Any]: ...
    def lines(self) -> "Iterable[Part]": ...


@app.command(rich_help_panel=LOOK)
def explain(
    ft_order_id: Annotated[
        str,
        typer.Argument(
            help="A signal's id, its order's or the exchange's: whole, or six digits of it or more."
        ),
    ],
    *,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Why a signal was traded or not: for each strategy what it decided, when, from which numbers, and what came of it.

    A skip shows the number that failed, the limit that it met, and the number that would have passed. Exit code 2:
    nothing is known by this id.

        polycopy-worker explain 89320a8b-5c00-4356-beef-36ef8217513b

        polycopy-worker explain 89320a8b --json | jq '.strategies[].passing'
    """
    from worker.verbs.explain import read_story  # noqa: PLC0415 - Supabase's client takes a second to import

    story = look(_settings(config), lambda reports: read_story(reports, ft_order_id))
    _show(story, as_json=as_json)
    raise typer.Exit(ExitCode.OK if story.found else ExitCode.USAGE)


@app.command(rich_help_panel=LOOK)
def audit(
    *, since: Since = "24h", strategy: Strategy = None, config: Config = None, as_json: Json = False
) -> None:
    """What became of all signals: seen = executed + skipped + deferred + undecided, why not more, fills, latencies.

    Counted independently of each other, so that a lost decision shows. Exit code 2: the equation does not hold, or
    signals wait for a decision for more than five seconds.

        polycopy-worker audit --since 7d

        polycopy-worker audit --strategy LT_ONE --json | jq .total.skipped_by
    """
    from worker.verbs.audit import read_audit  # noqa: PLC0415 - as in `explain`

    begins, only = _lookback(since), _strategy(strategy)
    told = look(_settings(config), lambda reports: read_audit(reports, begins, only))
    _show(told, as_json=as_json)
    raise typer.Exit(ExitCode.OK if told.holds else ExitCode.USAGE)


@app.command(rich_help_panel=LOOK)
def status(
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """How trading stands, as the database sees it: workers, switches, capital, open orders, what needs a human.

    Exit code 0: nothing needs you. 5: an order does. 4: something was killed, or a breaker tripped. 2: anything else
    that needs you.

        polycopy-worker status --watch

        polycopy-worker status --json | jq .needs_human
    """
    if watch and as_json:
        raise UsageError("--watch is for people: without it, --json can be asked as often as you like.")
    settings = _settings(config)
    if watch:
        asyncio.run(_watch(settings))
        return
    from worker.verbs.standing import read_standing  # noqa: PLC0415 - as in `explain`

    standing = look(settings, read_standing)
    _show(standing, as_json=as_json)
    raise typer.Exit(standing.exit_code)


@app.command(rich_help_panel=LOOK)
def orders(
    *,
    only_open: Annotated[
        bool, typer.Option("--open", help="Those that may still trade, however old.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Those that came to nothing, with why.")] = False,
    strategy: Strategy = None,
    since: Since = "24h",
    limit: Annotated[
        int, typer.Option(min=1, max=500, metavar="N", help="How many at most: up to 500.")
    ] = 50,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Orders, the newest first: what was bet, what it came to, and how long it is pending.

    Times are in UTC; what of a signal's id stands here is enough for `explain`. Under the table stands why, of what came
    to nothing.

        polycopy-worker orders --open

        polycopy-worker orders --failed --since 7d --strategy LT_ONE
    """
    if only_open and failed:
        raise UsageError("--open and --failed together leave nothing: give one of them.")
    from worker.database.reports import OrderChoice  # noqa: PLC0415 - as in `explain`
    from worker.verbs.orders import read_orders  # noqa: PLC0415

    which = OrderChoice.OPEN if only_open else OrderChoice.FAILED if failed else OrderChoice.ALL
    begins, only = _lookback(since), _strategy(strategy)

    _show(
        look(_settings(config), lambda reports: read_orders(reports, which, begins, only, limit=limit)),
        as_json=as_json,
    )


@app.command(rich_help_panel=LOOK)
def feed(
    *,
    following: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as things happen, until Ctrl-C.")
    ] = False,
    since: Since = "10m",
    strategy: Strategy = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Decisions and fills, each once, the oldest first; with --follow as they happen.

    Times are in UTC. What of a signal's id stands here is enough for `explain`. A column is as wide as what it usually
    holds, so a long reason moves the market's title to the right.

        polycopy-worker feed --follow

        polycopy-worker feed --since 1h --strategy LT_ONE --json | jq 'select(.event == "fill.booked")'
    """
    span = _lookback(since)
    if isinstance(span, datetime):
        raise UsageError("--since of a feed is a span, such as 10m or 1h.")
    every_s = _FOLLOW_EVERY_S if following else None
    asyncio.run(_print_feed(_settings(config), span, _strategy(strategy), every_s, as_json=as_json))


_FOLLOW_EVERY_S = 0.5
_WATCH_EVERY_S = 2.0


def _settings(config: "Config") -> Settings:
    settings = load_settings(config)
    log.configure(settings.log)
    return settings


def _lookback(since: str) -> timedelta | datetime:
    """Raises `UsageError` for what is no span and no time, or has not come yet."""
    from worker.handlers.lookback import parse_since, refuse_future  # noqa: PLC0415 - as in `explain`

    begins = parse_since(since)
    if isinstance(begins, datetime):
        refuse_future(begins, datetime.now(UTC), said=since)
    return begins


def _strategy(name: str | None) -> StrategyId | None:
    return None if name is None else StrategyId(name)


def _show(value: Shown, *, as_json: bool) -> None:
    if as_json:
        show_json(value.as_json())
    else:
        show_lines(value.lines())


async def _watch(settings: Settings) -> None:
    """Until Ctrl-C. A database that does not answer for a while is told, and asked again."""
    from worker.verbs.looking import open_reports  # noqa: PLC0415 - as in `explain`
    from worker.verbs.standing import read_standing  # noqa: PLC0415
    from worker.verbs.words import laid_out  # noqa: PLC0415

    out = screen()
    parts: tuple[Part, ...] = ()
    with Live(console=out, auto_refresh=False, screen=True) if out.is_terminal else nullcontext() as live:
        while True:
            try:
                async with open_reports(settings) as reports:
                    while True:
                        parts = tuple((await read_standing(reports)).lines())
                        _draw(out, live, laid_out(parts, out.width if live else None))
                        await asyncio.sleep(_WATCH_EVERY_S)
            except DatabaseUnreachable as error:
                trouble = Text(log.redact(str(error)), style="bold red")
                _draw(out, live, laid_out((trouble, Text(), *parts), out.width if live else None))
                await asyncio.sleep(_WATCH_EVERY_S)


def _draw(out: Console, live: Live | None, lines: Iterable[Text]) -> None:
    if live is not None:
        live.update(Group(*lines), refresh=True)
        return
    for line in (*lines, Text()):
        out.print(line, soft_wrap=True)


async def _print_feed(
    settings: Settings, back: timedelta, strategy: StrategyId | None, every_s: float | None, *, as_json: bool
) -> None:
    from worker.verbs.feed import Sheet, follow  # noqa: PLC0415 - as in `explain`
    from worker.verbs.looking import open_reports  # noqa: PLC0415
    from worker.verbs.names import known_strategy  # noqa: PLC0415

    async with open_reports(settings) as reports:
        only = await known_strategy(reports, strategy)
        events = follow(reports, back=back, strategy_id=only, every_s=every_s)
        if as_json:
            async for event in events:
                show_json(event)
            return
        sheet = Sheet(await reports.strategy_names())
        show_lines([sheet.heading()])
        async for event in events:
            show_lines(sheet.lines(event))
        if sheet.is_empty:
            show_lines([Text("Nothing happened in this time; --since 24h looks further back.")])
