"""Everything that can happen to the feed, while signals flow: `make feed-faults ARGS="--rate 10 --seed 7"`.

One line for each fault: how many rows the feed lost, how many the sweep found, none missed, none twice, and how long
the slowest took from its commit to the exchange. Exit code 0: every line holds, and so did the equation at every
sample; 1: not.
"""

import json
import logging
import random
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from tests.feed.faults import FEED_TRIALS
from tests.feed.outages import Outage
from tests.feed.play import DEAD_FROM_THE_START, NAMES, Control, Outcome, Plan, play
from tests.feed.trials import Result
from tests.support.tool import (
    add_json,
    add_list,
    conduct,
    not_negative,
    one_of,
    parser,
    positive,
    tell,
    whole,
)

_COLUMNS = (
    "fault",
    "signals",
    "lost by feed",
    "found by sweep",
    "missed",
    "twice",
    "worst ms",
    "degraded s",
    "back s",
)
_WIDTH = 34
_ABOUT: Final = """\
Every known fault of the feed and every outage of the database strikes in turn while signals flow; the equation of seen
and decided signals is counted all the while. One line for each fault: how many rows the feed lost, how many the sweep
found, none missed, none twice, and how long the slowest took from its commit to the exchange."""
_LISTED: Final[Mapping[str, Collection[str]]] = {
    "faults of the feed (--only):": [DEAD_FROM_THE_START.name, *(trial.name for trial in FEED_TRIALS)],
    "outages of the database (--only):": list(Outage),
    "controls (--control):": list(Control),
}


def _as_json(outcome: Outcome) -> dict[str, Any]:
    books = outcome.books
    return {
        "holds": outcome.holds,
        "signals": len(books.signals),
        "pairs": len(books.pairs),
        "executed": books.executed,
        "skipped": dict(books.reasons),
        "missed": len(books.missed),
        "twice": books.duplicates,
        "lost_by_feed": sum(result.lost_by_feed for result in outcome.results),
        "found_by_sweep": sum(result.found_by_sweep for result in outcome.results),
        "samples": outcome.samples,
        "samples_unbalanced": len(outcome.unbalanced),
        "samples_late": len(outcome.late),
        "rate_per_s": outcome.plan.rate_per_s,
        "seed": outcome.plan.seed,
        "trials": [asdict(result) for result in outcome.results],
    }


def _table(outcome: Outcome) -> str:
    head = f"{_COLUMNS[0]:<{_WIDTH}}" + "".join(f"{name:>16}" for name in _COLUMNS[1:]) + "  verdict"
    return "\n".join([head, *map(_line, outcome.results)])


def _line(result: Result) -> str:
    cells = (
        result.signals,
        result.lost_by_feed,
        result.found_by_sweep,
        result.missed,
        result.twice,
        _number(result.worst_ms, ".0f"),
        _number(result.degraded_s, ".1f"),
        _number(result.back_s, ".1f"),
    )
    verdict = "ok" if result.holds else "; ".join(result.wrong)
    return f"{result.name:<{_WIDTH}}" + "".join(f"{cell:>16}" for cell in cells) + f"  {verdict}"


def _number(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


def _report(outcome: Outcome, *, as_json: bool) -> None:
    for pair in outcome.books.missed[:20]:
        tell(f"MISSED: {pair}")
    for sample in [*outcome.unbalanced, *outcome.late][:20]:
        tell(f"THE EQUATION DOES NOT HOLD: {sample}")
    said = _as_json(outcome)
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
        return
    del said["trials"]
    sys.stdout.write(_table(outcome) + "\n\n")
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in said.items()) + "\n")


def _arguments(given: Sequence[str] | None) -> tuple[Plan, bool]:
    options = parser(
        "feed-faults",
        _ABOUT,
        module="tests.feed.run",
        lasts="about 7 min for all of them in turn, 1.5 min with --mixed 60 (2 cores)",
        holds="every line holds, and so did the equation at every sample",
        examples=(
            "--rate 10 --seed 7",
            "--only dead_channels --only postgrest_restarted",
            "--mixed 60 --json",
            "--control no-sweep",
        ),
    )
    option = options.add_argument
    option(
        "--rate",
        type=positive("signals per second"),
        default=10.0,
        metavar="N",
        help="Write so many signals per second (default: %(default)g).",
    )
    option(
        "--seed",
        type=whole(least=0),
        metavar="N",
        help="Draw markets, traders and the mixture from this (default: a random one, printed).",
    )
    option(
        "--slack",
        type=not_negative("seconds"),
        default=0.0,
        metavar="SECONDS",
        help="Add so many seconds to every limit of time, for a machine that is busy with something else; 2 is "
        "typical, 20 for a test suite beside it (default: %(default)g s).",
    )
    what = options.add_mutually_exclusive_group()
    what.add_argument(
        "--only",
        action="append",
        type=one_of(NAMES),
        default=[],
        metavar="NAME",
        help="Let only this fault or outage strike; may be given several times (default: all that --list prints).",
    )
    what.add_argument(
        "--mixed",
        type=positive("seconds"),
        metavar="SECONDS",
        help="Faults, paused strategies and outages at once for so many seconds (default: one after the other).",
    )
    what.add_argument(
        "--control",
        type=one_of(list(Control)),
        metavar="NAME",
        help="Do what must make the run fail, or it proves nothing: without a sweep on a dead feed, or with a decision "
        "deleted or inserted behind the worker's back (default: none).",
    )
    add_list(options, _LISTED)
    add_json(options)
    chosen = options.parse_args(given)
    plan = Plan(
        seed=random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed,
        rate_per_s=chosen.rate,
        only=frozenset(chosen.only),
        mixed_s=chosen.mixed,
        control=chosen.control and Control(chosen.control),
        slack_s=chosen.slack,
    )
    return plan, chosen.json


def main(given: Sequence[str] | None = None) -> int:
    plan, as_json = _arguments(given)
    # Connections that break are what this is about: the sandbox need not show where it noticed.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    tell(f"seed {plan.seed}")
    outcome = conduct(partial(play, plan), as_json=as_json, seed=plan.seed, signals=0, trials=[])
    _report(outcome, as_json=as_json)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
