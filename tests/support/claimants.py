"""A process that claims: all it is told at once, over a few connections, as one worker of several would.

`python -m tests.support.claimants DSN FENCE` reads one line of JSON for each volley, {strategy_id: [ft_order_id]}, and
answers each with one line: [[strategy_id, reason | null if granted]].
"""

import asyncio
import json
import sys

import psycopg

from tests.support.desk import Desk, order_id

CONNECTIONS = 3


async def claim(desks: asyncio.Queue[Desk], strategy_id: str, signal: str) -> tuple[str, str | None]:
    exchange_order_id = order_id()
    while True:
        desk = await desks.get()
        try:
            answer = await desk.claim(signal, strategy_id, exchange_order_id=exchange_order_id)
        except psycopg.errors.LockNotAvailable:
            continue  # many wait on a slow machine: asked again with the same id, it is the same claim
        finally:
            desks.put_nowait(desk)
        return strategy_id, answer.get("reason")


async def main(dsn: str, fence: int) -> None:
    desks: asyncio.Queue[Desk] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        desk = await Desk.open(dsn)
        desk.fence = fence
        desks.put_nowait(desk)
    while line := await asyncio.to_thread(sys.stdin.readline):
        pairs = [
            (strategy_id, signal) for strategy_id, signals in json.loads(line).items() for signal in signals
        ]
        answers = await asyncio.gather(*(claim(desks, *pair) for pair in pairs))
        sys.stdout.write(json.dumps(answers) + "\n")
        sys.stdout.flush()
    while not desks.empty():
        await desks.get_nowait().close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
