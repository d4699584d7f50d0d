"""Everything that can happen to the feed, while signals flow: `python -m tests.feed.run --rate 10 --seed 7 --json`.

One line for each fault: how many rows the feed lost, how many the sweep found, none missed, none twice, and how long
the slowest took from its commit to the exchange. Exit code 0: every line holds, and so did the equation at every
sample; 1: not.
"""

import argparse
import asyncio
import json
import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tests.chaos.troop import tell
from tests.feed.play import NAMES, Control, Outcome, Plan, play
from tests.feed.trials import Result

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
    parser = argparse.ArgumentParser(prog="make feed-faults", description=__doc__)
    parser.add_argument("--rate", type=float, default=10.0, help="signals per second")
    parser.add_argument("--seed", type=int, help="default: a random one, printed")
    parser.add_argument(
        "--only", action="append", default=[], metavar="FAULT", help="may be given several times"
    )
    parser.add_argument("--mixed", type=float, metavar="SECONDS", help="faults, pauses and outages at once")
    parser.add_argument(
        "--slack", type=float, default=0.0, metavar="SECONDS", help="for a machine that is busy"
    )
    parser.add_argument("--control", type=Control, choices=list(Control), help="what must make the run fail")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    chosen = parser.parse_args(given)
    plan = Plan(
        seed=random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed,
        rate_per_s=chosen.rate,
        only=frozenset(chosen.only),
        mixed_s=chosen.mixed,
        control=chosen.control,
        slack_s=chosen.slack,
    )
    if unknown := plan.only - NAMES:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(NAMES))}")
    return plan, chosen.json


def main(given: Sequence[str] | None = None) -> int:
    plan, as_json = _arguments(given)
    # Connections that break are what this is about: the sandbox need not show where it noticed.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    tell(f"seed {plan.seed}")
    outcome = asyncio.run(play(plan))
    _report(outcome, as_json=as_json)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
