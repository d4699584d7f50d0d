"""Many resting orders that their market leaves behind: `make reprice ARGS="--orders 200"`.

Exit code 0: each was cancelled and repriced, or closed, within its limit, none twice, and the look-ups kept to their
lane; 1: not.
"""

import json
import logging
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from tests.resting.drill import Outcome, left_behind
from tests.support.tool import SoFar, add_count, add_json, conduct, parser, tell
from tests.support.trading_room import open_room
from worker.sandbox.supabase import SupabaseSandbox

_PATIENCE_S = 300.0
_ABOUT: Final = """\
GTC orders rest while their market moves away; minutes of production are seconds. Each of them has to come off the book,
and to be tried again at its next price while somebody offers it, or to be closed: at most twice, at no other price, never
beside an attempt that is still alive, and with no more look-ups than their lane gives. The exchange's own books judge."""


async def measure(orders: int, so_far: SoFar) -> Outcome:
    async with SupabaseSandbox.start() as supabase, open_room(supabase) as room:
        tell(f"{orders} orders ...")
        return await left_behind(room, orders, patience_s=_PATIENCE_S, so_far=so_far)


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "reprice",
        _ABOUT,
        module="tests.resting.run",
        lasts="about 2 min with 200 orders (2 cores)",
        holds="all of this held",
        examples=("--orders 200", "--orders 50 --json"),
    )
    add_count(options, "--orders", "Have so many orders rest", least=2, default=200)
    add_json(options)
    chosen = options.parse_args(given)
    # Each step of each order is told; what counts is what they come to.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    outcome = conduct(partial(measure, chosen.orders), as_json=chosen.json, orders=0)
    for complaint in outcome.complaints[:40]:
        tell(f"WRONG: {complaint}")
    if chosen.json:
        sys.stdout.write(json.dumps(outcome.as_json()) + "\n")
    else:
        sys.stdout.write("\n".join(f"{name}: {value}" for name, value in outcome.as_json().items()) + "\n")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
