"""The worker's memory while very many signals pass: `make soak ARGS="--signals 100000"`.

Nearly all of them are for strategies that are paused, so that orders do not set the pace; a few are executed, so that
the whole way is walked. Exit code 0: every signal was decided once, and after the warm-up the worker's resident
memory grew by less than the limit; 1: not.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final

from tests.feed.books import Books, Pair
from tests.feed.flow import Line, insert
from tests.feed.scene import Scene, WorkerLog, open_feed_world, open_scene
from tests.support.tool import SoFar, add_count, add_json, conduct, parser, tell
from worker.sandbox.signals import Trade, random_trades, signal_row
from worker.sandbox.world import Follower, World

GROWTH_MOST_MIB = 10.0
_ABOUT: Final = f"""\
Very many signals pass through the production worker while its resident memory is watched. Nearly all of them are for
strategies that are paused, so that orders do not set the pace; a few are executed, so that the whole way is walked.
After a warm-up memory has to grow by less than {GROWTH_MOST_MIB:g} MiB, and every signal has to be decided once."""
_STRATEGIES = 100
_EXECUTED_ONE_IN = 100
_BATCH = 20
_UNDECIDED_MOST = 600
_LOOK_EVERY_S = 0.1
_SETTLE_WITHIN_S = 30.0
_WARM_UP_LEAST = 2_000
_TRADES = 19  # in turn; of no common measure with those that are executed
_TOLD = 20  # samples of memory that are printed
_SIZE_USD = Decimal(10)
_PAUSE = b"update public.lt_strategies set is_paused = true where strategy_id like 'SOAK_PAUSED%'"
_DECIDED = b"select count(*) as number from public.lt_decisions where mode = 'live'"


@dataclass(frozen=True, slots=True)
class Plan:
    signals: int
    seed: int = 0
    strategies: int = _STRATEGIES

    @property
    def warm_up(self) -> int:
        """Signals after which memory should stand still: pools are filled, caches warm, code paths walked.

        In a long run also what the worker remembers for a quarter of a minute, at a thousand signals a second.
        """
        return max(self.signals // 5, min(_WARM_UP_LEAST, self.signals // 2))

    def followers(self) -> Sequence[Follower]:
        active = Follower("SOAK_ACTIVE", "FT_ACTIVE", 0, "FAK", Decimal("5.0"))
        paused = (
            Follower(f"SOAK_PAUSED_{n}", f"FT_PAUSED_{n}", 0, "FAK", Decimal("5.0"))
            for n in range(1, self.strategies)
        )
        return (active, *paused)


@dataclass(frozen=True, slots=True)
class Memory:
    decided: int
    rss_mib: float


@dataclass(frozen=True, slots=True)
class Outcome:
    plan: Plan
    seconds: float
    memory: Sequence[Memory]
    decided: int
    executed: int
    missed: Sequence[Pair]
    duplicates: int

    @property
    def warm_mib(self) -> float:
        """What it had when it was warm: the first tenth of the samples since."""
        return median(self._since_warm()[: max(1, len(self._since_warm()) // 10)])

    @property
    def growth_mib(self) -> float:
        """What the last tenth of the samples has more than that."""
        since = self._since_warm()
        return median(since[-max(1, len(since) // 10) :]) - self.warm_mib

    @property
    def holds(self) -> bool:
        complete = self.decided == self.plan.signals and self.executed > 0
        return complete and not self.missed and not self.duplicates and self.growth_mib < GROWTH_MOST_MIB

    def _since_warm(self) -> list[float]:
        return [one.rss_mib for one in self.memory if one.decided >= self.plan.warm_up]

    def as_json(self) -> dict[str, Any]:
        step = max(1, len(self.memory) // _TOLD)
        return {
            "signals": self.plan.signals,
            "decided": self.decided,
            "executed": self.executed,
            "missed": len(self.missed),
            "duplicates": self.duplicates,
            "seconds": round(self.seconds, 1),
            "signals_per_s": round(self.decided / self.seconds, 1),
            "warm_up_signals": self.plan.warm_up,
            "rss_mib": [[one.decided, round(one.rss_mib, 1)] for one in self.memory[::step]],
            "rss_warm_mib": round(self.warm_mib, 1),
            "rss_growth_mib": round(self.growth_mib, 1),
            "seed": self.plan.seed,
        }


async def soak(plan: Plan, so_far: SoFar) -> Outcome:
    """The whole run."""
    async with open_feed_world(seed=plan.seed, followers=plan.followers()) as world:
        async with Line.open(world.supabase.dsn) as line:
            await line.ask(_PAUSE)
        log = WorkerLog()
        async with open_scene(world, log, []) as scene:
            began_s = monotonic()
            memory: list[Memory] = []
            await _pour(scene, plan, memory, so_far)
            seconds = monotonic() - began_s
        books = await Books.read(world, log, [])
    return Outcome(
        plan=plan,
        seconds=seconds,
        memory=memory,
        decided=sum(pair.state is not None for pair in books.pairs),
        executed=books.executed,
        missed=books.missed,
        duplicates=books.duplicates,
    )


async def _pour(scene: Scene, plan: Plan, memory: list[Memory], so_far: SoFar) -> None:
    """As fast as the worker decides: never more than a little is undecided."""
    written = 0
    deadline_s = float("inf")
    async with Line.open(scene.world.supabase.dsn) as line:
        trades = await _trades(scene.world, plan)
        while True:
            decided = (await line.insist(_DECIDED))[0]["number"]
            memory.append(Memory(decided, _rss_mib(scene.worker.pid)))
            so_far.update(decided=decided, rss_mib=round(memory[-1].rss_mib, 1))
            if decided >= plan.signals or monotonic() > deadline_s:
                return
            while written < plan.signals and written - decided < _UNDECIDED_MOST:
                batch = range(written, min(written + _BATCH, plan.signals))
                await insert(line, *(_row(plan, trades, number) for number in batch))
                written += len(batch)
                so_far["signals"] = written
            if written == plan.signals and deadline_s == float("inf"):
                deadline_s = monotonic() + _SETTLE_WITHIN_S
            await asyncio.sleep(_LOOK_EVERY_S)


async def _trades(world: World, plan: Plan) -> Sequence[Trade]:
    """Some purchases; they are repeated, as if many traders had made them."""
    found: list[Trade] = []
    async with aclosing(random_trades(world.exchange, rate_per_s=100, seed=plan.seed)) as trades:
        async for trade in trades:
            if trade.side == "BUY":
                found.append(trade)
            if len(found) == _TRADES:
                break
    return found


def _row(plan: Plan, trades: Sequence[Trade], number: int) -> Mapping[str, Any]:
    executed = number % _EXECUTED_ONE_IN == 0
    ft_wallet_id = "FT_ACTIVE" if executed else f"FT_PAUSED_{1 + number % (plan.strategies - 1)}"
    return signal_row(trades[number % len(trades)], ft_wallet_id=ft_wallet_id, size_usd=_SIZE_USD)


def _rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / 1024
    raise AssertionError(f"process {pid} has no memory: it has ended")


def _report(outcome: Outcome, *, as_json: bool) -> None:
    for pair in outcome.missed[:20]:
        tell(f"MISSED: {pair}")
    said = outcome.as_json()
    if as_json:
        sys.stdout.write(json.dumps(said) + "\n")
        return
    for decided, rss_mib in said.pop("rss_mib"):
        sys.stdout.write(f"{decided:>8} signals {rss_mib:>8.1f} MiB\n")
    sys.stdout.write("\n".join(f"{name}: {value}" for name, value in said.items()) + "\n")


def main(given: Sequence[str] | None = None) -> int:
    options = parser(
        "soak",
        _ABOUT,
        module="tests.feed.soak",
        lasts="4 to 5 min with 100000 signals, 1 min with 5000 (2 cores)",
        holds="every signal was decided once and memory stood still",
        examples=("--signals 100000", "--signals 5000 --strategies 20 --json"),
        words='make soak ARGS="--mixed --help" explains another soak: every type of order and every fault at once.',
    )
    add_count(
        options,
        "--signals",
        "Write so many signals; fewer than 5000 say little of memory",
        least=1,
        default=100_000,
    )
    add_count(
        options,
        "--strategies",
        "Have so many strategies, all but one of them paused",
        least=2,
        default=_STRATEGIES,
    )
    add_count(options, "--seed", "Draw markets and traders from this", least=0, default=0)
    add_json(options)
    chosen = options.parse_args(given)
    plan = Plan(signals=chosen.signals, seed=chosen.seed, strategies=chosen.strategies)
    tell(f"{plan.signals} signals for {plan.strategies} strategies, seed {plan.seed}")
    outcome = conduct(partial(soak, plan), as_json=chosen.json, seed=plan.seed, signals=0, decided=0)
    _report(outcome, as_json=chosen.json)
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    sys.exit(main())
