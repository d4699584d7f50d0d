"""A start over a long backlog, measured: `python -m tests.backlog.run --rows 5000 --poison 50 --json`.

Exit code 0: ready within seconds, every fresh signal on the wire within a second, and the backlog complete.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from decimal import Decimal

from tests.backlog.drill import FOLLOWERS, Outcome, Plan, drill
from worker.sandbox.world import open_world

_READY_WITHIN_S = 15.0
_WIRE_WITHIN_S = 1.0


async def measure(plan: Plan) -> Outcome:
    async with open_world(markets=2, followers=FOLLOWERS, deposit_usd=Decimal(1_000_000), say=tell) as world:
        tell(f"{plan.rows} rows, {plan.poison} of which fail whenever they are tried ...")
        return await drill(world, plan)


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


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--poison", type=int, default=50, help="rows whose market never answers")
    parser.add_argument("--fresh", type=int, default=10, help="signals inserted once the worker is ready")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    chosen = parser.parse_args(given)
    plan = Plan(rows=chosen.rows, poison=chosen.poison, fresh=chosen.fresh)
    outcome = asyncio.run(measure(plan))
    judged = verdict(outcome, plan)
    if chosen.json:
        sys.stdout.write(json.dumps({**outcome.as_json(), "verdict": judged}) + "\n")
    else:
        for name, value in outcome.as_json().items():
            tell(f"{name:>22}  {value}")
        for claim, holds in judged.items():
            tell(f"{'ok' if holds else 'FAILED':>22}  {claim}")
    return 0 if all(judged.values()) else 1


def tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
