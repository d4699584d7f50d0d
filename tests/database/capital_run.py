"""Random walks of capital, as long as one likes: `make capital ARGS="--walks 20 --steps 1000"`.

Each walk moves the paper and the live account of a strategy at random and compares every number, after every step, with
an independent model and with SQL's own sums from zero. Exit code 0: they were the same after every step; 1: not, and
the seed and the step say where.
"""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.database.capital_walk import Walk
from tests.support.tool import SoFar, add_json, conduct, parser, tell, whole
from worker.sandbox.migrations import apply_migrations
from worker.sandbox.postgres import Postgres

_ABOUT: Final = """\
Claims, fills, partial fills, further attempts, cancellations, reversals, sales, resolutions by either side, redemptions,
crashes and checkpoints at random, in two accounts of one strategy. After every step all numbers are compared with an
independent model, in exact decimals, and with the sums from zero."""


async def walk_all(seeds: Sequence[int], steps: int, so_far: SoFar) -> tuple[Counter[str], str | None]:
    """How often each move was made, and what was wrong first, or None."""
    taken: Counter[str] = Counter()
    so_far["moves"] = taken
    async with Postgres.start() as server:
        template = await server.create_project(with_auth_users=False)
        await apply_migrations(server.dsn(template))
        for seed in seeds:
            tell(f"walk {seed} ...")
            async with server.database(template=template) as name:
                walk = await Walk.begin(server.dsn(name), seed)
                try:
                    await walk.steps(steps)
                except AssertionError as error:
                    return taken, str(error)
                finally:
                    await walk.end()
                    taken.update(walk.taken)
    return taken, None


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "capital",
        _ABOUT,
        module="tests.database.capital_run",
        lasts="about 10 ms a step (2 cores)",
        holds="every number was right after every step",
        examples=("--walks 20 --steps 1000", "--first 7 --walks 1 --json"),
    )
    options.add_argument(
        "--walks", type=whole(least=1), default=10, metavar="N", help="So many walks (default: 10)."
    )
    options.add_argument(
        "--steps", type=whole(least=1), default=500, metavar="N", help="Of so many steps each (default: 500)."
    )
    options.add_argument(
        "--first", type=whole(least=0), default=1, metavar="SEED", help="The first one's seed (default: 1)."
    )
    add_json(options)
    asked = options.parse_args(given)
    seeds = range(asked.first, asked.first + asked.walks)
    moves, wrong = conduct(partial(walk_all, seeds, asked.steps), as_json=asked.json, moves={})
    if asked.json:
        sys.stdout.write(json.dumps({"moves": moves, "holds": wrong is None, "wrong": wrong}) + "\n")
    else:
        for move, count in sorted(moves.items()):
            sys.stdout.write(f"{count:>7} {move}\n")
        sys.stdout.write(f"FAILED: {wrong}\n" if wrong else "ok: every number was right after every step\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
