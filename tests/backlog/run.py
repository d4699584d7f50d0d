"""A start over a long backlog, measured: `make backlog ARGS="--rows 5000 --poison 50"`.

Exit code 0: ready within seconds, every fresh signal on the wire within a second, and the backlog complete.
"""

import json
import sys
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final

from tests.backlog.drill import FOLLOWERS, Outcome, Plan, drill
from tests.support.tool import SoFar, add_count, add_json, conduct, parser, tell
from worker.sandbox.world import open_world

_READY_WITHIN_S = 15.0
_WIRE_WITHIN_S = 1.0
_ABOUT: Final = f"""\
A strategy is switched on over a day of undecided signals, some of which fail whenever they are tried, and the
production worker is started over them. It has to be ready within {_READY_WITHIN_S:g} s, send every signal that is
inserted meanwhile within {_WIRE_WITHIN_S:g} s of its commit, and decide the whole backlog."""


async def measure(plan: Plan, so_far: SoFar) -> Outcome:
    async with open_world(markets=2, followers=FOLLOWERS, deposit_usd=Decimal(1_000_000), say=tell) as world:
        tell(f"{plan.rows} rows, {plan.poison} of which fail whenever they are tried ...")
        return await drill(world, plan, so_far)


def verdict(outcome: Outcome, plan: Plan) -> dict[str, bool]:
    return {
        "ready within seconds": outcome.ready_s <= _READY_WITHIN_S,
        "every fresh signal on the wire within a second": len(outcome.wire_s) == plan.fresh
        and max(outcome.wire_s) <= _WIRE_WITHIN_S,
        "fresh before backlog": outcome.fresh_before_the_end,
        "the backlog complete, nothing truncated": sum(outcome.decided.values()) == plan.rows + plan.fresh
        and outcome.undecided == outcome.missed == 0,
        "what fails is deferred": outcome.poisoned_deferred == plan.poison,
    }


def _arguments(given: Sequence[str] | None) -> tuple[Plan, bool]:
    options = parser(
        "backlog",
        _ABOUT,
        module="tests.backlog.run",
        lasts="4 to 5 min with 5000 rows (2 cores)",
        holds="all of this held",
        examples=("--rows 5000 --poison 50", "--rows 500 --poison 5 --json"),
    )
    add_count(options, "--rows", "Have so many undecided signals before the start", least=1, default=5000)
    add_count(
        options, "--poison", "Have so many of --rows be of a market that never answers", least=0, default=50
    )
    add_count(
        options,
        "--fresh",
        "Insert so many signals, one a second, once the worker is ready",
        least=1,
        default=10,
    )
    add_json(options)
    chosen = options.parse_args(given)
    if chosen.poison > chosen.rows:
        options.error(
            f"argument --poison: '{chosen.poison}' is not allowed: it takes no more than --rows, {chosen.rows}"
        )
    return Plan(rows=chosen.rows, poison=chosen.poison, fresh=chosen.fresh), chosen.json


def main(given: Sequence[str] | None = None) -> int:
    plan, as_json = _arguments(given)
    outcome = conduct(partial(measure, plan), as_json=as_json, rows=0, fresh=0)
    judged = verdict(outcome, plan)
    if as_json:
        sys.stdout.write(json.dumps({**outcome.as_json(), "verdict": judged}) + "\n")
    else:
        for name, value in outcome.as_json().items():
            sys.stdout.write(f"{name:>22}  {value}\n")
        for claim, holds in judged.items():
            sys.stdout.write(f"{'ok' if holds else 'FAILED':>22}  {claim}\n")
    return 0 if all(judged.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
