"""The API under schemathesis: whatever its own document promises is asked for, and a lot that it does not.

In a process of its own, for it blocks. `/api/lt/feed` is left out: a stream that goes on for ever has no answer to judge.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.desk import Desk, fill
from tests.web.conftest import TOKEN

_WHOLE: Final = ("examples", "coverage", "fuzzing", "stateful")
_YEARS_S: Final = "100000000"


async def stock(dsn: str) -> None:
    """Some of everything, and a worker's lease, so that a sweep can be asked for."""
    desk = await Desk.open(dsn)
    await desk.strategy()
    await desk.strategy("LT_VALUE", ft_wallet_id="FT_TWO")
    await desk.lease(ttl_s=_YEARS_S)
    await desk.balance()
    for shares in ("12", "4"):
        order = (await desk.claim(await desk.signal()))["exchange_order_id"]
        await desk.record(order, "matched", closed=True, fills=[fill(shares)])
    await desk.decide(await desk.signal(), reason="signal_too_old")
    await desk.close()


async def fuzz(
    address: str, *, phases: Sequence[str] = _WHOLE, examples: int, seed: int | None = None
) -> tuple[int, str]:
    """The exit code, 0 where nothing was found, and what schemathesis says."""
    with tempfile.TemporaryDirectory(prefix="polycopy-") as folder:  # it keeps notes where it is started
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"), "run", f"{address}/openapi.json",
            "--header", f"Authorization: Bearer {TOKEN}",
            "--exclude-path", "/api/lt/feed",
            "--phases", ",".join(phases),
            "--max-examples", str(examples),
            *(() if seed is None else ("--seed", str(seed))),
            "--request-timeout", "30",
            "--suppress-health-check", "all",
            "--no-color",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            cwd=folder,
        )  # fmt: skip
        said, _ = await process.communicate()
    return process.returncode or 0, said.decode(errors="replace")
