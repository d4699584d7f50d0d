"""`python -m worker.sandbox.exchange`: the simulated exchange as a process of its own.

Prints one line of JSON with its addresses once it listens, then runs until SIGTERM or Ctrl-C.
"""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from worker.sandbox.exchange.markets import Market
from worker.sandbox.exchange.population import Population, population_markets
from worker.sandbox.exchange.recording import Recording, Replay
from worker.sandbox.exchange.rules import Rules, SettlementDelays
from worker.sandbox.exchange.server import SimulatedExchange
from worker.sandbox.exchange.tape import Tape


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.sandbox.exchange", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port (0: any free one)")
    parser.add_argument("--markets", type=int, default=20, help="markets of the simulated crowd")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--looks-per-s", type=float, default=20.0, help="pace of the crowd (0: it stands still)"
    )
    parser.add_argument("--recording", type=Path, help="folder of a recording to replay beside the crowd")
    parser.add_argument("--speed", type=float, default=1.0, help="of the replay, times real time")
    parser.add_argument("--mined-after-s", type=float, default=2.0)
    parser.add_argument("--confirmed-after-s", type=float, default=3.0)
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    crowd: list[Market] = population_markets(arguments.markets, seed=arguments.seed)
    recording = Recording.load(arguments.recording) if arguments.recording else None
    rules = Rules(
        settlement=SettlementDelays(
            to_mined_s=arguments.mined_after_s, to_confirmed_s=arguments.confirmed_after_s
        )
    )
    markets = [*crowd, *(recording.markets if recording else ())]
    async with (
        SimulatedExchange.start(markets, rules=rules, seed=arguments.seed, port=arguments.port) as exchange,
        asyncio.TaskGroup() as tasks,
    ):
        population = Population(
            exchange.house,
            crowd,
            now_ms=lambda: exchange.engine.clock.now_ns() // 1_000_000,
            seed=arguments.seed,
        )
        population.open()
        background = []
        if crowd and arguments.looks_per_s > 0:
            background.append(tasks.create_task(population.run(looks_per_s=arguments.looks_per_s)))
        if recording is not None:
            replay = Replay(recording, exchange.house)
            replay.warm_up()
            background.append(tasks.create_task(_play(replay, arguments.speed, exchange.tape)))
        line = json.dumps({"http_url": exchange.http_url, "ws_url": exchange.ws_url})
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        await _until_stopped()
        for task in background:
            task.cancel()


async def _play(replay: Replay, speed: float, tape: Tape) -> None:
    async for entry in replay.run(speed=speed):
        tape.add(entry)


async def _until_stopped() -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments()))
