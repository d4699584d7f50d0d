"""The mixed soak: `make soak ARGS="--mixed --minutes 30"`.

Exit code 0: at every quiet point exchange and database agreed on every fill, fee and balance to the last unit; 1: not.
"""

import json
import logging
import random
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.soak.mixed import Plan, mixed
from tests.soak.plants import Plant
from tests.support.tool import add_json, add_list, conduct, one_of, parser, positive, tell, whole

_ABOUT: Final = """\
Every type of order, partial fills, trades that fail afterwards, re-takes, reprices, cancellations, sales, markets that
are won, lost or void, a user stream that loses and repeats, and an exchange that fails in every known way, all at once
under one production worker. Every half a minute all becomes quiet, and both books are compared, whole: orders, fills, fees,
capital, and what the wallets own."""


def _arguments(given: Sequence[str] | None) -> tuple[Plan, bool]:
    options = parser(
        "soak",
        _ABOUT,
        module="tests.soak.run",
        lasts="as long as --minutes says, and one quiet point more",
        holds="at every quiet point exchange and database agreed, to the last unit",
        examples=("--mixed --minutes 30", "--mixed --minutes 1 --json", "--mixed --minutes 0.1 --plant fee"),
    )
    options.add_argument("--mixed", action="store_true", help="This soak, and not that of memory.")
    options.add_argument(
        "--minutes",
        type=positive("minutes"),
        default=1.0,
        metavar="N",
        help="Go on for so long (default: %(default)g).",
    )
    options.add_argument(
        "--seed",
        type=whole(least=0),
        metavar="N",
        help="Draw markets, traders, fates and faults from this (default: a random one, printed).",
    )
    options.add_argument(
        "--plant",
        type=one_of(list(Plant)),
        metavar="NAME",
        help="Plant this discrepancy of one unit at the end: the run has to fail (default: none).",
    )
    add_list(options, {"discrepancies (--plant):": list(Plant)})
    add_json(options)
    chosen = options.parse_args(given)
    seed = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    plants = [Plant(chosen.plant)] if chosen.plant else []
    return Plan(seconds=chosen.minutes * 60, seed=seed, plants=plants), chosen.json


def main(given: Sequence[str] | None = None) -> int:
    plan, as_json = _arguments(given)
    # A request that is cut off in the middle is what this is about: the sandbox need not show where it noticed.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    tell(f"seed {plan.seed}")
    outcome = conduct(partial(mixed, plan), as_json=as_json, seed=plan.seed, signals=0)
    for complaint in [line for lines in outcome.quiet_points for line in lines][:40]:
        tell(f"WRONG: {complaint}")
    said = outcome.as_json()
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
    else:
        sys.stdout.write("\n".join(f"{name}: {value}" for name, value in said.items()) + "\n")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
