"""`make api-fuzz`: every operation of the API, asked for in all the ways that schemathesis knows.

The whole process of `polycopy-worker web`, with its dashboard, before a database with some of everything in it.
"""

import argparse
import json
import sys

from tests.support import tool
from tests.web.conftest import TOKEN
from tests.web.fuzzing import fuzz, stock
from worker.sandbox.supabase import SupabaseSandbox
from worker.sandbox.worker_process import WorkerProcess

_ABOUT = """\
The production `polycopy-worker web`, before a database with some of everything in it. Schemathesis asks for every operation
that /openapi.json describes, with values that it allows and with values that it does not, with the token and without it;
each answer has to be one that the document promises."""


def _parser() -> argparse.ArgumentParser:
    options = tool.parser(
        "api-fuzz",
        _ABOUT,
        module="tests.web.run",
        lasts="a few minutes with 100 examples",
        holds="every answer was one that the document promises, and nothing was done without the token",
        examples=("", "--examples 500", "--seed 7 --json"),
    )
    tool.add_count(options, "--examples", "Make so many requests of each operation", least=1, default=100)
    options.add_argument("--seed", type=tool.whole(least=0), help="Makes the same examples again.")
    tool.add_json(options)
    return options


async def _fuzzed(examples: int, seed: int | None) -> tuple[int, str]:
    async with SupabaseSandbox.start() as supabase:
        await stock(supabase.dsn)
        environment = {
            "SUPABASE_URL": supabase.url,
            "SUPABASE_SERVICE_ROLE_KEY": supabase.service_role_key,
            "POLYCOPY_WEB_TOKEN": TOKEN,
            "POLYCOPY_WEB__PORT": "0",
        }
        async with WorkerProcess.start(environment, verb="web") as web:
            return await fuzz(web.status.removeprefix("listening on "), examples=examples, seed=seed)


def main() -> int:
    asked = _parser().parse_args()
    code, said = tool.conduct(lambda _: _fuzzed(asked.examples, asked.seed), as_json=asked.json)
    sys.stdout.write(json.dumps({"holds": code == 0, "said": said}) + "\n" if asked.json else said)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
